"""Videos of drawn people, in a frame that is wider than the face needs, with what a perfect detector finds in them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from hunyuan_core.data import Face, FaceTrack
from hunyuan_core.training.toyworld import Painter, face_track, random_identity, random_motion
from hunyuan_core.video import write_video

SIDE = 96
"""Of the drawn picture, pixels."""
OFFSET = (100, 20)
"""Where it lies in the frame: x, y."""
FRAME = (136, 320)
"""Height and width of the frame."""


def make_video(path: Path, num_frames: int, seed: int = 0, scale: int = 1) -> FaceTrack:
    """Write a video of one person, so many times as large; the face in its frames."""
    rng = np.random.default_rng(seed)
    person, motion = random_identity(rng), random_motion(rng, num_frames)
    side = SIDE * scale
    painter = Painter(person, side)
    y, x = np.mgrid[0 : FRAME[0] * scale, 0 : FRAME[1] * scale] / scale
    room = np.uint8(np.stack([x * 0.7, y, 200 - x * 0.5], axis=-1))
    left, top = (value * scale for value in OFFSET)

    def frame(row: np.ndarray) -> np.ndarray:
        picture = room.copy()
        picture[top : top + side, left : left + side] = painter.draw(row)
        return picture

    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, map(frame, motion), Fraction(25))
    track = face_track(person, motion, side)
    offset = np.array(OFFSET) * scale
    return FaceTrack(track.boxes + np.tile(offset, 2), track.landmarks + offset, track.is_detected)


def faces_of(track: FaceTrack, without: range = range(0)) -> list[list[Face]]:
    """What a detector answers frame by frame, with nothing in some of them."""
    pairs = zip(track.boxes, track.landmarks, strict=True)
    return [[] if i in without else [Face(*pair)] for i, pair in enumerate(pairs)]
