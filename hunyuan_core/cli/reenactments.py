"""The pairs of ``evaluate --pairs``: animated, measured, and written one after the other."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from ..ablation import Reenactor
from ..batch import Row as ManifestRow
from ..config import SamplingConfig
from ..data import Face
from ..errors import ConfigurationError, HunyuanPortraitError, ShapeError
from ..evaluation import Evaluators, evaluate, plot
from ..evaluation.page import Sample
from ..evaluation.summary import CROSS, KINDS, SELF, PairOutcome, Row, SetMeasurer
from ..evaluation.weights import MetricNetworks
from ..faces.crops import reference_crop, square_box, to_crop
from ..faces.detection import FaceDetector, select_face
from ..faces.manual import ManualDetector
from ..faces.tracking import track_faces
from ..sampling import SpeedConfig
from ..video import open_video, read_image, write_image, write_video
from .options import face_choice
from .progress import bar, warn

COLUMNS = ("portrait", "driving", "truth")


@dataclass(frozen=True, eq=False)
class Run:
    """What all pairs share.

    Attributes:
        folder: Where videos and plots go.
        detectors: By subject, ``portrait`` and ``driving``.
        evaluators: Their detector is chosen anew for each pair.
        num_samples: Pairs that are shown on the page and plotted frame by frame.
    """

    folder: Path
    options: argparse.Namespace
    detectors: dict[str, FaceDetector]
    evaluators: Evaluators
    networks: MetricNetworks
    size: int
    config: SamplingConfig
    speed: SpeedConfig
    num_samples: int
    samples: dict[str, Sample] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Frames:
    """Frames that are read again each time: those of a video, at most so many, cut to a square where one is given."""

    source: Iterable[np.ndarray]
    limit: int | None = None
    cut: Callable[[np.ndarray], np.ndarray] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        frames = islice(iter(self.source), self.limit)
        return frames if self.cut is None else map(self.cut, frames)


def run_row(run: Run, name: str, title: str, reenactor: Reenactor, pairs: list[ManifestRow], base: Path) -> Row:
    """Animate and measure all pairs; one that fails is reported, and the others go on.

    Args:
        base: Folder that relative paths of the pairs start from.
    """
    sets = {kind: SetMeasurer(run.networks) for kind in KINDS}
    outcomes = []
    with bar(title, "pair", len(pairs)) as update:
        for number, pair in enumerate(pairs, start=1):
            kind = CROSS if "portrait" in pair.cells else SELF
            outcome = PairOutcome(f"{number:03}-{Path(pair.cells.get('driving', '')).stem}", kind, pair.cells)
            try:
                if "driving" not in pair.cells:
                    raise ConfigurationError(f"line {pair.line} of the list names no driving video; fill that cell.")
                outcome = _measure(run, name, title, reenactor, outcome, base, sets[kind])
            except HunyuanPortraitError as error:
                outcome = replace(outcome, error=str(error))
                warn(f"{title}, {outcome.name}: {error}")
            outcomes.append(outcome)
            update(number)
    kinds = [kind for kind in KINDS if any(outcome.kind == kind for outcome in outcomes)]
    return Row(name, title, tuple(outcomes), {kind: sets[kind].measure() for kind in kinds})


def _measure(
    run: Run, name: str, title: str, reenactor: Reenactor, pair: PairOutcome, base: Path, sets: SetMeasurer
) -> PairOutcome:
    limit, size = run.options.num_frames, run.size
    path = base / pair.files["driving"]
    video = open_video(path, frame_rate=run.options.frame_rate if path.is_dir() else None)
    driving = _Frames(video, limit)
    track = track_faces(driving, run.detectors["driving"], face_choice(run.options, "driving"))
    if pair.kind == SELF:
        portrait = next(iter(driving))
        face = Face(track.boxes[0], track.landmarks[0])
    else:
        portrait = read_image(base / pair.files["portrait"])
        face = select_face(run.detectors["portrait"].detect(portrait), face_choice(run.options, "portrait"))
    reference, is_truth = _reference(pair, base, driving, portrait, face, track.boxes[0], run)

    result = reenactor.animate(portrait, face, driving, track, size=size, config=run.config, speed=run.speed)

    report = evaluate(
        reference,
        result,
        replace(run.evaluators, detector=_detector(run, portrait, face)),
        portrait=reference_crop(portrait, face.box, size),
        is_truth=is_truth,
    )
    if is_truth:
        sets.add(reference, result)
    _write(run, name, title, pair.name, result, reference, is_truth, video.frame_rate)
    if pair.name in run.samples and report.measurements and run.options.plots:
        write_image(run.folder / "plots" / name / f"{pair.name}.png", plot(report))
    return replace(pair, report=report)


def _reference(
    pair: PairOutcome,
    base: Path,
    driving: _Frames,
    portrait: np.ndarray,
    face: Face,
    driver_box: np.ndarray,
    run: Run,
) -> tuple[_Frames, bool]:
    """Choose what the result is compared with, in its size, and whether the result should equal it."""
    size = run.size
    if "truth" in pair.files:
        path = base / pair.files["truth"]
        truth = open_video(path, frame_rate=run.options.frame_rate if path.is_dir() else None)
        if (truth.height, truth.width) == portrait.shape[:2]:
            return _Frames(truth, run.options.num_frames, lambda frame: reference_crop(frame, face.box, size)), True
        if (truth.height, truth.width) == (size, size):
            return _Frames(truth, run.options.num_frames), True
        raise ShapeError(
            f"{path} is {truth.width}×{truth.height} (width×height); a truth must have the size of the portrait, "
            f"{portrait.shape[1]}×{portrait.shape[0]}, or of the result, {size}×{size}. Scale it."
        )
    box = face.box if pair.kind == SELF else driver_box
    return replace(driving, cut=lambda frame: reference_crop(frame, box, size)), pair.kind == SELF


def _detector(run: Run, portrait: np.ndarray, face: Face) -> FaceDetector:
    """Find the faces of the cut videos; one given by hand lies where the portrait's does."""
    detector = run.detectors["driving"]
    if not isinstance(detector, ManualDetector):
        return detector
    square = square_box(face.box, *portrait.shape[:2])
    box = np.clip(to_crop(face.box.reshape(2, 2), square, run.size), 0, run.size).reshape(4)
    return ManualDetector(box=box, landmarks=np.clip(to_crop(face.landmarks, square, run.size), 0, run.size))


def _write(
    run: Run,
    row: str,
    title: str,
    name: str,
    result: list[np.ndarray],
    reference: _Frames,
    is_truth: bool,
    rate: Fraction,
) -> None:
    """Write the result, and for the page what it is compared with."""
    path = Path("videos") / row / f"{name}.mp4"
    write_video(run.folder / path, result, rate)
    if name not in run.samples and len(run.samples) < run.num_samples:
        shown = Path("videos") / "reference" / f"{name}.mp4"
        write_video(run.folder / shown, reference, rate)
        run.samples[name] = Sample(name, {"truth" if is_truth else "driver": shown.as_posix()})
    if name in run.samples:
        run.samples[name].videos[title] = path.as_posix()
