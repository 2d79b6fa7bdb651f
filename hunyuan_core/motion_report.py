"""What there is to know about an encoded motion, in words and in a picture."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .angles import unwrap
from .data import Motion
from .errors import ConfigurationError
from .faces.overlay import MAX_PICTURES, arrange, evenly_spread, write_label
from .motion import INTENSITY_CHUNK


def describe_motion(motion: Motion) -> str:
    """Report on a motion: its length, the intensities of each chunk, and how far the head turns.

    Returns:
        One statement on each line.
    """
    chunks = zip(motion.head_intensity, motion.expression_intensity, strict=True)
    rotation = unwrap(motion.rotation)
    ranges = zip(rotation.amin(dim=0).tolist(), rotation.amax(dim=0).tolist(), strict=True)
    return "\n".join(
        [
            f"{len(motion)} frame{'s' * (len(motion) != 1)} of motion; intensities from 0 (still) to 127:",
            *(f"{_frames(i, len(motion))}: head {head}, expression {face}" for i, (head, face) in enumerate(chunks)),
            "head rotation in degrees, its three angles: "
            + ", ".join(f"{low:.1f} to {high:.1f}" for low, high in ranges),
        ]
    )


class CropSheet:
    """Collects some of the motion crops while a video is encoded; give it to ``encode_motion`` as ``on_crop``.

    Args:
        num_frames: Of the video.
    """

    def __init__(self, num_frames: int) -> None:
        self._chosen = set(evenly_spread(num_frames, MAX_PICTURES))
        self._tiles: list[Image.Image] = []

    def __call__(self, number: int, crop: np.ndarray) -> None:
        """Keep a crop, (S, S, 3) uint8 RGB, if it is to be shown."""
        if number in self._chosen:
            tile = Image.fromarray(crop)
            write_label(tile, f"{number}")
            self._tiles.append(tile)

    def draw(self) -> np.ndarray:
        """Draw up to MAX_PICTURES crops with their frame numbers, evenly spread, in rows from left to right.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ConfigurationError: If there was no crop.
        """
        if not self._tiles:
            raise ConfigurationError("There is no crop to show; encode a video first.")
        return arrange(self._tiles, math.ceil(math.sqrt(len(self._tiles))))


def _frames(chunk: int, num_frames: int) -> str:
    first = chunk * INTENSITY_CHUNK
    last = min(first + INTENSITY_CHUNK, num_frames) - 1
    return f"frame {first}" if first == last else f"frames {first}-{last}"
