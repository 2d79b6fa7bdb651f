"""Bringing the colours of generated frames to those of the picture that they are pasted into."""

from __future__ import annotations

import numpy as np

from .errors import ConfigurationError

CELLS = 64
"""Side of the grid that colours are measured on: coarse, so that softness and grain do not count as contrast."""
SEAM_CELLS = 7
MEMORY = 50
"""Frames that the running average reaches back: two context windows of the model."""
CONTRAST_FLOOR = 4.0
"""Levels of 255 below which contrast is no evidence: a plain wall must not decide the contrast of a face."""
MAX_GAIN = 1.25


class ColourMatch:
    """Finds the gain and shift of each channel that make frames and background alike along the seam.

    gain = sqrt((background variance + floor²) / (frame variance + floor²)),
    shift = background mean - gain · frame mean   (Reinhard et al. 2001, Color Transfer between Images)

    Colours are measured where both pictures show, by m (1 - m) of the blurred mask m: on the feather, at the edge of a
    user mask, or at the edge of the square. There a difference is visible, and there the two pictures should show the
    same things; the face differs on purpose. They are compared as 8-bit sRGB values. A shift of the decoder is a shift
    there, and the steps are about equally visible. Of sRGB, linear light and Lab, it left the smallest error in the
    face for shifts, exposure, contrast and warmth; Lab was better for saturation only, linear light never.

    The measurements, not the pictures, are averaged over time: over all frames at first, exponentially later on. So
    the correction cannot flicker and follows a slow drift; it neither removes nor adds to what changes quickly.

    Args:
        mask: (h, w) in [0, 1], weight of the frame over the square that both pictures fill.
        strength: Share of the correction, 0 to 1.

    Raises:
        ConfigurationError: If the strength is out of range.
    """

    def __init__(self, mask: np.ndarray, strength: float) -> None:
        import cv2

        if not 0 <= strength <= 1:
            raise ConfigurationError(f"colour_match must be between 0 and 1; got {strength}. 0 switches it off.")
        self._strength = strength
        coarse = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        # Outside the square the weight is 0, so its edge counts as a seam too where nothing is feathered.
        share = cv2.blur(coarse, (SEAM_CELLS, SEAM_CELLS), borderType=cv2.BORDER_CONSTANT)
        # A mask of zeros has no seam; all cells then count alike, and nothing of the frame is shown.
        self._weights = (share * (1 - share) + 1e-9)[..., None].astype(np.float64)
        self._weights /= self._weights.sum()
        self._average = np.zeros((2, 2, 3))  # frame, background; mean, variance; channel
        self._count = 0

    def measure(self, picture: np.ndarray) -> np.ndarray:
        """Weigh the colours along the seam.

        Args:
            picture: (h, w, 3) in [0, 255], the square at any size.

        Returns:
            (2, 3): mean and variance of each channel.
        """
        import cv2

        # OpenCV would round the cells of an 8-bit picture to whole levels.
        picture = picture.astype(np.float32, copy=False)
        cells = cv2.resize(picture, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        mean = (self._weights * cells).sum(axis=(0, 1))
        return np.stack([mean, (self._weights * (cells - mean) ** 2).sum(axis=(0, 1))])

    def update(self, frame: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take in the next frame of the clip and give the correction for it.

        Args:
            frame: Its colours as measured.
            background: Those of the background behind it.

        Returns:
            Gain and shift, (3,) float32 each: the matched frame is gain · frame + shift, not yet cut to [0, 255].
        """
        self._count += 1
        self._average += (np.stack([frame, background]) - self._average) / min(self._count, MEMORY)
        (frame_mean, frame_variance), (background_mean, background_variance) = self._average
        gain = np.sqrt((background_variance + CONTRAST_FLOOR**2) / (frame_variance + CONTRAST_FLOOR**2))
        gain = np.clip(gain, 1 / MAX_GAIN, MAX_GAIN)
        shift = background_mean - gain * frame_mean
        return (1 + self._strength * (gain - 1)).astype(np.float32), (self._strength * shift).astype(np.float32)
