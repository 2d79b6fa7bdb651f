"""Putting generated frames back into the full-resolution portrait."""

from __future__ import annotations

import numpy as np

from .errors import ShapeError


def soft_mask(height: int, width: int, border_ratio: float = 0.1) -> np.ndarray:
    """Weight of the generated frame: 0 at the edge, rising linearly to 1 over the border, multiplied in the corners.

    Args:
        border_ratio: Share of each side that the ramp takes at either end, 0 to 0.5.

    Returns:
        (height, width) float32 in [0, 1].
    """
    return np.outer(_ramp(height, border_ratio), _ramp(width, border_ratio)).astype(np.float32)


class PasteBack:
    """Blends frame after frame into one portrait.

    Args:
        portrait: (H, W, 3) uint8 RGB.
        square: (4,) whole pixels x1, y1, x2, y2 inside the portrait: where the frames were cut out.
        border_ratio: As in soft_mask.

    Raises:
        ShapeError: If the square is empty or leaves the portrait, or the portrait is not as above.
    """

    def __init__(self, portrait: np.ndarray, square: np.ndarray, border_ratio: float = 0.1) -> None:
        _check_picture("The portrait", portrait)
        height, width = portrait.shape[:2]
        x1, y1, x2, y2 = (int(side) for side in square)
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ShapeError(
                f"The square {(x1, y1, x2, y2)} (x1, y1, x2, y2) must lie inside the portrait of {width}x{height} "
                "pixels; cut it as the face crop is cut."
            )
        self._portrait = portrait
        self._region = np.s_[y1:y2, x1:x2]
        self._background = portrait[self._region].astype(np.float32)
        self._mask = soft_mask(y2 - y1, x2 - x1, border_ratio)[..., None]

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Resize a frame to the square and blend it in.

        Args:
            frame: (h, w, 3) uint8 RGB of any size.

        Returns:
            A new (H, W, 3) uint8 RGB picture, equal to the portrait outside the square.

        Raises:
            ShapeError: If the frame is not as above.
        """
        import cv2

        _check_picture("The frame", frame)
        height, width = self._background.shape[:2]
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        result = self._portrait.copy()
        # In this form equal pictures blend to themselves exactly. Release: fractions are cut off, not rounded.
        result[self._region] = self._background + self._mask * (frame - self._background)
        return result


def _check_picture(name: str, picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ShapeError(
            f"{name} must be (H, W, 3) uint8; got {picture.shape} {picture.dtype}. Convert it to RGB of 0 to 255."
        )


def _ramp(length: int, border_ratio: float) -> np.ndarray:
    border = int(length * border_ratio)
    rise = np.linspace(0, 1, border)
    ramp = np.ones(length)
    ramp[:border] = rise
    ramp[length - border :] = rise[::-1]
    return ramp
