"""How near a video comes to the one it should be: pictures, landmarks, identity, motion and head pose."""

from __future__ import annotations

from .evaluator import Evaluators, evaluate
from .plotting import plot
from .report import METRICS, Measurement, Metric, Report

__all__ = ["METRICS", "Evaluators", "Measurement", "Metric", "Report", "evaluate", "plot"]
