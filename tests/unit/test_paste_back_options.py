"""Paste-back with a mask of the user's, a moving background and the colour match."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.paste_back import PasteBack, soft_mask

SQUARE = np.array([10, 20, 70, 80])
INSIDE = np.s_[20:80, 10:70]


def noise(seed: int, height: int = 100, width: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_mask_of_the_portrait_and_of_the_square_are_one() -> None:
    mask = np.random.default_rng(0).random((100, 120))
    frame = noise(1)
    of_portrait = PasteBack(noise(0), SQUARE, mask=mask)(frame)
    of_square = PasteBack(noise(0), SQUARE, mask=mask[INSIDE])(frame)
    np.testing.assert_array_equal(of_portrait, of_square)


@pytest.mark.parametrize("colour_match", [0, 1])
def test_mask_of_zeros_shows_the_background(colour_match: float) -> None:
    paste = PasteBack(noise(0), SQUARE, mask=np.zeros((100, 120), np.float32), colour_match=colour_match)
    np.testing.assert_array_equal(paste(noise(1)), noise(0))
    np.testing.assert_array_equal(paste(noise(1), noise(2)), noise(2))


def test_mask_of_ones_without_feather_shows_the_resized_frame() -> None:
    import cv2

    frame = noise(1, 512, 512)
    result = PasteBack(noise(0), SQUARE, 0, mask=np.ones((100, 120), bool))(frame)
    np.testing.assert_array_equal(result[INSIDE], cv2.resize(frame, (60, 60), interpolation=cv2.INTER_LINEAR))


def test_mask_is_multiplied_with_the_feather() -> None:
    portrait, frame = np.zeros((100, 120, 3), np.uint8), np.full((60, 60, 3), 255, np.uint8)
    mask = np.random.default_rng(0).random((60, 60), np.float32)
    result = PasteBack(portrait, SQUARE, 0.3, mask=mask)(frame)[INSIDE]
    expected = 255 * mask * soft_mask(60, 60, 0.3)
    assert np.abs(result - (expected - 0.5)[..., None]).max() <= 0.51  # fractions are cut off


def test_mask_of_ones_changes_nothing() -> None:
    plain, masked = PasteBack(noise(0), SQUARE), PasteBack(noise(0), SQUARE, mask=np.ones((60, 60)))
    np.testing.assert_array_equal(plain(noise(1)), masked(noise(1)))


def test_moving_background() -> None:
    paste = PasteBack(noise(0), SQUARE)
    for seed in (2, 3):
        background = noise(seed)
        result = paste(noise(1), background)
        np.testing.assert_array_equal(result, PasteBack(background, SQUARE)(noise(1)))
        np.testing.assert_array_equal(background, noise(seed))
    np.testing.assert_array_equal(paste(noise(1)), PasteBack(noise(0), SQUARE)(noise(1)))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            np.zeros((120, 100)),
            "as large as the portrait, 120x100 pixels, or as the square, 60x60; got 100x120. Resize the mask",
        ),
        (np.zeros((1, 100, 120)), "got the shape (1, 100, 120). Resize the mask"),
        (np.full((100, 120), 255), "must lie between 0 and 1; got 255 to 255. Rescale the mask"),
        (np.full((60, 60), -0.1), "must lie between 0 and 1; got -0.1 to -0.1. Rescale the mask"),
        (np.full((60, 60), np.nan), "must lie between 0 and 1; got nan to nan. Rescale the mask"),
    ],
    ids=["size", "batch", "high", "low", "nan"],
)
def test_masks_that_do_not_fit(mask: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        PasteBack(noise(0), SQUARE, mask=mask)


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (np.zeros((120, 100, 3), np.uint8), "as large as the portrait, 120x100 pixels; got 100x120. Resize the backg"),
        (np.zeros((100, 120, 3), np.float32), "The background must be (H, W, 3) uint8; got"),
    ],
    ids=["size", "float"],
)
def test_backgrounds_that_do_not_fit(background: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        PasteBack(noise(0), SQUARE)(noise(1), background)


@pytest.mark.parametrize("border_ratio", [-0.1, 0.51, np.nan])
def test_feather_out_of_range(border_ratio: float) -> None:
    with pytest.raises(ConfigurationError, match=r"border_ratio .* between 0 and 0\.5; got"):
        PasteBack(noise(0), SQUARE, border_ratio)


@pytest.mark.parametrize("strength", [-0.1, 1.1, np.nan])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(ConfigurationError, match="colour_match must be between 0 and 1; got"):
        PasteBack(noise(0), SQUARE, colour_match=strength)


def test_match_of_equal_pictures_changes_nothing() -> None:
    paste = PasteBack(noise(0), SQUARE, colour_match=1)
    for background in (noise(0), noise(2)):
        np.testing.assert_array_equal(paste(background[INSIDE], background), background)


def test_match_moves_by_fractions_of_a_level() -> None:
    # A plain frame can only be moved by whole levels, unless the pixels take turns.
    portrait = np.full((600, 600, 3), 100, np.uint8)
    paste = PasteBack(portrait, np.array([0, 0, 600, 600]), colour_match=0.33)
    centre = paste(np.full((600, 600, 3), 101, np.uint8))[100:500, 100:500]
    assert set(np.unique(centre)) == {100, 101}
    assert centre.mean() == pytest.approx(100.67, abs=0.02)
