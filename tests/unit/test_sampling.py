"""Sampling: windows, guidance, the denoiser as a pure function, seeds, and what the predictor keeps of a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from golden_networks import fill

from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.data import Branch
from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.models import UNet
from hunyuan_core.models.predictor import VideoContext, VideoPredictor
from hunyuan_core.motion import assemble_tokens, pad_motion_tokens
from hunyuan_core.sampling import (
    Denoiser,
    apply_strength,
    branch_weights,
    context_windows,
    guidance_ramp,
    initial_noise,
    karras_sigmas,
    sample_euler,
)

ALL = (Branch.UNCONDITIONAL, Branch.IMAGE, Branch.MOTION)


class LinearModel:
    """A model whose prediction is known: each branch and each frame has a constant of its own; it writes down calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, tuple[int, ...], tuple[Branch, ...]]] = []

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        self.calls.append((timestep, tuple(frames), tuple(branches)))
        # The place in the window counts too, as it does in a network.
        offset = torch.tensor([math.sin(f) + 0.1 * i for i, f in enumerate(frames)], dtype=x.dtype).view(-1, 1, 1, 1)
        return torch.stack([0.5 * x + offset + 10.0**branch for branch in branches])


def denoise(sigma: float, num_frames: int = 11, **settings: object) -> tuple[torch.Tensor, LinearModel]:
    config = SamplingConfig(context_window=5, context_overlap=2, **settings)  # pyright: ignore[reportArgumentType]
    model = LinearModel()
    x = initial_noise((num_frames, 4, 2, 2), 0).double() * sigma
    return Denoiser(model, num_frames, karras_sigmas(config.num_inference_steps), config)(x, sigma), model


# --- windows


def test_windows_of_a_release_run() -> None:
    windows = context_windows(130, 25, 3)

    assert len(windows) == 6
    assert [window[0] for window in windows] == [0, 22, 44, 66, 88, 110]
    assert windows[-1] == [*range(110, 130), 0, 1, 2, 3, 4]


def test_windows_move_back_with_the_shift() -> None:
    assert context_windows(10, 5, 2, shift=3)[:2] == [[7, 8, 9, 0, 1], [0, 1, 2, 3, 4]]


