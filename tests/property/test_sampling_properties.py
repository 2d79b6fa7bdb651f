"""What holds for windows, noise levels, guidance and padding whatever the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Branch
from hunyuan_core.motion import pad_motion_tokens
from hunyuan_core.sampling import (
    Denoiser,
    apply_strength,
    branch_weights,
    context_windows,
    guidance_ramp,
    initial_noise,
    karras_sigmas,
)

SCALES = st.floats(-5, 10, allow_nan=False)


@st.composite
def window_arguments(draw: st.DrawFn) -> tuple[int, int, int, int]:
    window = draw(st.integers(1, 40))
    return draw(st.integers(1, 200)), window, draw(st.integers(0, window - 1)), draw(st.integers(0, 100))


@given(window_arguments())
def test_windows_cover_every_frame_of_the_circle(arguments: tuple[int, int, int, int]) -> None:
    num_frames, window, overlap, shift = arguments
    windows = context_windows(num_frames, window, overlap, shift)

    assert len(windows) == -(-num_frames // (window - overlap))
    assert all(len(frames) == window for frames in windows)
    assert all((a + 1) % num_frames == b for frames in windows for a, b in pairwise(frames))
    counts = Counter(frame for frames in windows for frame in frames)
    assert sorted(counts) == list(range(num_frames))
    assert min(counts.values()) >= 1


@given(window_arguments())
def test_a_shift_only_renames_the_frames(arguments: tuple[int, int, int, int]) -> None:
    num_frames, window, overlap, shift = arguments
    unshifted = context_windows(num_frames, window, overlap)

    renamed = [[(frame - shift) % num_frames for frame in frames] for frames in unshifted]

    assert context_windows(num_frames, window, overlap, shift) == renamed


@given(st.integers(1, 200))
def test_sigmas_descend_to_zero(num_steps: int) -> None:
    sigmas = karras_sigmas(num_steps)

    assert len(sigmas) == num_steps + 1
    assert sigmas[0].item() == pytest.approx(700)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()
    if num_steps > 1:
        assert sigmas[-2].item() == pytest.approx(0.002, rel=1e-4)


@given(st.integers(1, 100), st.floats(0.001, 1.0))
def test_strength_keeps_the_end_of_the_schedule(num_steps: int, strength: float) -> None:
    sigmas = karras_sigmas(num_steps)
    kept = int(num_steps * strength)
    if kept:
        assert torch.equal(apply_strength(sigmas, strength), sigmas[-kept - 1 :])


@given(SCALES, SCALES)
def test_guidance_weights_add_up_to_one_and_none_is_zero(image: float, motion: float) -> None:
    weights = branch_weights(image, motion)

    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    assert 0.0 not in weights.values()
    assert list(weights) == sorted(weights)


@given(SCALES, SCALES, st.integers(2, 60))
def test_ramps_stay_between_their_limits(first: float, last: float, num_steps: int) -> None:
    ramp = guidance_ramp((first, last), num_steps)

    assert len(ramp) == num_steps
    assert ramp[0] == first
    assert ramp[-1] == pytest.approx(last)
    low, high = sorted((first, last))
    assert all(low - 1e-9 <= scale <= high + 1e-9 for scale in ramp)


class ConstantModel:
    """Predicts the same v everywhere."""

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        return torch.full((len(branches), *x.shape), 0.25, dtype=x.dtype)


@given(window_arguments(), st.floats(0.002, 700), SCALES, SCALES)
@settings(max_examples=40)
def test_averaging_and_guidance_leave_what_all_agree_on(
    arguments: tuple[int, int, int, int], sigma: float, image: float, motion: float
) -> None:
    num_frames, window, overlap, shift = arguments
    config = SamplingConfig(
        context_window=window,
        context_overlap=overlap,
        context_shift=shift,
        image_guidance_scale=(image, image),
        motion_guidance_scale=(motion, motion),
    )
    x = initial_noise((num_frames, 4, 1, 1), 0).double() * sigma

    actual = Denoiser(ConstantModel(), num_frames, karras_sigmas(25), config)(x, sigma)

    scale = (sigma**2 + 1) ** -0.5
    torch.testing.assert_close(actual, x * scale**2 - 0.25 * sigma * scale, rtol=1e-9, atol=1e-9)


@given(st.integers(1, 30), st.integers(0, 20))
def test_padding_keeps_the_frames_and_never_exceeds_the_ends(num_frames: int, num_padding: int) -> None:
    tokens = initial_noise((num_frames, 2, 3), 0)

    padded = pad_motion_tokens(tokens, num_padding)

    assert torch.equal(padded[num_padding : num_padding + num_frames], tokens)
    assert len(padded) == num_frames + 2 * num_padding
    if num_padding:
        assert padded[0].count_nonzero() == 0
        assert (padded[:num_padding].abs() <= tokens[0].abs()).all()
        assert (padded[-num_padding:].abs() <= tokens[-1].abs()).all()
