"""One face through a whole video, with an entry for every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..data import Face, FaceTrack
from ..errors import ConfigurationError, FaceNotFoundError, MediaError
from ..overlap import read_ahead
from .detection import FaceChoice, FaceDetector, box_centre, select_face


def track_faces(
    frames: Iterable[np.ndarray],
    detector: FaceDetector,
    choice: FaceChoice | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> FaceTrack:
    """Find one face in every frame, holding a few frames in memory at a time.

    By default it is the largest of each frame, as in the release. A face chosen by index or position is chosen in the
    first frame that has it and from there on followed by the nearest box that is not rather one of its neighbours.
    Frames without the face are filled: linearly between their neighbours, with the nearest found one at the ends;
    ``FaceTrack.filled_frames`` lists them.

    Args:
        frames: (H, W, 3) uint8 RGB each.
        choice: None for the largest.
        on_frame: Called with each frame's number, from 0, once it was searched.

    Raises:
        MediaError: If there are no frames.
        FaceNotFoundError: If no frame has the face.
    """
    choice = choice or FaceChoice()
    found: list[Face | None] = []
    most_faces = 0
    last: Face | None = None
    others: list[Face] = []
    num_missed = 0
    with read_ahead(frames) as read:
        for number, frame in enumerate(read):
            faces = detector.detect(frame)
            most_faces = max(most_faces, len(faces))
            if last is None or choice.is_largest:
                face = _chosen(faces, choice)
            else:
                face = _followed(faces, last, others, reach=1 + num_missed)
            found.append(face)
            if face is None:
                num_missed += 1
            else:
                last, num_missed = face, 0
                others = [other for other in faces if other is not face]
            if on_frame is not None:
                on_frame(number)
    if not found:
        raise MediaError("The video has no frames; choose another file.")
    if last is None:
        raise FaceNotFoundError(_not_found(len(found), most_faces, choice))
    return _filled(found)


def smooth_track(track: FaceTrack, window: int = 5) -> FaceTrack:
    """Calm the jitter of boxes and landmarks with a centred moving average; not part of the release.

    Motion faster than the window is dampened too, and with it the measured intensity.

    Args:
        window: Frames averaged, odd; 1 changes nothing. Beyond the ends the first and last frame are repeated.

    Raises:
        ConfigurationError: If the window is not a positive odd number.
    """
    if window < 1 or window % 2 == 0:
        raise ConfigurationError(f"The smoothing window is a positive odd number of frames; got {window}.")
    margin = window // 2
    count = len(track)

    def average(values: np.ndarray) -> np.ndarray:
        padded = np.concatenate([values[:1].repeat(margin, axis=0), values, values[-1:].repeat(margin, axis=0)])
        return np.mean([padded[i : i + count] for i in range(window)], axis=0)

    return replace(track, boxes=average(track.boxes), landmarks=average(track.landmarks))


def _chosen(faces: list[Face], choice: FaceChoice) -> Face | None:
    try:
        return select_face(faces, choice)
    except FaceNotFoundError:
        return None


def _followed(faces: list[Face], last: Face, others: list[Face], reach: int) -> Face | None:
    """Find where a face went: the nearest box, unless it is further off than the face can have moved.

    Args:
        others: Faces beside the last one. What is nearer to one of them is that one, not the face in question, so that
            the track of a face which is hidden for a while does not jump to its neighbour for good.
        reach: In sizes of the last box.
    """
    own = [face for face in faces if all(_distance(face, last) <= _distance(face, other) for other in others)]
    if not own:
        return None
    nearest = min(own, key=lambda face: _distance(face, last))
    return nearest if _distance(nearest, last) <= reach * max(last.box[2:] - last.box[:2]) else None


def _distance(face: Face, other: Face) -> float:
    return float(np.linalg.norm(box_centre(face) - box_centre(other)))


def _filled(found: list[Face | None]) -> FaceTrack:
    is_detected = np.array([face is not None for face in found])
    values = np.array([np.concatenate([face.box, face.landmarks.ravel()]) for face in found if face is not None])
    numbers = np.arange(len(found))
    # np.interp holds the first and last value beyond the ends.
    series = np.stack([np.interp(numbers, numbers[is_detected], column) for column in values.T], axis=1)  # (T, 14)
    return FaceTrack(series[:, :4], series[:, 4:].reshape(-1, 5, 2), is_detected)


def _not_found(num_frames: int, most_faces: int, choice: FaceChoice) -> str:
    if most_faces:
        return (
            f"No frame of the {num_frames} has a face with index {choice.index}; at most {most_faces} were found "
            f"in one, so choose an index below {most_faces} (left to right, from 0)."
        )
    return (
        f"No face was found in any of the {num_frames} frames of the video; use another detector, or give the face box "
        f"by hand (drawings, animals)."
    )
