"""What an evaluation found, as text and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """What the numbers of one metric mean.

    Attributes:
        title: As it is printed.
        unit: Empty for a number without one.
    """

    title: str
    unit: str
    is_higher_better: bool

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


METRICS = {
    "psnr": Metric("PSNR", "dB", is_higher_better=True),
    "ssim": Metric("SSIM", "", is_higher_better=True),
    "lpips": Metric("LPIPS", "", is_higher_better=False),
    "landmark_distance": Metric("Landmark distance", "pixels", is_higher_better=False),
    "normalised_landmark_distance": Metric("Landmark distance", "inter-ocular distances", is_higher_better=False),
    "identity_similarity": Metric("Identity similarity", "cosine", is_higher_better=True),
    "motion_error": Metric("Motion error", "feature units", is_higher_better=False),
    "rotation_error": Metric("Head rotation error", "degrees", is_higher_better=False),
    "translation_error": Metric("Head translation error", "encoder units", is_higher_better=False),
}
"""Every metric by its name, in the order of reports."""


@dataclass(frozen=True)
class Measurement:
    """One metric over a video.

    Attributes:
        name: One of METRICS.
        values: One number a frame, at least one of them measured; None where the frame shows no face to measure,
            infinity where PSNR compares identical pictures.
    """

    name: str
    values: tuple[float | None, ...]

    @property
    def metric(self) -> Metric:
        """What the numbers mean."""
        return METRICS[self.name]

    @property
    def measured(self) -> dict[int, float]:
        """The numbers by their frame, without the frames that have none."""
        return {frame: value for frame, value in enumerate(self.values) if value is not None}

    @property
    def num_infinite(self) -> int:
        """Count the identical pictures."""
        return sum(math.isinf(value) for value in self.measured.values())

    @property
    def mean(self) -> float:
        """Average the finite numbers: one identical picture would hide all others; infinity if all are identical."""
        finite = [value for value in self.measured.values() if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else math.inf

    @property
    def worst_frame(self) -> int:
        """Index of the frame with the worst number, the first of them."""
        choose = min if self.metric.is_higher_better else max
        return choose(self.measured, key=self.measured.__getitem__)

    @property
    def worst(self) -> float:
        """The number of the worst frame."""
        return self.measured[self.worst_frame]


@dataclass(frozen=True)
class Report:
    """All metrics over a video.

    Attributes:
        height: Pixels of both videos.
        width: Pixels of both videos.
        measurements: By name, in the order of METRICS.
        not_measured: Every other metric by name, with the reason.
        frames_without_face: Indices by video, ``"reference"`` and ``"result"``; empty where no face was looked for.
    """

    num_frames: int
    height: int
    width: int
    measurements: dict[str, Measurement]
    not_measured: dict[str, str]
    frames_without_face: dict[str, tuple[int, ...]]

    def to_text(self) -> str:
        """Write a table with one line for each metric."""
        rows = [("", "mean", "worst", "in frame", "")]
        rows += [_row(measurement) for measurement in self.measurements.values()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{self.num_frames} frames of {self.width}×{self.height} pixels (width×height)", ""]
        for title, *numbers, note in rows:
            cells = [
                title.ljust(widths[0]),
                *(text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)),
            ]
            lines.append("  ".join([*cells, note]).rstrip())
        for video, frames in self.frames_without_face.items():
            if frames:
                lines += ["", f"Frames of the {video} without a face: {_ranges(set(frames))}"]
        if self.not_measured:
            lines += ["", "Not measured:"]
            lines += [f"  {METRICS[name].label}: {reason}" for name, reason in self.not_measured.items()]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Write ``as_json`` as one JSON object by the letter of the standard."""
        return json.dumps(self.as_json(), allow_nan=False)

    def as_json(self) -> dict[str, Any]:
        """Give what JSON can hold.

        A frame without a face has null for its number; an infinite number is the string ``"inf"``, as JSON has none.
        """
        return {
            "num_frames": self.num_frames,
            "height": self.height,
            "width": self.width,
            "metrics": {name: _as_json(measurement) for name, measurement in self.measurements.items()},
            "not_measured": self.not_measured,
            "frames_without_face": self.frames_without_face,
        }


def _row(measurement: Measurement) -> tuple[str, str, str, str, str]:
    notes = ["higher is better" if measurement.metric.is_higher_better else "lower is better"]
    num_finite = len(measurement.measured) - measurement.num_infinite
    if measurement.num_infinite and num_finite:
        notes.append(f"mean of the {num_finite} frames that are not identical")
    if len(measurement.measured) < len(measurement.values):
        notes.append(f"{len(measurement.values) - len(measurement.measured)} frames without a face left out")
    numbers = f"{measurement.mean:.4g}", f"{measurement.worst:.4g}", str(measurement.worst_frame)
    return measurement.metric.label, *numbers, "; ".join(notes)


def _ranges(frames: set[int]) -> str:
    """Write numbers in short, e.g. ``0-3, 7``."""
    first = [frame for frame in sorted(frames) if frame - 1 not in frames]
    last = [frame for frame in sorted(frames) if frame + 1 not in frames]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(first, last, strict=True))


def _as_json(measurement: Measurement) -> dict[str, Any]:
    return {
        "title": measurement.metric.title,
        "unit": measurement.metric.unit,
        "is_higher_better": measurement.metric.is_higher_better,
        "mean": _number(measurement.mean),
        "worst": _number(measurement.worst),
        "worst_frame": measurement.worst_frame,
        "values": [None if value is None else _number(value) for value in measurement.values],
    }


def _number(value: float) -> float | str:
    return "inf" if math.isinf(value) else value
