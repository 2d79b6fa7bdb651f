"""Which parts of a video can be trained on: one face, all the time, in one shot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise, repeat

import numpy as np
from PIL import Image

from ..data import Face, FaceTrack
from ..errors import ConfigurationError, FaceNotFoundError
from ..faces.crops import square_box
from ..faces.detection import FaceChoice, FaceDetector
from ..faces.given import GivenFaces
from ..faces.report import SMALL_FACE
from ..faces.tracking import smooth_track, track_faces
from ..motion import INTENSITY_CHUNK
from ..overlap import read_ahead
from ..video import VideoSource

_THUMBNAIL = 32
_CUT = 25.0
"""Mean change of a thumbnail's colours, of 255, that only a cut makes, or a flash."""


@dataclass(frozen=True)
class CutRules:
    """What makes a clip.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    min_frames: int = INTENSITY_CHUNK
    """Shorter clips are left out; the default is what one pair of motion intensities is measured on."""
    max_frames: int = 250
    """Longer ones are divided, so that all fit into the square around their first face."""
    min_face: int = SMALL_FACE
    """Shorter side of the face, pixels, in half of the frames."""
    max_gap: int = 5
    """Frames without a face that are filled; a longer gap ends the clip."""
    max_missing: float = 0.1
    """Share of a clip's frames without a face."""
    smoothing: int = 1
    """As in ``smooth_track``."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        limits = {"min_frames": 1, "max_frames": self.min_frames, "min_face": 1, "max_gap": 0, "smoothing": 1}
        for name, least in limits.items():
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name} must be at least {least}; got {getattr(self, name)}.")
        if not 0 <= self.max_missing < 1:
            raise ConfigurationError(f"max_missing must be from 0 to below 1; got {self.max_missing}.")

    def as_json(self) -> dict[str, float]:
        """All values by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class Scan:
    """What one look at a video finds.

    Attributes:
        faces: All faces of each frame.
        cuts: Numbers of the frames that begin a shot, except the first.
        height: Of the frames, pixels.
        width: The same.
    """

    faces: list[list[Face]]
    cuts: list[int]
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Cut:
    """A clip of a video, or frames that are left out.

    Attributes:
        start: Its first frame in the video.
        num_frames: Its length.
        track: The face in each of its frames; the first is always a detected one.
        reason: Why it is left out; empty for a clip.
    """

    start: int
    num_frames: int
    track: FaceTrack | None = None
    reason: str = ""


def scan(video: VideoSource, detector: FaceDetector) -> Scan:
    """Find all faces of all frames, and the cuts; the frames are gone through once.

    Raises:
        MediaError: If the video is damaged; names the frame.
    """
    faces, cuts = [], []
    last: np.ndarray | None = None
    with read_ahead(video) as frames:
        for number, frame in enumerate(frames):
            faces.append(detector.detect(frame))
            small = Image.fromarray(frame).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
            thumbnail = np.asarray(small, dtype=np.float32)
            if last is not None and np.abs(thumbnail - last).mean() > _CUT:
                cuts.append(number)
            last = thumbnail
    return Scan(faces, cuts, video.height, video.width)


def cut_clips(found: Scan, rules: CutRules, choice: FaceChoice | None = None) -> Iterator[Cut]:
    """Divide a video at its cuts, where the face is away for too long or jumps, and where it leaves its square.

    Args:
        choice: Which face of each shot, as for a driving video; None for the largest.

    Yields:
        Clips, and what is left out with the reason; in the order of the video.
    """
    blank = np.zeros((found.height, found.width, 3), np.uint8)
    for first, end in pairwise([0, *found.cuts, len(found.faces)]):
        shot = found.faces[first:end]
        try:
            track = track_faces(repeat(blank, len(shot)), GivenFaces(shot), choice)
        except FaceNotFoundError:
            yield Cut(first, len(shot), reason="no face")
            continue
        for start, stop in _divide(track, rules, found.height, found.width):
            part = FaceTrack(track.boxes[start:stop], track.landmarks[start:stop], track.is_detected[start:stop])
            reason = _objection(part, rules)
            if reason:
                yield Cut(first + start, len(part), reason=reason)
            else:
                yield Cut(first + start, len(part), smooth_track(part, rules.smoothing))


def _divide(track: FaceTrack, rules: CutRules, height: int, width: int) -> Iterator[tuple[int, int]]:
    """First frame and the frame after the last one of each part; both ends show the face."""
    for run in _runs(track, rules.max_gap):
        length = run[-1] - run[0] + 1
        # Parts of about one length, rather than a short rest.
        longest = -(-length // -(-length // rules.max_frames))
        start = last = run[0]
        square = square_box(track.boxes[start], height, width)
        for number in run[1:]:
            if number - start >= longest or _leaves(track.boxes[number], square):
                yield start, last + 1
                start = number
                square = square_box(track.boxes[start], height, width)
            last = number
        yield start, last + 1


def _runs(track: FaceTrack, max_gap: int) -> list[list[int]]:
    """Numbers of the detected frames, without long gaps and without jumps further than the face is large."""
    numbers = [int(number) for number in np.flatnonzero(track.is_detected)]
    centres = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    sizes = (track.boxes[:, 2:] - track.boxes[:, :2]).max(axis=1)
    runs = [[numbers[0]]]
    for a, b in pairwise(numbers):
        is_apart = b - a - 1 > max_gap or np.linalg.norm(centres[b] - centres[a]) > sizes[a]
        if is_apart:
            runs.append([])
        runs[-1].append(b)
    return runs


def _leaves(box: np.ndarray, square: tuple[int, int, int, int]) -> bool:
    # The centre, because a close-up's box fills the square and leaves it by its edges all the time.
    centre = (box[:2] + box[2:]) / 2
    return bool((centre < square[:2]).any() or (centre > square[2:]).any())


def _objection(track: FaceTrack, rules: CutRules) -> str:
    if len(track) < rules.min_frames:
        return f"shorter than {rules.min_frames} frames"
    missing = 1 - float(track.is_detected.mean())
    if missing > rules.max_missing:
        return f"{100 * missing:.0f} % of the frames without a face"
    side = float(np.median((track.boxes[:, 2:] - track.boxes[:, :2]).min(axis=1)))
    if side < rules.min_face:
        return f"the face has {side:.0f} pixels, fewer than {rules.min_face}"
    return ""
