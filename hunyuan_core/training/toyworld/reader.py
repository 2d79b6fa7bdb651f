"""Reads off a picture of the drawn world what it was drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...checkpoints import build_network
from ...errors import ShapeError
from .identity import IDENTITY_PARAMETERS
from .motion import MOTION_PARAMETERS

READER_SIDE = 128
"""Side of the pictures that it reads, pixels."""

NUM_LANDMARKS = 34
"""Those of ``landmarks``."""

_CHANNELS = (16, 32, 64, 96)
_WIDTH = 12  # of what the parameters are read from, at 8 x 8 places
_HIDDEN = 160

_LOOKS_SCALE = torch.tensor(
    [
        1.0 if name[-2:] in ("_r", "_g", "_b") or name in ("jaw", "hairline", "eye_height") else 10.0
        for name in IDENTITY_PARAMETERS
    ]
)


def standard_looks(looks: torch.Tensor) -> torch.Tensor:
    """Bring ``identity_parameters`` (..., 29) to about unit variance.

    Colours and the hairline are of order 1, the other lengths of order 0.1.
    """
    return (looks * _LOOKS_SCALE.to(looks) - 0.5) * 3


class Reading(NamedTuple):
    """What pictures show.

    Attributes:
        motion: (B, 11), each parameter's range mapped to [-1, 1].
        looks: (B, 29), as ``standard_looks`` gives them.
        landmarks: (B, 34, 2), shares of the picture's side.
    """

    motion: torch.Tensor
    looks: torch.Tensor
    landmarks: torch.Tensor


class Reader(nn.Module):
    """A convolutional network from a whole picture to its motion, looks and landmarks.

    It has no normalisation, which would hide plain colours. Each landmark is the mean place of a map that adds up to
    one. Motion and looks are read from the coarsest features, from the landmarks, and from the finest features at each
    landmark, where small things as a gaze are told.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _CHANNELS
        self.stem = nn.Conv2d(3, a, 5, stride=2, padding=2)
        self.fine = nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), _Residual(b))
        self.middle = nn.Sequential(_down(b, c), _Residual(c))
        self.coarse = nn.Sequential(_down(c, d), _Residual(d))
        self.coarse_to_middle = nn.Conv2d(d, c, 1)
        self.middle_to_fine = nn.Conv2d(c, b, 1)
        self.maps = nn.Conv2d(b, NUM_LANDMARKS, 3, padding=1)
        self.narrow = nn.Conv2d(d, _WIDTH, 1)
        places = (READER_SIDE // 16) ** 2
        self.hidden = nn.Linear(_WIDTH * places + (2 + a + b) * NUM_LANDMARKS, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, len(MOTION_PARAMETERS) + len(IDENTITY_PARAMETERS))

    def forward(self, pictures: torch.Tensor) -> Reading:
        """Read pictures.

        Args:
            pictures: (B, 3, 128, 128) in [-1, 1].

        Raises:
            ShapeError: If they are of another shape.
        """
        if pictures.ndim != 4 or pictures.shape[1:] != (3, READER_SIDE, READER_SIDE):
            raise ShapeError(
                f"The reader takes pictures (B, 3, {READER_SIDE}, {READER_SIDE}); got {tuple(pictures.shape)}. Scale "
                "them first."
            )
        finest = F.silu(self.stem(pictures))
        fine = self.fine(finest)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = middle + F.interpolate(self.coarse_to_middle(coarse), scale_factor=2.0)
        fine = fine + F.interpolate(self.middle_to_fine(F.silu(middle)), scale_factor=2.0)
        fine = F.silu(fine)
        points = _mean_places(self.maps(fine))
        features = [F.silu(self.narrow(coarse)), 8 * (points - 0.5), _at(finest, points), _at(fine, points)]
        features = torch.cat([part.flatten(1).float() for part in features], dim=1)
        read = self.out(F.silu(self.hidden(features))).float()
        motion, looks = read.split([len(MOTION_PARAMETERS), len(IDENTITY_PARAMETERS)], dim=1)
        return Reading(motion, looks, points)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Conv2d(inputs, outputs, 3, stride=2, padding=1))


def _mean_places(maps: torch.Tensor) -> torch.Tensor:
    """Logits (B, N, h, w) to the means of their distributions, (B, N, 2) float32 in shares of the side."""
    h, w = maps.shape[-2:]
    shares = maps.float().flatten(2).softmax(-1).unflatten(2, (h, w))
    x, y = ((torch.arange(n, device=maps.device) + 0.5) / n for n in (w, h))
    return torch.stack([(shares.sum(2) * x).sum(-1), (shares.sum(3) * y).sum(-1)], dim=-1)


def _at(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features (B, C, h, w) at points (B, N, 2), which they do not teach: (B, C, N) float32."""
    grid = 2 * points.detach()[:, :, None] - 1
    return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)[..., 0]


def load_reader(path: str | Path, device: torch.device | str = "cpu") -> Reader:
    """Load a reader of any precision, in float32.

    Raises:
        WeightsError: If the file is missing, damaged, or not of a reader.
    """
    return build_network(Reader, path, dtype=torch.float32, device=device)
