"""Boxes around what a detector finds."""

from __future__ import annotations

import numpy as np


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, max_iou: float) -> list[int]:
    """Drop boxes that overlap a surer one.

    Args:
        boxes: (N, 4): x1, y1, x2, y2.
        scores: (N,).
        max_iou: Largest intersection over union that two kept boxes may have.

    Returns:
        Indices of the kept boxes, surest first.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        # Multiplied out, so that boxes without area do not divide by zero.
        order = rest[shared <= max_iou * (areas[best] + areas[rest] - shared)]
    return kept
