"""What no mask, background or colour match may change."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hunyuan_core.paste_back import PasteBack

PICTURES = hnp.arrays(np.uint8, (40, 50, 3))
MASKS = hnp.arrays(np.float32, (40, 50), elements=st.floats(0, 1, width=32))
SQUARE = np.array([5, 3, 41, 39])
INSIDE = np.s_[3:39, 5:41]


@given(PICTURES, PICTURES, PICTURES, MASKS, st.floats(0, 0.5), st.floats(0, 1))
def test_background_stays_where_the_mask_is_zero(
    portrait: np.ndarray,
    background: np.ndarray,
    frame: np.ndarray,
    mask: np.ndarray,
    border_ratio: float,
    strength: float,
) -> None:
    paste = PasteBack(portrait, SQUARE, border_ratio, mask=mask, colour_match=strength)
    result = paste(frame, background)
    hidden = mask == 0
    np.testing.assert_array_equal(result[hidden], background[hidden])
    outside = np.ones((40, 50), bool)
    outside[INSIDE] = False
    np.testing.assert_array_equal(result[outside], background[outside])
    np.testing.assert_array_equal(paste(frame)[outside], portrait[outside])


@given(PICTURES, MASKS, st.floats(0, 0.5), st.floats(0, 1))
def test_cut_and_pasted_back_is_the_portrait(
    portrait: np.ndarray, mask: np.ndarray, border_ratio: float, strength: float
) -> None:
    paste = PasteBack(portrait, SQUARE, border_ratio, mask=mask, colour_match=strength)
    for _ in range(2):
        np.testing.assert_array_equal(paste(portrait[INSIDE]), portrait)
