"""Many evaluations side by side: pairs of videos, and models with and without their parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import HunyuanPortraitError
from .frechet import FrechetFrameDistance, FrechetVideoDistance
from .report import METRICS, Metric, Report
from .weights import MetricNetworks

SELF, CROSS = "self", "cross"
KINDS = {SELF: "Self-reenactment", CROSS: "Cross-reenactment"}
"""What a pair is: portrait and driver of one person and one video, or of two."""

SET_METRICS = {
    "fid_vid": Metric("FID-VID", "", is_higher_better=False),
    "fvd": Metric("FVD", "", is_higher_better=False),
}
"""Metrics over all videos of a kind together, beside METRICS of each video."""

SETS_NEED_TRUTH = "needs the video that the result should equal, and no pair has one."


@dataclass(frozen=True)
class PairOutcome:
    """What became of one pair.

    Attributes:
        kind: SELF or CROSS.
        files: Paths as they were given, by their role.
        report: None where the pair failed.
        error: Why it failed.
    """

    name: str
    kind: str
    files: Mapping[str, str]
    report: Report | None = None
    error: str | None = None

    def value(self, metric: str) -> float | None:
        """Mean of a metric over the frames; None where it was not measured."""
        if self.report is None or metric not in self.report.measurements:
            return None
        return self.report.measurements[metric].mean


@dataclass(frozen=True)
class SetValues:
    """Numbers over all videos of one kind.

    Attributes:
        values: By name in SET_METRICS.
        not_measured: The others, with the reason.
    """

    values: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One model, or one setting of it, over all pairs.

    Attributes:
        name: Short, as in file names.
        title: As it is printed.
        sets: By kind.
    """

    name: str
    title: str
    pairs: tuple[PairOutcome, ...]
    sets: Mapping[str, SetValues] = field(default_factory=dict)

    def values(self, metric: str, kind: str) -> list[float]:
        """Means of all pairs of a kind that have the metric."""
        values = (pair.value(metric) for pair in self.pairs if pair.kind == kind)
        return [value for value in values if value is not None]

    def mean(self, metric: str, kind: str) -> float | None:
        """Average over the pairs, or the number of the set; None where there is none.

        An infinite PSNR is left out, unless all are.
        """
        if metric in SET_METRICS:
            return self.sets[kind].values.get(metric) if kind in self.sets else None
        values = self.values(metric, kind)
        finite = [value for value in values if math.isfinite(value)]
        if not values:
            return None
        return math.fsum(finite) / len(finite) if finite else math.inf

    def reasons(self, kind: str) -> dict[str, str]:
        """Why metrics have no number, by name; the first reason of each."""
        found: dict[str, str] = {}
        for pair in self.pairs:
            if pair.kind == kind and pair.report is not None:
                found = {**pair.report.not_measured, **found}
        sets = self.sets.get(kind, SetValues())
        found = {**found, **sets.not_measured}
        return {name: found[name] for name in (*METRICS, *SET_METRICS) if name in found}

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold; see ``summary_json``."""
        kinds = [kind for kind in KINDS if any(pair.kind == kind for pair in self.pairs)]
        return {
            "name": self.name,
            "title": self.title,
            "kinds": {kind: self._kind_json(kind) for kind in kinds},
            "pairs": [
                {
                    "name": pair.name,
                    "kind": pair.kind,
                    "files": dict(pair.files),
                    "error": pair.error,
                    "report": None if pair.report is None else pair.report.as_json(),
                }
                for pair in self.pairs
            ],
        }

    def _kind_json(self, kind: str) -> dict[str, Any]:
        metrics = {}
        for name in (*METRICS, *SET_METRICS):
            mean, values = self.mean(name, kind), [v for v in self.values(name, kind) if math.isfinite(v)]
            if mean is not None:
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                metrics[name] = {"mean": mean if math.isfinite(mean) else "inf", "deviation": spread}
        failed = sum(pair.error is not None for pair in self.pairs if pair.kind == kind)
        measured = sum(pair.report is not None for pair in self.pairs if pair.kind == kind)
        return {"pairs": measured, "failed": failed, "metrics": metrics, "not_measured": self.reasons(kind)}


class SetMeasurer:
    """Gathers the videos of one kind for FID-VID and FVD."""

    def __init__(self, networks: MetricNetworks) -> None:
        self._not_measured: dict[str, str] = {}
        self._distances: dict[str, FrechetFrameDistance | FrechetVideoDistance] = {}
        self._has_videos = False
        if networks.frames is None:
            self._not_measured["fid_vid"] = networks.reasons.get("frames", "needs its network, and it was not given.")
        else:
            try:
                self._distances["fid_vid"] = FrechetFrameDistance(networks.frames)
            except HunyuanPortraitError as error:
                self._not_measured["fid_vid"] = str(error)
        if networks.clips is None:
            self._not_measured["fvd"] = networks.reasons.get("clips", "needs its network, and it was not given.")
        else:
            self._distances["fvd"] = FrechetVideoDistance(networks.clips)

    def add(self, truth: Iterable[np.ndarray], result: Iterable[np.ndarray]) -> None:
        """Take a result and the video that it should equal, which are read once for each metric.

        Raises:
            HunyuanPortraitError: As the networks do.
        """
        self._has_videos = True
        for distance in self._distances.values():
            distance.add(truth, result)

    def measure(self) -> SetValues:
        """Compare what was gathered."""
        values, not_measured = {}, dict(self._not_measured)
        for name, distance in self._distances.items():
            if not self._has_videos:
                not_measured[name] = SETS_NEED_TRUTH
                continue
            try:
                values[name] = distance.measure()
            except HunyuanPortraitError as error:
                not_measured[name] = str(error)
        return SetValues(values, not_measured)


def summary_json(rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the object that ``evaluation.json`` holds.

    ``format`` 1: ``settings``; ``metrics``, what each name means; ``rows``, each with ``kinds`` (``self``, ``cross``:
    numbers of pairs measured and failed, mean and standard deviation over the pairs of each metric, reasons for those
    without a number) and ``pairs`` (the report of each, frame by frame, or its error).
    """
    meanings = {
        name: {"title": metric.title, "unit": metric.unit, "is_higher_better": metric.is_higher_better}
        for name, metric in {**METRICS, **SET_METRICS}.items()
    }
    return {"format": 1, "settings": settings, "metrics": meanings, "rows": [row.to_json() for row in rows]}
