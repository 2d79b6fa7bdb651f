"""The colour match: what it takes away, and that it never flickers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import pytest

from hunyuan_core.colour_match import MAX_GAIN, MEMORY, ColourMatch
from hunyuan_core.paste_back import PasteBack, soft_mask

SIDE = 200
SQUARE = np.array([30, 20, 30 + SIDE, 20 + SIDE])
INSIDE = np.s_[20 : 20 + SIDE, 30 : 30 + SIDE]
FACE = np.s_[50:150, 50:150]
RING = soft_mask(SIDE, SIDE) < 1


def scene() -> np.ndarray:
    """Build a portrait of soft patches with room for shifts of 40 levels, as (H, W, 3) in floats."""
    patches = np.random.default_rng(0).normal(size=(260, 280, 3)).astype(np.float32)
    patches = cv2.GaussianBlur(patches, (0, 0), 12)
    return 128 + 30 * patches / patches.std()


def to_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def ring_offset(square: np.ndarray, portrait: np.ndarray) -> float:
    """Mean difference on the ring, without the feather that hides it."""
    return float((square.astype(float) - portrait[INSIDE])[RING].mean())


def run(frames: Iterable[np.ndarray], strength: float, portrait: np.ndarray, border_ratio: float = 0) -> np.ndarray:
    """Paste the frames and cut the square out again."""
    paste = PasteBack(to_picture(portrait), SQUARE, border_ratio, colour_match=strength)
    return np.stack([paste(frame)[INSIDE] for frame in frames])


@pytest.mark.parametrize("border_ratio", [0, 0.1, 0.5])
def test_constant_offset_with_flicker_and_grain(border_ratio: float) -> None:
    random = np.random.default_rng(1)
    portrait = scene()
    offset = np.array([20, -15, 10])
    frames = [
        to_picture(portrait[INSIDE] + offset + random.normal(0, 0.5) + random.normal(0, 3, (SIDE, SIDE, 3)))
        for _ in range(120)
    ]
    before, after = (run(frames, strength, portrait, border_ratio) for strength in (0, 1))

    means = [clip.mean(axis=(1, 2)) for clip in (before, after)]
    for statistic in (lambda mean: mean.var(axis=0), lambda mean: np.diff(mean, axis=0).var(axis=0)):
        assert (statistic(means[1]) <= statistic(means[0])).all()
    truth = to_picture(portrait)[INSIDE].astype(float)
    for part in (RING, ~RING):
        wrong, left = (np.abs((clip - truth)[:, part].mean(axis=(0, 1))) for clip in (before, after))
        assert (left < 0.1 * wrong).all()
        assert (left < 0.6).all()  # half a level is the cut of fractions, in the clip before


@pytest.mark.parametrize(
    "error",
    [
        lambda values: values + np.array([20, 0, -20]),
        lambda values: (values - 128) * 1.15 + 128,
        lambda values: values * 0.8,
        lambda values: values * np.array([1.1, 1, 0.9]),
    ],
    ids=["shift", "contrast", "exposure", "warmth"],
)
def test_errors_of_colour_leave_the_face(error: Callable[[np.ndarray], np.ndarray]) -> None:
    portrait = scene()
    frame = to_picture(error(portrait[INSIDE]))
    before, after = (np.abs(run([frame], strength, portrait)[0] - portrait[INSIDE])[FACE].mean() for strength in (0, 1))
    assert after < 0.15 * before + 0.5


def test_softness_is_not_taken_for_a_lack_of_contrast() -> None:
    portrait = scene() + np.random.default_rng(0).normal(0, 12, (260, 280, 1))
    soft = cv2.GaussianBlur(to_picture(portrait)[INSIDE], (0, 0), 2)
    match = ColourMatch(soft_mask(SIDE, SIDE), 1)
    gain, _ = match.update(match.measure(soft), match.measure(to_picture(portrait)[INSIDE]))
    assert soft.std() < 0.95 * to_picture(portrait)[INSIDE].std()
    assert gain == pytest.approx(1, abs=0.03)


def test_a_plain_wall_does_not_decide_the_contrast() -> None:
    match = ColourMatch(soft_mask(SIDE, SIDE), 1)
    frame, background = np.array([[[120.0] * 3, [0.1] * 3], [[100.0] * 3, [2.0] * 3]])
    gain, shift = match.update(frame, background)
    assert gain == pytest.approx(1, abs=0.1)
    assert gain * 120 + shift == pytest.approx(100, abs=1e-4)


def test_gain_is_limited() -> None:
    frame, background = np.array([[[120.0] * 3, [100.0] * 3], [[100.0] * 3, [2500.0] * 3]])
    for pair in ((frame, background), (background, frame)):
        gain, shift = ColourMatch(soft_mask(SIDE, SIDE), 1).update(*pair)
        assert max(gain[0], 1 / gain[0]) == pytest.approx(MAX_GAIN)
        np.testing.assert_allclose(gain * pair[0][0] + shift, pair[1][0], rtol=1e-5)


def test_colours_are_measured_in_fractions_of_a_level() -> None:
    picture = np.full((SIDE, SIDE, 3), 100, np.uint8)
    picture[::3] = 101
    mean, _ = ColourMatch(soft_mask(SIDE, SIDE), 1).measure(picture)
    assert mean == pytest.approx(100 + 1 / 3, abs=0.01)


def test_matched_colours_are_cut_to_the_range() -> None:
    portrait = scene()
    for offset, extreme in ((20, 0), (-20, 255)):
        frame = to_picture(portrait[INSIDE] + offset)
        frame[90:110, 90:110] = extreme
        result = run([frame], 1, portrait)[0]
        assert (result[90:110, 90:110] == extreme).all()


def test_strength_is_a_share() -> None:
    frame, background = np.array([[[120.0] * 3, [400.0] * 3], [[100.0] * 3, [300.0] * 3]])
    full, half = (ColourMatch(soft_mask(SIDE, SIDE), strength).update(frame, background) for strength in (1, 0.5))
    np.testing.assert_allclose(half[0] - 1, (full[0] - 1) / 2, rtol=1e-4)
    np.testing.assert_allclose(half[1], full[1] / 2, rtol=1e-4)


def test_colours_are_measured_where_a_user_mask_ends() -> None:
    portrait = scene()
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[60:140, 60:140] = 1
    frame = portrait[INSIDE] + 60
    frame[45:155, 45:155] -= 40
    paste = PasteBack(to_picture(portrait), SQUARE, 0, mask=mask, colour_match=1)
    difference = paste(to_picture(frame)).astype(float) - to_picture(portrait)
    assert np.abs(difference[80:160, 90:170].mean(axis=(0, 1))).max() < 1


def test_colours_are_measured_at_the_edge_of_a_square_without_feather() -> None:
    portrait = scene()
    frame = portrait[INSIDE] + 20
    frame[30:-30, 30:-30] += 40
    result = run([to_picture(frame)], 1, portrait)[0]
    difference = result.astype(float) - to_picture(portrait)[INSIDE]
    difference[30:-30, 30:-30] = np.nan
    assert np.abs(np.nanmean(difference, axis=(0, 1))).max() < 1


def test_a_flash_stays_and_leaves_no_trace() -> None:
    portrait = scene()
    frames = [to_picture(portrait[INSIDE])] * 60
    frames[40] = to_picture(portrait[INSIDE] + 30)
    means = run(frames, 1, portrait).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means[:40], means[0], atol=0.01)
    assert means[40] - means[39] == pytest.approx(30, abs=1.5)
    assert np.abs(means[41:] - means[0]).max() < 30 / 40
    assert np.abs(np.diff(means[41:])).max() < 0.05


def test_slow_drift_is_followed() -> None:
    portrait = scene()
    slope = 0.2
    frames = [to_picture(portrait[INSIDE] - slope * index) for index in range(200)]
    before, after = (run(frames, strength, portrait) for strength in (0, 1))
    truth = to_picture(portrait)
    assert ring_offset(before[-1], truth) == pytest.approx(-40, abs=1)
    offsets = [ring_offset(result, truth) for result in after]
    assert min(offsets) > -slope * MEMORY
    assert np.abs(np.diff(offsets)).max() <= slope * 1.5


@pytest.mark.parametrize(("is_error_fading", "limit"), [(False, 0.5), (True, 20 * 0.009 * MEMORY)])
def test_fade_of_the_whole_scene(is_error_fading: bool, limit: float) -> None:
    # A decoder adds its error whatever the light; an error that fades too is followed late, by the memory's length.
    portrait = scene()
    plain, paste = (PasteBack(to_picture(portrait), SQUARE, 0, colour_match=strength) for strength in (0, 1))
    before, after, means = [], [], []
    for light in np.linspace(1, 0.109, 100):
        background = to_picture(light * portrait)
        frame = to_picture(light * portrait[INSIDE] + 20 * (light if is_error_fading else 1))
        before.append(ring_offset(plain(frame, background)[INSIDE], background))
        after.append(ring_offset(paste(frame, background)[INSIDE], background))
        means.append(after[-1] + background[INSIDE][RING].mean())
    assert before[0] == pytest.approx(20, abs=0.1)
    assert np.abs(after).max() < limit
    assert (np.diff(means) < 0).all()


def test_a_shoulder_in_the_ring_does_not_pull_at_the_face() -> None:
    portrait = scene()
    frames = []
    for index in range(100):
        frame = portrait[INSIDE].copy()
        if 60 <= index < 72:
            frame[-50:, :70] -= 40
        frames.append(to_picture(frame))
    face = np.array([square[FACE].mean() for square in run(frames, 1, portrait)])
    assert np.abs(face - face[0]).max() < 1.5
    assert np.abs(np.diff(face)).max() < 0.15
