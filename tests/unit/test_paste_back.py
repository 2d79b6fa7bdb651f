"""The soft mask and what it may not touch."""

from __future__ import annotations

import numpy as np
import pytest

from hunyuan_core.errors import ShapeError
from hunyuan_core.paste_back import PasteBack, soft_mask


def test_mask_of_twenty_pixels() -> None:
    mask = soft_mask(20, 30)
    assert mask.shape == (20, 30)
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask[10], [0, 0.5, 1, *[1] * 24, 1, 0.5, 0])
    np.testing.assert_allclose(mask[:, 15], [0, 1, *[1] * 16, 1, 0])
    np.testing.assert_array_equal(soft_mask(7, 5), np.ones((7, 5)))


def test_centre_is_the_frame_and_edge_the_portrait() -> None:
    portrait = np.full((100, 120, 3), 50, np.uint8)
    result = PasteBack(portrait, np.array([10, 20, 70, 80]))(np.full((512, 512, 3), 200, np.uint8))
    assert result.dtype == np.uint8
    assert (result[26:74, 16:64] == 200).all()
    assert (result[20, 10:70] == 50).all()
    assert (portrait == 50).all()


def test_one_object_serves_many_frames() -> None:
    paste = PasteBack(np.zeros((100, 100, 3), np.uint8), np.array([0, 0, 100, 100]))
    first = paste(np.full((64, 64, 3), 10, np.uint8))
    second = paste(np.full((64, 64, 3), 20, np.uint8))
    assert first[50, 50, 0] == 10
    assert second[50, 50, 0] == 20


@pytest.mark.parametrize("square", [(-1, 0, 50, 50), (0, 0, 121, 50), (0, 0, 50, 101), (50, 0, 50, 50), (0, 9, 9, 3)])
def test_square_outside_the_portrait(square: tuple[int, int, int, int]) -> None:
    with pytest.raises(ShapeError, match="inside the portrait of 120x100"):
        PasteBack(np.zeros((100, 120, 3), np.uint8), np.array(square))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((100, 120, 3), np.float32),
        np.zeros((100, 120), np.uint8),
        np.zeros((100, 120, 4), np.uint8),
        np.zeros((1, 100, 120, 3), np.uint8),
        np.zeros((0, 120, 3), np.uint8),
    ],
    ids=["float", "grey", "alpha", "batch", "empty"],
)
def test_pictures_that_are_not_rgb(picture: np.ndarray) -> None:
    square = np.array([0, 0, 50, 50])
    with pytest.raises(ShapeError, match=r"The portrait must be \(H, W, 3\) uint8; got .*\. Convert"):
        PasteBack(picture, square)
    paste = PasteBack(np.zeros((100, 120, 3), np.uint8), square)
    with pytest.raises(ShapeError, match=r"The frame must be \(H, W, 3\) uint8; got .*\. Convert"):
        paste(picture)