def test_a_short_video_goes_around_the_window() -> None:
    assert context_windows(3, 8, 2) == [[0, 1, 2, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize(("num_frames", "window", "overlap"), [(0, 5, 2), (10, 5, 5), (10, 5, 6), (10, 5, -1)])
def test_impossible_windows_are_refused(num_frames: int, window: int, overlap: int) -> None:
    with pytest.raises(ConfigurationError):
        context_windows(num_frames, window, overlap)


def test_overlap_of_a_whole_window_is_refused_in_the_config() -> None:
    with pytest.raises(ConfigurationError, match="lower context_overlap"):
        SamplingConfig(context_window=5, context_overlap=5)


# --- noise levels


def test_strength_leaves_out_the_first_steps() -> None:
    sigmas = karras_sigmas(25)

    assert apply_strength(sigmas, 1.0).tolist() == sigmas.tolist()
    assert apply_strength(sigmas, 0.5).tolist() == sigmas[13:].tolist()  # int(12.5) steps remain


@pytest.mark.parametrize("strength", [0.0, 0.03, 1.5, -0.5])
def test_strength_without_a_step_is_refused(strength: float) -> None:
    with pytest.raises(ConfigurationError):
        apply_strength(karras_sigmas(25), strength)
    with pytest.raises(ConfigurationError):
        SamplingConfig(strength=strength)


def test_no_step_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        karras_sigmas(0)


# --- guidance


def test_guidance_ramp_is_linear_and_includes_both_ends() -> None:
    assert guidance_ramp((1.0, 3.0), 5) == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert guidance_ramp((1.0, 3.0), 1) == [1.0]


@pytest.mark.parametrize(
    ("image", "motion", "branches"),
    [
        (2.0, 2.0, (Branch.UNCONDITIONAL, Branch.MOTION)),
        (1.0, 1.0, (Branch.MOTION,)),
        (1.0, 2.0, (Branch.IMAGE, Branch.MOTION)),
        (3.0, 2.0, ALL),
        (1.0, 0.0, (Branch.IMAGE,)),
        (0.0, 0.0, (Branch.UNCONDITIONAL,)),
        (2.0, 0.0, (Branch.UNCONDITIONAL, Branch.IMAGE)),
    ],
)
def test_branches_of_weight_zero_do_not_run(image: float, motion: float, branches: tuple[Branch, ...]) -> None:
    _, model = denoise(5.0, image_guidance_scale=(image, image), motion_guidance_scale=(motion, motion))

    assert {call[2] for call in model.calls} == {branches}
    assert len(model.calls) == len(context_windows(11, 5, 2))


def test_guidance_is_the_three_branch_form() -> None:
    v = {branch: torch.tensor(10.0**branch) for branch in ALL}
    weights = branch_weights(1.7, 3.1)

    blended = sum(weight * v[branch] for branch, weight in weights.items())

    assert float(blended) == pytest.approx(1 + 1.7 * (10 - 1) + 3.1 * (100 - 10))


# --- the denoiser


def test_denoised_is_v_prediction_averaged_over_windows() -> None:
    sigma, T = 3.0, 4
    x = initial_noise((T, 4, 2, 2), 1).double() * sigma
    config = SamplingConfig(
        num_inference_steps=1,
        context_window=3,
        context_overlap=1,
        image_guidance_scale=(1, 1),
        motion_guidance_scale=(1, 1),
    )

    actual = Denoiser(LinearModel(), T, torch.tensor([sigma, 0.0]), config)(x, sigma)

    # Windows 0 1 2 and 2 3 0: frames 0 and 2 are in both, at places 0 and 2 and at 2 and 0.
    place = torch.tensor([(0 + 2) / 2, 1, (2 + 0) / 2, 1], dtype=torch.float64)
    offset = (torch.arange(T).double().sin() + 0.1 * place).view(-1, 1, 1, 1)
    v = 0.5 * x / math.sqrt(sigma**2 + 1) + offset + 100
    expected = x / (sigma**2 + 1) - v * sigma / math.sqrt(sigma**2 + 1)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_denoiser_is_a_pure_function() -> None:
    sigmas = karras_sigmas(6)
    config = SamplingConfig(num_inference_steps=6, context_window=5, context_overlap=2, image_guidance_scale=(1.0, 3.0))
    denoiser = Denoiser(LinearModel(), 11, sigmas, config)
    x = initial_noise((11, 4, 2, 2), 3).double()
    levels = sigmas[:-1].tolist()

    first = {sigma: denoiser(x, sigma) for sigma in levels}
    again = {sigma: denoiser(x.clone(), sigma) for sigma in reversed(levels)}

    assert all(torch.equal(first[sigma], again[sigma]) for sigma in levels)


def test_steps_shift_the_windows_and_ramp_the_guidance() -> None:
    sigmas = karras_sigmas(3)
    config = SamplingConfig(
        num_inference_steps=3,
        context_window=5,
        context_overlap=2,
        context_shift=3,
        image_guidance_scale=(1.0, 2.0),
        motion_guidance_scale=(1.0, 2.0),
    )
    model = LinearModel()
    sample_euler(Denoiser(model, 11, sigmas, config), initial_noise((11, 4, 2, 2), 0), sigmas)

    per_step = len(context_windows(11, 5, 2))
    steps = [model.calls[i : i + per_step] for i in range(0, len(model.calls), per_step)]
    assert [[list(call[1]) for call in step] for step in steps] == [
        context_windows(11, 5, 2, shift)
        for shift in (0, 3, 1)  # 6 modulo the window of 5
    ]
    assert [step[0][2] for step in steps] == [
        (Branch.MOTION,),
        (Branch.UNCONDITIONAL, Branch.MOTION),
        (Branch.UNCONDITIONAL, Branch.MOTION),
    ]
    assert [step[0][0] for step in steps] == pytest.approx([0.25 * math.log(s) for s in sigmas[:-1].tolist()])


def test_a_sigma_belongs_to_the_step_that_starts_above_it() -> None:
    sigmas = karras_sigmas(4)
    denoiser = Denoiser(LinearModel(), 3, sigmas, SamplingConfig(num_inference_steps=4))
    levels = sigmas[:-1].tolist()

    assert [denoiser.step_index(sigma) for sigma in levels] == [0, 1, 2, 3]
    assert [denoiser.step_index(math.sqrt(a * b)) for a, b in pairwise(levels)] == [0, 1, 2]
    assert denoiser.step_index(levels[0] * 2) == 0
    assert denoiser.step_index(levels[-1] / 2) == 3
    # A float32 round trip of another sampler must not fall into the step before or after.
    assert [denoiser.step_index(sigma * (1 + e)) for sigma in levels for e in (-1e-7, 1e-7)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_latents_of_another_length_are_refused() -> None:
    denoiser = Denoiser(LinearModel(), 11, karras_sigmas(2), SamplingConfig())
    with pytest.raises(ShapeError, match="11 frames"):
        denoiser(torch.zeros(10, 4, 2, 2), 1.0)


def test_callback_sees_each_step_and_may_stop() -> None:
    seen = []

    def stop(step: int, x: torch.Tensor, denoised: torch.Tensor) -> None:
        seen.append((step, x.clone(), denoised.clone()))
        if step == 1:
            raise KeyboardInterrupt

    sigmas = torch.tensor([4.0, 2.0, 1.0, 0.0])
    with pytest.raises(KeyboardInterrupt):
        sample_euler(lambda x, sigma: x / 2, torch.full((1,), 8.0), sigmas, stop)

    assert [(step, x.item(), denoised.item()) for step, x, denoised in seen] == [(0, 6.0, 4.0), (1, 4.5, 3.0)]


# --- seeds


def test_noise_depends_on_nothing_but_shape_and_seed() -> None:
    torch.manual_seed(1)
    first = initial_noise((3, 4, 2, 2), 72580)
    state = torch.get_rng_state()
    torch.rand(5)
    second = initial_noise((3, 4, 2, 2), 72580)
    torch.set_rng_state(state)

    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, initial_noise((3, 4, 2, 2), 72581))
    assert first.dtype == torch.float32
    assert first.device.type == "cpu"


# --- motion tokens


def test_padding_fades_in_and_out() -> None:
    tokens = torch.stack([torch.full((2, 3), value) for value in (4.0, 5.0, 6.0)])

    padded = pad_motion_tokens(tokens, 4)

    assert padded.shape == (11, 2, 3)
    assert padded[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 4.5, 3, 1.5]
    assert torch.equal(pad_motion_tokens(tokens, 0), tokens)
    with pytest.raises(ConfigurationError):
        pad_motion_tokens(tokens, -1)


def test_every_token_of_a_frame_repeats_its_rotation_and_no_translation() -> None:
    refined, rotation, translation = torch.rand(4, 5, 7), torch.rand(4, 3) * 90, torch.rand(4, 3)

    tokens = assemble_tokens(refined, rotation, translation)

    assert tokens.shape == (4, 5, 13)
    assert torch.equal(tokens[..., :7], refined)
    assert torch.equal(tokens[..., 7:10], rotation[:, None].expand(-1, 5, -1))
    assert tokens[..., 10:].count_nonzero() == 0


# --- what the predictor keeps of a video


SMALL = UNetConfig(
    block_out_channels=(32, 32),
    num_attention_heads=(2, 2),
    has_attention=(True, False),
    layers_per_block=1,
    cross_attention_dim=16,
    addition_time_embed_dim=8,
)


def test_kept_keys_and_values_are_those_of_each_window() -> None:
    with torch.inference_mode():
        unet = fill(UNet(SMALL)).double()
        image_tokens, motion_tokens = torch.rand(5, 16).double(), torch.rand(6, 3, 16).double()
        frames = [4, 5, 0, 1]
        kept, projected_anew = (
            VideoContext(unet, image_tokens, motion_tokens, 0.5, max_cached_frames).window(frames, 2, 1)
            for max_cached_frames in (6, 5)
        )
        direct = unet.project_context(image_tokens[None, None], motion_tokens[frames][None], 2, 1, 0.5)

    assert VideoContext(unet, image_tokens, motion_tokens, max_cached_frames=5).motion is None
    for other in (projected_anew, direct):
        for layer, other_layer in zip(kept.layers, other.layers, strict=True):
            for name in ("image_key", "image_value", "motion_key", "motion_value"):
                torch.testing.assert_close(getattr(layer, name), getattr(other_layer, name), rtol=0, atol=1e-14)


def test_rows_without_motion_project_none() -> None:
    with torch.inference_mode():
        unet = fill(UNet(SMALL))
        context = VideoContext(unet, torch.rand(5, 16), torch.rand(6, 3, 16)).window(torch.tensor([0, 1]), 1, 0)

    assert all(layer.motion_key is None and layer.motion_value is None for layer in context.layers)


@pytest.mark.parametrize("name", ["image_tokens", "motion_tokens"])
def test_tokens_of_another_width_are_refused(name: str) -> None:
    unet = fill(UNet(SMALL))
    image_width, motion_width = (15 if name == wrong else 16 for wrong in ("image_tokens", "motion_tokens"))
    tokens = torch.rand(5, image_width), torch.rand(6, 3, motion_width)
    with pytest.raises(ShapeError, match=f"{name} must have 16 channels"):
        VideoPredictor(unet, *tokens, torch.zeros(4, 2, 2), (12.5, 0, 0))


def test_sample_of_the_wrong_shape_is_refused() -> None:
    unet = fill(UNet(SMALL))
    context = unet.project_context(torch.rand(1, 1, 5, 16), torch.rand(1, 2, 3, 16), 1, 1)
    with pytest.raises(ShapeError, match="sample must be"):
        unet(torch.zeros(1, 2, 4, 2, 2), torch.tensor(0.0), torch.zeros(1, 3), context)
