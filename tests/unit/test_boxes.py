from __future__ import annotations

import numpy as np
import pytest

from hunyuan_core.boxes import non_maximum_suppression

# Boxes 0 and 1 share 90 of 110, boxes 0 and 2 share 50 of 150, boxes 1 and 2 share 60 of 140 (0.43).
BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [40, 40, 50, 50]], float)
SCORES = np.array([0.8, 0.9, 0.5, 0.6])


@pytest.mark.parametrize(("max_iou", "kept"), [(0.4, [1, 3]), (0.45, [1, 3, 2]), (0.9, [1, 0, 3, 2])])
def test_boxes_that_overlap_a_surer_one_are_dropped(max_iou: float, kept: list[int]) -> None:
    assert non_maximum_suppression(BOXES, SCORES, max_iou) == kept


def test_nothing_in_nothing_out() -> None:
    assert non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), 0.5) == []


def test_boxes_without_area_overlap_nothing() -> None:
    boxes = np.array([[3, 3, 3, 3], [0, 0, 10, 10], [5, 5, 5, 5]], float)

    assert non_maximum_suppression(boxes, np.array([0.7, 0.8, 0.9]), 0.5) == [2, 1, 0]
