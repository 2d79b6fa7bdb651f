"""What there is to know about a face track, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..data import FaceTrack
from .crops import square_box

SMALL_FACE = 96
"""Pixels; below, a face is enlarged several times for the networks, and has too little detail for them."""

_MAX_RANGES = 20


def describe_track(track: FaceTrack, height: int, width: int) -> str:
    """Report on a track: its length, the filled frames, the sizes of the face, and what will hurt the result.

    Args:
        height: Of the frames, pixels.
        width: The same.

    Returns:
        One statement on each line; those to act on begin with "Warning:".
    """
    filled = track.filled_frames
    sizes = (track.boxes[:, 2:] - track.boxes[:, :2]).min(axis=1)
    lines = [
        f"frames: {len(track)} of {width}×{height} pixels",
        f"{len(filled)} without a face" + (f", filled from their neighbours: {frame_ranges(filled)}" if filled else ""),
        f"face size (shorter side) in pixels: smallest {sizes.min():.0f}, median {np.median(sizes):.0f}, "
        f"largest {sizes.max():.0f}",
    ]
    if np.median(sizes) < SMALL_FACE:
        lines.append(
            f"Warning: the face is small; below {SMALL_FACE} pixels expressions come out coarse. "
            f"Use a closer shot or a larger video."
        )
    if leaving := _frames_outside(track, height, width):
        lines.append(
            f"Warning: the face leaves the square around the first frame's face, which the head pose is read from, in "
            f"{frame_ranges(leaving)}; trim the video or start it where the face is in the middle of its way."
        )
    if jumps := _jumps(track):
        lines.append(
            f"Warning: the face jumps at {frame_ranges(jumps)} (a cut, or another person); choose the face by its "
            f"position, or cut the video there."
        )
    return "\n".join(lines)


def frame_ranges(numbers: Sequence[int]) -> str:
    """Write ascending frame numbers in short: ``3-7, 9``; after 20 ranges an ellipsis."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:_MAX_RANGES]]
    return ", ".join(shown + ["…"] * (len(ranges) > _MAX_RANGES))


def _frames_outside(track: FaceTrack, height: int, width: int) -> list[int]:
    x1, y1, x2, y2 = square_box(track.boxes[0], height, width)
    # The centre, because a close-up's box fills the square and leaves it by its edges all the time.
    centres = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    return _indices((centres < (x1, y1)).any(axis=1) | (centres > (x2, y2)).any(axis=1))


def _jumps(track: FaceTrack) -> list[int]:
    centres = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    sizes = (track.boxes[:-1, 2:] - track.boxes[:-1, :2]).max(axis=1)
    return [number + 1 for number in _indices(steps > sizes)]


def _indices(values: ArrayLike) -> list[int]:
    return [int(index) for index in np.flatnonzero(np.asarray(values))]
