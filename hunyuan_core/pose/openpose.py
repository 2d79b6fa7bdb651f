"""Keypoints in OpenPose's output format, which pose nodes and editors exchange as POSE_KEYPOINT.

A frame is ``{"people": [...], "canvas_width": W, "canvas_height": H}``. A person has flat lists of x, y and score under
``pose_keypoints_2d`` (18 points, or 25 of BODY_25), ``face_keypoints_2d`` (68, or 70 with the pupils) and
``hand_left_keypoints_2d`` and ``hand_right_keypoints_2d`` (21 each); parts that were not found are None or left out.
Coordinates are pixels, or lie between 0 and 1, which some writers choose for one part and not for another. A point that
was not found is (0, 0), or (-1, -1), or has no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError
from .keypoints import BODY_NAMES, FACE, LEFT_HAND, NUM_POINTS, RIGHT_HAND, WholeBody
from .skeleton import JOINT_NAMES

_BODY_25 = (*JOINT_NAMES[:8], None, *JOINT_NAMES[8:])  # the hips' middle comes before the legs; then six of the feet
_PUPILS = 2
# A picture in pixels has no whole part of a body within its first two pixels.
_NORMALISED_UP_TO = 2.0


@dataclass(frozen=True, eq=False)
class OpenPoseFrame:
    """The people of one picture.

    Attributes:
        people: The one whose points span the largest area first; points in pixels of the canvas. Those of whom no
            point was found are left out.
        height: Of the canvas, that is of the picture in which they were found, pixels.
        width: The same.
    """

    people: list[WholeBody]
    height: int
    width: int


def read_openpose(frames: object, source: str) -> list[OpenPoseFrame]:
    """Read the keypoints of a video.

    Args:
        frames: A sequence of frames, as described above.
        source: What they are called in a message.

    Raises:
        ConfigurationError: If there is no frame, or one is not in this format; names the source and the frame.
    """
    if not isinstance(frames, Sequence) or isinstance(frames, str) or not frames:
        raise ConfigurationError(
            f"{source} must be a list with the OpenPose keypoints of at least one frame; got {_short(frames)}."
        )
    return [_frame(frame, f"{source}, frame {number}") for number, frame in enumerate(frames)]


def _frame(frame: object, source: str) -> OpenPoseFrame:
    if not isinstance(frame, Mapping) or not {"people", "canvas_width", "canvas_height"} <= frame.keys():
        raise ConfigurationError(
            f"{source} must have 'people', 'canvas_width' and 'canvas_height', as OpenPose and DWPose nodes write "
            f"them; got {_short(frame)}."
        )
    height, width, people = frame["canvas_height"], frame["canvas_width"], frame["people"]
    is_read = all(isinstance(size, int) and size > 0 for size in (height, width))
    are_people = isinstance(people, Sequence) and all(isinstance(person, Mapping) for person in people)
    if not (is_read and are_people):
        raise ConfigurationError(
            f"{source} must have a canvas in whole pixels and a dict for each person; got {width!r}×{height!r} and "
            f"{_short(people)}."
        )
    people = [_person(person, height, width, source) for person in people]
    people = [person for person in people if person.is_seen.any()]
    return OpenPoseFrame(sorted(people, key=_area, reverse=True), height, width)


def _person(person: Mapping[str, object], height: int, width: int, source: str) -> WholeBody:
    points, scores = np.full((NUM_POINTS, 2), np.nan), np.zeros(NUM_POINTS)

    def place(key: str, targets: Sequence[int], origins: Sequence[int], counts: tuple[int, ...]) -> None:
        found = _part(person.get(key), counts, (width, height), f"{source}, {key}")
        if found is not None:
            points[targets], scores[targets] = found[origins, :2], found[origins, 2]

    body = person.get("pose_keypoints_2d")
    names = _BODY_25 if isinstance(body, Sequence) and len(body) == 25 * 3 else JOINT_NAMES
    origins = [names.index(name) for name in BODY_NAMES]
    # The neck is left out: it is halfway between the shoulders (``skeleton.with_neck``).
    place("pose_keypoints_2d", range(len(BODY_NAMES)), origins, (len(JOINT_NAMES), 25))
    place("face_keypoints_2d", FACE, range(len(FACE)), (len(FACE), len(FACE) + _PUPILS))
    # ComfyUI's SDPose node writes the left hand as the right one and the reverse. Both are drawn alike.
    place("hand_left_keypoints_2d", LEFT_HAND, range(len(LEFT_HAND)), (len(LEFT_HAND),))
    place("hand_right_keypoints_2d", RIGHT_HAND, range(len(RIGHT_HAND)), (len(RIGHT_HAND),))
    return WholeBody(points, scores)


def _part(flat: object, counts: tuple[int, ...], size: tuple[int, int], source: str) -> np.ndarray | None:
    """Read one list: (N, 3) x and y in pixels, score 0 where the point was not found; None for a part not found."""
    if flat is None or (isinstance(flat, Sequence) and not flat):
        return None
    try:
        values = np.asarray(flat, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or values.size not in [count * 3 for count in counts]:
        expected = " or ".join(str(count) for count in counts)
        raise ConfigurationError(
            f"{source} must be a flat list of x, y, score for {expected} points; got {_short(flat)}."
        )
    values = values.reshape(-1, 3).copy()
    is_missing = (values[:, 2] <= 0) | (values[:, :2] <= 0).all(axis=1) | ~np.isfinite(values).all(axis=1)
    values[is_missing] = (np.nan, np.nan, 0)
    if not is_missing.all() and np.nanmax(np.abs(values[:, :2])) <= _NORMALISED_UP_TO:
        values[:, :2] *= size
    return values


def _area(person: WholeBody) -> float:
    return float(np.ptp(person.points[person.is_seen], axis=0).prod())


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with {', '.join(map(repr, value)) or 'nothing in it'}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
