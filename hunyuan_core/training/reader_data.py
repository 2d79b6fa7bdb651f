"""Single pictures of the drawn world with what they show, for training its reader."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .config import DataConfig
from .toy_data import Example, to_tensor
from .toyworld import (
    MOTION_RANGES,
    Painter,
    identity_parameters,
    landmarks,
    random_identity,
    random_motion,
    standard_motion,
)

_LOW, _HIGH = np.array(list(MOTION_RANGES.values()), dtype=np.float32).T
_NUM_FRAMES = 25  # of a motion that one is chosen of


@dataclass(eq=False)
class Pictures(Example):
    """Pictures of one person.

    Attributes:
        pictures: (T, 3, S, S) uint8, each in a motion of its own.
        motion: (T, 11) float32, each parameter's range mapped to [-1, 1].
        looks: (29,) float32, ``identity_parameters``.
        landmarks: (T, 34, 2) float32, shares of the side.
    """

    pictures: torch.Tensor
    motion: torch.Tensor
    looks: torch.Tensor
    landmarks: torch.Tensor


class ToyPictures(torch.utils.data.Dataset[Pictures]):
    """As many people as one asks for, ``num_frames`` pictures of each; number i is always the same.

    Half of the motions are those of clips, the others are drawn evenly over all ranges, so that what is rare, as closed
    eyes, is learnt too. Half of the pictures are spoilt a little, as a generative model's are.
    """

    def __init__(self, data: DataConfig, seed: int, length: int) -> None:
        self.data = data
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        """Count the people."""
        return self.length

    def __getitem__(self, index: int) -> Pictures:
        """Draw a person."""
        rng = np.random.default_rng([self.seed, index])
        person, size = random_identity(rng), self.data.image_size
        painter = Painter(person, size)
        rows = np.stack([_draw_motion(rng) for _ in range(self.data.num_frames)])
        pictures = [painter.draw(row) for row in rows]
        points = np.stack([landmarks(person, row, size) for row in rows]) / size
        return Pictures(
            seed=torch.tensor(int(rng.integers(2**62))),
            pictures=to_tensor([_spoil(picture, self.data.colour_jitter, rng) for picture in pictures]),
            motion=torch.from_numpy(standard_motion(rows)),
            looks=torch.from_numpy(identity_parameters(person)),
            landmarks=torch.from_numpy(points.astype(np.float32)),
        )


def _draw_motion(rng: np.random.Generator) -> np.ndarray:
    """One frame, (11,) float32."""
    if rng.random() < 0.5:
        return rng.uniform(_LOW, _HIGH).astype(np.float32)
    return random_motion(rng, _NUM_FRAMES)[rng.integers(_NUM_FRAMES)]


def _spoil(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Leave a picture as it is, or blur it, change brightness and contrast and add noise.

    Args:
        picture: (S, S, 3) uint8.
        strength: Largest change of brightness and contrast, as a share.
    """
    import cv2

    if rng.random() < 0.5:
        return picture
    size = picture.shape[0]
    small = round(size / rng.uniform(1, 2.5))
    blurred = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    x = cv2.resize(blurred, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    brightness, contrast = rng.uniform(1 - strength, 1 + strength, 2)
    mean = x.mean()
    x = (x - mean) * contrast + mean * brightness
    x += rng.uniform(0, 8) * rng.standard_normal(x.shape, dtype=np.float32)
    return np.clip(np.round(x), 0, 255).astype(np.uint8)
