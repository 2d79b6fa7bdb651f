"""An evaluation as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..optional import require
from .report import METRICS, Measurement, Report
from .summary import KINDS, Row

_PURPOSE, _INSTALL = "plots", "pip install matplotlib"
_NUM_COLUMNS = 2
_PANEL_SIZE = (6.0, 2.4)  # inches
_DPI = 100
_LINE, _MEAN, _WORST = "#1f6feb", "#6e7781", "#d1242f"


def plot(report: Report) -> np.ndarray:
    """Draw each measured metric over the frames, with its mean (dashed) and its worst frame (red).

    The line has a gap where a frame has no number or PSNR is infinite.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    measurements = list(report.measurements.values())
    figure, canvas, panels = _panels(len(measurements))
    for place, measurement in zip(panels, measurements, strict=True):
        _draw(figure.add_subplot(*place), measurement)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def plot_rows(rows: Sequence[Row]) -> np.ndarray | None:
    """Draw each metric over the settings: a dot for each pair, a bar for their mean.

    Returns:
        (H, W, 3) uint8 RGB; None where no pair has a finite number.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    drawn = [
        (name, kind)
        for kind in KINDS
        for name in METRICS
        if any(math.isfinite(value) for row in rows for value in row.values(name, kind))
    ]
    if not drawn:
        return None
    figure, canvas, panels = _panels(len(drawn))
    for place, (name, kind) in zip(panels, drawn, strict=True):
        axes = figure.add_subplot(*place)
        axes.set_title(f"{KINDS[kind]}: {METRICS[name].label}", fontsize=10, loc="left")
        for x, row in enumerate(rows):
            values = [value for value in row.values(name, kind) if math.isfinite(value)]
            if values:
                axes.bar(x, math.fsum(values) / len(values), width=0.6, color=_MEAN, alpha=0.4)
                axes.plot([x] * len(values), values, ".", color=_LINE)
        axes.set_xticks(range(len(rows)), [row.title for row in rows])
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3, axis="y")
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _panels(number: int) -> tuple[Any, Any, list[tuple[int, int, int]]]:
    """Make a figure, its canvas, and the places of its panels."""
    # Not pyplot, which keeps global figures and chooses a window system.
    figure_module = require("matplotlib.figure", _PURPOSE, _INSTALL)
    agg = require("matplotlib.backends.backend_agg", _PURPOSE, _INSTALL)
    num_columns = min(_NUM_COLUMNS, number)
    num_rows = -(-number // num_columns)
    width, height = _PANEL_SIZE
    figure = figure_module.Figure(
        figsize=(width * num_columns, height * num_rows), dpi=_DPI, facecolor="white", layout="constrained"
    )
    canvas = agg.FigureCanvasAgg(figure)
    return figure, canvas, [(num_rows, num_columns, place) for place in range(1, number + 1)]


def _draw(axes: Any, measurement: Measurement) -> None:
    values = [math.nan if value is None or math.isinf(value) else value for value in measurement.values]
    metric = measurement.metric
    better = "higher is better" if metric.is_higher_better else "lower is better"
    axes.set_title(f"{metric.label}, {better}", fontsize=10, loc="left")
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if math.isinf(measurement.mean):
        axes.text(0.5, 0.5, "all frames are identical", transform=axes.transAxes, ha="center", va="center")
        axes.set_xlabel("frame", fontsize=8)
        axes.set_yticks([])
        return
    # Markers, because a frame between two gaps has no line.
    axes.plot(range(len(values)), values, color=_LINE, linewidth=1.2, marker=".", markersize=4)
    axes.axhline(measurement.mean, color=_MEAN, linestyle="--", linewidth=1)
    axes.plot([measurement.worst_frame], [measurement.worst], "o", color=_WORST, markersize=5)
    # Not a legend, which would hide frames.
    mean, worst = f"mean {measurement.mean:.4g} (dashed)", f"worst {measurement.worst:.4g}"
    axes.set_xlabel(f"frame; {mean}, {worst} in frame {measurement.worst_frame} (red)", fontsize=8)
