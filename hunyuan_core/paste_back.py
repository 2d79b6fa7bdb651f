"""Putting generated frames back into the full-resolution portrait."""

from __future__ import annotations

import numpy as np

from .colour_match import ColourMatch
from .errors import ConfigurationError, ShapeError


def soft_mask(height: int, width: int, border_ratio: float = 0.1) -> np.ndarray:
    """Weight of the generated frame: 0 at the edge, rising linearly to 1 over the border, multiplied in the corners.

    Args:
        border_ratio: Share of each side that the ramp takes at either end, 0 to 0.5.

    Returns:
        (height, width) float32 in [0, 1].

    Raises:
        ConfigurationError: If the border ratio is out of range.
    """
    if not 0 <= border_ratio <= 0.5:
        raise ConfigurationError(f"border_ratio (the feather) must be between 0 and 0.5; got {border_ratio}.")
    return np.outer(_ramp(height, border_ratio), _ramp(width, border_ratio)).astype(np.float32)


class PasteBack:
    """Blends the frames of one clip, in their order, into a portrait.

    Args:
        portrait: (H, W, 3) uint8 RGB.
        square: (4,) whole pixels x1, y1, x2, y2 inside the portrait: where the frames were cut out.
        border_ratio: As in soft_mask.
        mask: (H, W) as the portrait, or as high and wide as the square; in [0, 1], 1 shows the frame. It is multiplied
            with the feather, which a border ratio of 0 leaves out.
        colour_match: Strength, 0 to 1, of the match to the background's colours along the seam; see ColourMatch. It
            learns from frame to frame, so every clip needs an object of its own. 0 is off.

    Raises:
        ShapeError: If the square is empty or leaves the portrait, or the portrait or the mask is not as above.
        ConfigurationError: If the border ratio or the strength is out of range.
    """

    def __init__(
        self,
        portrait: np.ndarray,
        square: np.ndarray,
        border_ratio: float = 0.1,
        *,
        mask: np.ndarray | None = None,
        colour_match: float = 0.0,
    ) -> None:
        _check_picture("The portrait", portrait)
        height, width = portrait.shape[:2]
        x1, y1, x2, y2 = (int(side) for side in square)
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ShapeError(
                f"The square {(x1, y1, x2, y2)} (x1, y1, x2, y2) must lie inside the portrait of {width}x{height} "
                "pixels; give the square that was cut from this portrait."
            )
        self._portrait = portrait
        self._region = np.s_[y1:y2, x1:x2]
        self._background = portrait[self._region].astype(np.float32)
        weight = soft_mask(y2 - y1, x2 - x1, border_ratio)
        if mask is not None:
            weight *= _in_square(np.asarray(mask), portrait, self._region)
        self._mask = weight[..., None]
        self._match = ColourMatch(weight, colour_match) if colour_match != 0 else None
        if self._match is not None:
            self._background_colours = self._match.measure(self._background)
            # A correction moves by fractions of a level. Cut off at the same point everywhere, they would add up to
            # a jump of the whole picture; cut off at points that differ from pixel to pixel, they keep the mean.
            self._fractions = 0.99 * np.random.default_rng(0).random(self._mask.shape, np.float32)

    def __call__(self, frame: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """Resize a frame to the square and blend it in.

        Args:
            frame: (h, w, 3) uint8 RGB of any size.
            background: What to blend into in place of the portrait, for a background that moves; (H, W, 3) uint8 RGB.

        Returns:
            A new (H, W, 3) uint8 RGB picture, equal to the background outside the square.

        Raises:
            ShapeError: If the frame or the background is not as above.
        """
        import cv2

        _check_picture("The frame", frame)
        if background is None:
            result, behind = self._portrait.copy(), self._background
        else:
            self._check_background(background)
            result, behind = background.copy(), background[self._region].astype(np.float32)
        if self._match is not None:
            colours = self._background_colours if background is None else self._match.measure(behind)
            gain, shift = self._match.update(self._match.measure(frame), colours)
            frame = np.clip(frame * gain + shift, 0, 255)
        height, width = behind.shape[:2]
        blend = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        # In this form equal pictures blend to themselves exactly. Release: fractions are cut off, not rounded.
        blend -= behind
        blend *= self._mask
        blend += behind
        if self._match is not None:
            blend += self._fractions
        result[self._region] = blend
        return result

    def _check_background(self, background: np.ndarray) -> None:
        _check_picture("The background", background)
        if background.shape != self._portrait.shape:
            raise ShapeError(
                f"The background must be as large as the portrait, {_size(self._portrait)} pixels; got "
                f"{_size(background)}. Resize the background frames."
            )


def _in_square(mask: np.ndarray, portrait: np.ndarray, region: tuple[slice, slice]) -> np.ndarray:
    square = portrait[region]
    if mask.shape not in (portrait.shape[:2], square.shape[:2]):
        size = _size(mask) if mask.ndim == 2 else f"the shape {mask.shape}"
        raise ShapeError(
            f"The mask must be as large as the portrait, {_size(portrait)} pixels, or as the square, {_size(square)}; "
            f"got {size}. Resize the mask."
        )
    low, high = mask.min(), mask.max()
    if not (low >= 0 and high <= 1):
        raise ShapeError(f"The mask must lie between 0 and 1; got {low:g} to {high:g}. Rescale the mask.")
    return mask if mask.shape == square.shape[:2] else mask[region]


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


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
