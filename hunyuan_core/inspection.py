"""A contact sheet of what the model will see of a driving video."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from .data import FaceTrack
from .errors import ShapeError
from .faces.crops import head_pose_crop, motion_crop, square_box
from .faces.intensity import chunk_intensities
from .faces.overlay import draw_face
from .motion import INTENSITY_CHUNK

ROW_HEIGHT = 192
MAX_ROWS = 40
TEXT_WIDTH = 220
_GAP = 8
_SQUARE = (90, 160, 255)


def contact_sheet(frames: Iterable[np.ndarray], track: FaceTrack) -> np.ndarray:
    """Draw one row for each chunk of 25 frames: its middle frame, the two crops, and the intensities.

    The frame shows the face box (green; orange where it was filled in), the landmarks (red) and the square of the
    head-pose crop (blue). After MAX_ROWS rows the next column begins.

    Args:
        frames: (H, W, 3) uint8 RGB each, the frames that the track was made of.
        track: The face in each frame.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ShapeError: If the video ends before the last frame that is shown.
    """
    intensities = chunk_intensities(track.landmarks, INTENSITY_CHUNK)
    middles = {_middle(chunk, len(track)): chunk for chunk in range(len(intensities))}
    rows = []
    for number, frame in enumerate(frames):
        if number in middles:
            rows.append(_row(frame, number, middles[number], track, intensities[middles[number]]))
    if len(rows) < len(middles):
        raise ShapeError(f"The face track has {len(track)} frames, but the video is shorter; track it again.")
    width, height = rows[0].width, ROW_HEIGHT + _GAP
    sheet = Image.new("RGB", (width * -(-len(rows) // MAX_ROWS), min(len(rows), MAX_ROWS) * height + _GAP), "black")
    for i, row in enumerate(rows):
        column, place = divmod(i, MAX_ROWS)
        sheet.paste(row, (column * width, _GAP + place * height))
    return np.asarray(sheet)


def _middle(chunk: int, num_frames: int) -> int:
    start = chunk * INTENSITY_CHUNK
    return (start + min(start + INTENSITY_CHUNK, num_frames) - 1) // 2


def _row(frame: np.ndarray, number: int, chunk: int, track: FaceTrack, intensity: tuple[int, int]) -> Image.Image:
    scale = ROW_HEIGHT / frame.shape[0]
    overview = Image.fromarray(frame).resize((max(round(frame.shape[1] * scale), 1), ROW_HEIGHT))
    square = square_box(track.boxes[0], *frame.shape[:2])
    ImageDraw.Draw(overview).rectangle([value * scale for value in square], outline=_SQUARE)
    is_detected = bool(track.is_detected[number])
    draw_face(overview, track.boxes[number] * scale, track.landmarks[number] * scale, is_detected=is_detected)

    crops = [motion_crop(frame, track.landmarks[number], track.boxes[0]), head_pose_crop(frame, square)]
    pictures = [overview, *(Image.fromarray(crop).resize((ROW_HEIGHT, ROW_HEIGHT)) for crop in crops)]
    row = Image.new("RGB", (sum(p.width + _GAP for p in pictures) + _GAP + TEXT_WIDTH, ROW_HEIGHT), "black")
    x = _GAP
    for picture in pictures:
        row.paste(picture, (x, 0))
        x += picture.width + _GAP
    ImageDraw.Draw(row).multiline_text((x, 4), _text(number, chunk, track, intensity), fill="white", spacing=6)
    return row


def _text(number: int, chunk: int, track: FaceTrack, intensity: tuple[int, int]) -> str:
    start = chunk * INTENSITY_CHUNK
    end = min(start + INTENSITY_CHUNK, len(track))
    filled = [frame for frame in track.filled_frames if start <= frame < end]
    width, height = track.boxes[number][2:] - track.boxes[number][:2]
    return "\n".join(
        [
            f"frames {start} to {end - 1}, shown: {number}",
            f"head intensity {intensity[0]} of 127",
            f"expression intensity {intensity[1]} of 127",
            f"face {width:.0f} x {height:.0f} pixels",
            f"frames without a face: {len(filled)}",
            "",
            "from left to right:",
            "face, motion crop,",
            "head-pose crop",
        ]
    )
