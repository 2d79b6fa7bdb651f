"""What passes between the stages.

Coordinates are pixels, x to the right, y down, origin at the image's top left corner. Frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Order of the five landmarks; left and right are the image's, not the person's."""

NOSE = 2
"""Index of the nose tip among the five landmarks."""


class Branch(IntEnum):
    """One guidance branch: what the UNet is told. Each adds to the one before."""

    UNCONDITIONAL = 0
    """Neither image tokens nor image latents nor motion tokens."""
    IMAGE = 1
    """Image tokens and image latents."""
    MOTION = 2
    """Image tokens, image latents and motion tokens."""


@dataclass(frozen=True, eq=False)
class Face:
    """One detected (or given) face in one image.

    Attributes:
        box: (4,) float64: x1, y1, x2, y2 in pixels.
        landmarks: (5, 2) float64: x, y in pixels, in the order of LANDMARK_NAMES.
        score: Confidence in [0, 1]; 1 for a face given by hand.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float = 1.0

    @property
    def area(self) -> float:
        """Of the box, square pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(width * height)


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face followed through a video, one entry per frame.

    Attributes:
        boxes: (T, 4) float64, pixels.
        landmarks: (T, 5, 2) float64, pixels.
        is_detected: (T,) bool; False where the entry was interpolated or held because no face was found.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    is_detected: np.ndarray

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.boxes)

    @property
    def filled_frames(self) -> list[int]:
        """Indices of the frames without a face of their own."""
        return [int(i) for i in np.flatnonzero(~self.is_detected)]


@dataclass(frozen=True, eq=False)
class Motion:
    """What the driving video contributes, independent of the portrait.

    Attributes:
        tokens: (T, 64, C) float32 motion tokens, C = the UNet's cross-attention width.
        head_intensity: One integer per chunk of 25 frames, 0..127; measured, or given in its place.
        expression_intensity: As ``head_intensity``.
        rotation: (T, 3) float32 head rotation, degrees in [-180, 180].
        translation: (T, 3) float32 head translation in [-2, 2].
    """

    tokens: torch.Tensor
    head_intensity: tuple[int, ...]
    expression_intensity: tuple[int, ...]
    rotation: torch.Tensor
    translation: torch.Tensor

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class VideoLatents:
    """A sampled video before it is decoded.

    Attributes:
        samples: (T + 2 · num_padding_frames, 4, h, w) float32, multiplied by the VAE's scaling factor.
        num_padding_frames: Frames at each end that belong to the padding; decoding drops them.
    """

    samples: torch.Tensor
    num_padding_frames: int


@dataclass(frozen=True, eq=False)
class Appearance:
    """What the portrait contributes, independent of the driving video.

    Attributes:
        image_tokens: (64, C) float32, C = the UNet's cross-attention width.
        image_latents: (4, h, w) float32, the VAE's mean, not multiplied by the scaling factor.
        id_embedding: (512,) float32 of norm 1 (times the identity strength), or zeros when ArcFace saw no face.
    """

    image_tokens: torch.Tensor
    image_latents: torch.Tensor
    id_embedding: torch.Tensor
