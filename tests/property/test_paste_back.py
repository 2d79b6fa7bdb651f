"""Cutting a face out and pasting it back gives the portrait again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hunyuan_core.faces.crops import square_box
from hunyuan_core.paste_back import PasteBack, soft_mask

SIDES = st.integers(16, 200)


@st.composite
def portraits_and_boxes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    height, width = draw(SIDES), draw(SIDES)
    x1, y1 = draw(st.floats(0, width - 9)), draw(st.floats(0, height - 9))
    box = np.array([x1, y1, draw(st.floats(x1 + 8, width)), draw(st.floats(y1 + 8, height))])
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8), box


@given(portraits_and_boxes(), st.floats(0, 0.5))
def test_cut_and_pasted_back_is_the_portrait(case: tuple[np.ndarray, np.ndarray], border_ratio: float) -> None:
    portrait, box = case
    x1, y1, x2, y2 = square = square_box(box, *portrait.shape[:2])
    crop = portrait[y1:y2, x1:x2].copy()
    np.testing.assert_array_equal(PasteBack(portrait, np.array(square), border_ratio)(crop), portrait)


@given(portraits_and_boxes(), st.integers(1, 96), st.integers(0, 255))
def test_nothing_outside_the_square_changes(case: tuple[np.ndarray, np.ndarray], side: int, value: int) -> None:
    portrait, box = case
    x1, y1, x2, y2 = square = square_box(box, *portrait.shape[:2])
    result = PasteBack(portrait, np.array(square))(np.full((side, side, 3), value, np.uint8))
    inside = np.zeros(portrait.shape[:2], bool)
    inside[y1:y2, x1:x2] = True
    np.testing.assert_array_equal(result[~inside], portrait[~inside])
    low, high = np.minimum(portrait, value), np.maximum(portrait, value)
    assert ((result >= low) & (result <= high)).all()


@given(SIDES, SIDES, st.floats(0, 0.5))
def test_mask_is_symmetric_and_rises(height: int, width: int, border_ratio: float) -> None:
    mask = soft_mask(height, width, border_ratio)
    np.testing.assert_allclose(mask, mask[::-1, ::-1], atol=1e-6)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert (np.diff(mask[: (height + 1) // 2], axis=0) >= -1e-6).all()


@given(hnp.arrays(np.uint8, (40, 40, 3)))
def test_resized_crop_comes_back_within_rounding(crop: np.ndarray) -> None:
    import cv2

    smooth = cv2.GaussianBlur(crop, (0, 0), 6)
    portrait = np.pad(smooth, ((5, 7), (3, 9), (0, 0)))
    large = cv2.resize(smooth, (320, 320), interpolation=cv2.INTER_LINEAR)
    result = PasteBack(portrait, np.array([3, 5, 43, 45]))(large)
    assert np.abs(result.astype(int) - portrait).max() <= 2
