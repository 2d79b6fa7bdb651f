"""Pictures of a face track, for the eye: the face box, the five landmarks and the number of each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data import FaceTrack
from ..errors import MediaError

MAX_PICTURES = 16
SHEET_WIDTH = 1280
_GAP = 4
_DETECTED, _FILLED, _POINT = (80, 220, 100), (240, 160, 40), (255, 60, 60)


def draw_face(picture: Image.Image, box: np.ndarray, landmarks: np.ndarray, *, is_detected: bool) -> None:
    """Draw a face onto a picture: its box green, or orange where it was filled in, its landmarks red.

    Args:
        box: (4,) x1, y1, x2, y2 in the picture's pixels.
        landmarks: (5, 2), the same.
    """
    draw = ImageDraw.Draw(picture)
    width = max(2, round(max(picture.size) / 250))
    draw.rectangle([*box], outline=_DETECTED if is_detected else _FILLED, width=width)
    for x, y in landmarks:
        draw.ellipse([x - width, y - width, x + width, y + width], fill=_POINT)


def evenly_spread(count: int, most: int) -> list[int]:
    """Choose up to ``most`` of ``count`` indices, the first and the last among them, evenly spread."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def write_label(picture: Image.Image, text: str, colour: str | tuple[int, int, int] = "white") -> None:
    """Write into the top left corner of a picture, on black."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(12, picture.height // 20))
    area = draw.textbbox((4, 2), text, font=font)
    draw.rectangle([0, 0, area[2] + 4, area[3] + 3], fill="black")
    draw.text((4, 2), text, fill=colour, font=font)


def arrange(tiles: Sequence[Image.Image], columns: int) -> np.ndarray:
    """Lay out pictures, at least one, in rows from left to right.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    columns = min(columns, len(tiles))
    width, height = (max(tile.size[axis] for tile in tiles) + _GAP for axis in (0, 1))
    sheet = Image.new("RGB", (columns * width - _GAP, -(-len(tiles) // columns) * height - _GAP), "black")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * width, place // columns * height))
    return np.asarray(sheet)


class FaceSheet:
    """Collects small copies of some frames while the video is gone through, and draws the track on them afterwards.

    Args:
        num_frames: Of the video.
    """

    def __init__(self, num_frames: int) -> None:
        self._chosen = set(evenly_spread(num_frames, MAX_PICTURES))
        self._columns = int(np.ceil(np.sqrt(len(self._chosen))))
        self._pictures: dict[int, tuple[Image.Image, float]] = {}

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass the frames on, (H, W, 3) uint8 RGB each, and keep what the sheet will show."""
        for number, frame in enumerate(frames):
            if number in self._chosen:
                side = SHEET_WIDTH // self._columns
                scale = min(side / max(frame.shape[:2]), 1)
                size = (max(round(frame.shape[1] * scale), 1), max(round(frame.shape[0] * scale), 1))
                self._pictures[number] = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR), scale
            yield frame

    def draw(self, track: FaceTrack) -> np.ndarray:
        """Draw up to MAX_PICTURES frames, evenly spread, in rows from left to right.

        Args:
            track: Of the frames that were watched.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            MediaError: If no frame was watched.
        """
        if not self._pictures:
            raise MediaError("There is no frame to show; check the video.")
        tiles = [self._tile(number, track) for number in sorted(self._pictures)]
        return arrange(tiles, self._columns)

    def _tile(self, number: int, track: FaceTrack) -> Image.Image:
        picture, scale = self._pictures[number]
        tile = picture.copy()
        is_detected = bool(track.is_detected[number])
        draw_face(tile, track.boxes[number] * scale, track.landmarks[number] * scale, is_detected=is_detected)
        if is_detected:
            write_label(tile, f"{number}")
        else:
            write_label(tile, f"{number}: no face, filled", _FILLED)
        return tile
