"""Networks, schedule and steps against the libraries that define them, and the product against its plain form."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from golden_networks import fill
from plain import plain_sample, plain_unet
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from hunyuan_core.config import SamplingConfig, UNetConfig, VisionConfig
from hunyuan_core.data import Branch
from hunyuan_core.models import UNet, VisionEncoder
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.sampling import Denoiser, karras_sigmas, sample_ddim, sample_euler

SVD_XT_SCHEDULER = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}

SMALL = UNetConfig(
    block_out_channels=(32, 64),
    num_attention_heads=(2, 4),
    has_attention=(True, False),
    layers_per_block=1,
    cross_attention_dim=16,
    addition_time_embed_dim=8,
)
RELEASED_SHAPE = replace(
    SMALL,
    block_out_channels=(32, 64, 96, 96),
    num_attention_heads=(1, 2, 3, 3),
    has_attention=(True, True, True, False),
    layers_per_block=2,
)
OUTER_LEVELS_DO_NOT_ATTEND = replace(
    SMALL, block_out_channels=(32, 32, 64), num_attention_heads=(2, 2, 4), has_attention=(False, True, True)
)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.inference_mode():
        yield


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest error over the deviation."""
    assert actual.shape == expected.shape
    return ((actual.double() - expected.double()).abs().max() / expected.double().std()).item()


# --- transformers' DINOv2


DINOV2_NAMES = (
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.", ""),
    (r"^encoder\.layer\.", "blocks."),
    # The second of each pair is the name since transformers 5.
    (r"attention\.(attention\.query|q_proj)", "attn.qkv.0"),
    (r"attention\.(attention\.key|k_proj)", "attn.qkv.1"),
    (r"attention\.(attention\.value|v_proj)", "attn.qkv.2"),
    (r"attention\.(output\.dense|o_proj)", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
"""Names in transformers to ours; q, k and v are the thirds of one tensor."""


def dinov2_state(ours: dict[str, torch.Tensor], keys: Iterable[str]) -> dict[str, torch.Tensor]:
    """Our weights under transformers' keys; all of them are used."""
    state, used = {}, set()
    for key in keys:
        name = key
        for pattern, replacement in DINOV2_NAMES:
            name = re.sub(pattern, replacement, name)
        part = re.search(r"qkv\.(\d)", name)
        name = re.sub(r"qkv\.\d", "qkv", name)
        state[key] = ours[name].chunk(3)[int(part[1])] if part else ours[name]
        used.add(name)
    assert used == set(ours)
    return state


@pytest.mark.parametrize("grid", [(5, 5), (4, 4), (3, 6)], ids=str)
def test_vision_encoder_without_adapters_is_transformers_dinov2(
    grid: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = VisionConfig(position_grid=5, embed_dim=32, depth=3, num_heads=4, adapter_layers=())
    vision = fill(VisionEncoder(config)).double()
    referee = Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=70,
            patch_size=14,
            num_register_tokens=4,
            layer_norm_eps=1e-6,
        )
    )
    referee = referee.eval().double()
    referee.load_state_dict(dinov2_state(vision.state_dict(), referee.state_dict()))
    if grid != (5, 5):
        # transformers interpolates positions with antialiasing and to a size; DINOv2's own code, and so the release,
        # without and by a scale factor. The golden cases pin ours, and here both sides get the same positions.
        class_position, positions = vision._positions(*grid)
        same = torch.cat([class_position, positions], dim=1)
        monkeypatch.setattr(referee.embeddings, "interpolate_pos_encoding", lambda *_: same)

    image = random(2, 3, 14 * grid[0], 14 * grid[1])
    expected = referee(pixel_values=image).last_hidden_state

    assert error(vision(image, torch.zeros(2, 512).double()), expected) < 1e-12


# --- diffusers' UNet


def diffusers_unet(config: UNetConfig, unet: UNet) -> UNetSpatioTemporalConditionModel:
    attends = config.has_attention
    referee = UNetSpatioTemporalConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        down_block_types=tuple(f"{'CrossAttn' if a else ''}DownBlockSpatioTemporal" for a in attends),  # pyright: ignore[reportArgumentType]
        up_block_types=tuple(f"{'CrossAttn' if a else ''}UpBlockSpatioTemporal" for a in reversed(attends)),  # pyright: ignore[reportArgumentType]
        block_out_channels=config.block_out_channels,  # pyright: ignore[reportArgumentType]
        num_attention_heads=config.num_attention_heads,  # pyright: ignore[reportArgumentType]
        layers_per_block=config.layers_per_block,
        cross_attention_dim=config.cross_attention_dim,
        addition_time_embed_dim=config.addition_time_embed_dim,
        projection_class_embeddings_input_dim=config.addition_time_embed_dim * config.num_added_time_ids,
    )
    referee.load_state_dict({key: value for key, value in unet.state_dict().items() if ".processor." not in key})
    return referee.eval().double()


@pytest.mark.parametrize("config", [SMALL, RELEASED_SHAPE, OUTER_LEVELS_DO_NOT_ATTEND], ids=["2", "4", "3"])
@pytest.mark.parametrize("size", [(8, 8), (10, 6)], ids=str)
def test_unet_without_motion_is_diffusers_unet(config: UNetConfig, size: tuple[int, int]) -> None:
    unet = fill(UNet(config)).double()
    # Small activations, so that the epsilon of each norm counts.
    unet.conv_in.weight *= 1e-3
    unet.conv_in.bias *= 1e-3
    referee = diffusers_unet(config, unet)
    B, T, C = 2, 4, config.cross_attention_dim
    sample = random(B, T, 8, *size)
    tokens = random(B, 5, C, seed=1)
    timestep = torch.tensor([1.6, -1.2], dtype=torch.float64)
    added_time_ids = torch.tensor([[12.5, 0, 0], [6, 127, 0.02]], dtype=torch.float64)

    expected = referee(sample, timestep, tokens, added_time_ids).sample
    no_motion = tokens.new_zeros(0, T, 1, C)
    every_frame = tokens[:, None].expand(-1, T, -1, -1)
    for image_tokens in (tokens[:, None], every_frame):
        context = unet.project_context(image_tokens, no_motion, B, 0)
        # Not 1e-12: diffusers computes the sinusoidal embeddings in float32 always.
        assert error(unet(sample, timestep, added_time_ids, context), expected) < 2e-6


# --- diffusers' Euler scheduler


def fake_v(x: torch.Tensor, timestep: float) -> torch.Tensor:
    """A model of a sort: not linear, and different at each noise level."""
    return torch.tanh(x * 1.5 + 0.2 * timestep) - 0.3 * x


class FakePredictor:
    """``fake_v`` as a predictor, the same for every branch."""

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        return torch.stack([fake_v(x, timestep)] * len(branches))


@pytest.mark.parametrize("num_steps", [1, 2, 5, 25, 50])
def test_sigmas_and_timesteps_are_diffusers(num_steps: int) -> None:
    scheduler = EulerDiscreteScheduler(**SVD_XT_SCHEDULER)
    scheduler.set_timesteps(num_steps)

    sigmas = karras_sigmas(num_steps)

    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=1e-5, atol=0)
    torch.testing.assert_close(0.25 * sigmas[:-1].log(), scheduler.timesteps, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 25, 50])
def test_each_step_is_that_of_diffusers(num_steps: int) -> None:
    scheduler = EulerDiscreteScheduler(**SVD_XT_SCHEDULER)
    scheduler.set_timesteps(num_steps)
    sigmas = karras_sigmas(num_steps)
    config = SamplingConfig(context_window=4, context_overlap=0)
    denoiser = Denoiser(FakePredictor(), 4, sigmas, config)

    x = random(4, 4, 3, 3).float() * 700
    for i, t in enumerate(scheduler.timesteps):
        v = fake_v(scheduler.scale_model_input(x, t), float(t))
        (expected,) = scheduler.step(v, t, x, return_dict=False)[:1]
        actual = sample_euler(denoiser, x, sigmas[i : i + 2])
        # diffusers steps in float32, so what a step starts from is rounded to 6e-8 of its noise level.
        assert (actual - expected).abs().max() < 1e-5 * expected.std() + 3e-7 * sigmas[i]
        x = expected


# --- DDIM, as the paper names the sampler


def ddim(x: torch.Tensor, sigmas: list[float]) -> torch.Tensor:
    """Song et al. 2021, eq. 12 with η = 0, in the variance-preserving latents x / √(σ² + 1)."""
    z = x / math.sqrt(sigmas[0] ** 2 + 1)
    for sigma, next_sigma in pairwise(sigmas):
        alpha, next_alpha = 1 / (sigma**2 + 1), 1 / (next_sigma**2 + 1)
        v = fake_v(z, 0.25 * math.log(sigma))
        clean = math.sqrt(alpha) * z - math.sqrt(1 - alpha) * v
        noise = math.sqrt(alpha) * v + math.sqrt(1 - alpha) * z
        z = math.sqrt(next_alpha) * clean + math.sqrt(1 - next_alpha) * noise
    return z


def test_ddim_and_euler_are_the_same_update() -> None:
    sigmas = karras_sigmas(12).double()
    x = random(3, 4, 2, 2) * 700
    denoiser = Denoiser(FakePredictor(), 3, sigmas, SamplingConfig(context_window=3, context_overlap=0))

    euler = sample_euler(denoiser, x, sigmas)

    assert error(sample_ddim(denoiser, x, sigmas), euler) < 1e-12
    assert error(ddim(x, sigmas.tolist()), euler) < 1e-11


# --- the plain form


BRANCH_CHOICES = [choice for n in (1, 2, 3) for choice in combinations(Branch, n)]


@pytest.mark.parametrize("branches", BRANCH_CHOICES, ids=lambda c: "+".join(b.name.lower() for b in c))
@pytest.mark.parametrize("max_cached_frames", [0, 256])
def test_unet_call_equals_its_plain_form(branches: tuple[Branch, ...], max_cached_frames: int) -> None:
    unet = fill(UNet(SMALL)).double()
    T, size = 7, (4, 6)
    image_tokens, motion_tokens = random(5, 16, seed=1), random(T, 3, 16, seed=2)
    latents, pose = random(4, *size, seed=3), random(T, 32, *size, seed=4)
    frames = [5, 6, 0, 1]
    x = random(len(frames), 4, *size)
    ids = (12.5, 3, 0.02)
    predictor = VideoPredictor(unet, image_tokens, motion_tokens, latents, ids, pose, 0.7, max_cached_frames)

    actual = predictor(x, 0.4, frames, branches)

    has_image = torch.tensor([branch >= Branch.IMAGE for branch in branches]).double().view(-1, 1, 1, 1)
    has_motion = torch.tensor([branch >= Branch.MOTION for branch in branches]).double().view(-1, 1, 1, 1)
    n = len(branches)
    conditions = (has_image * latents)[:, None].expand(-1, len(frames), -1, -1, -1)
    expected = plain_unet(
        unet,
        torch.cat([x.expand(n, -1, -1, -1, -1), conditions], dim=2),
        torch.tensor(0.4, dtype=torch.float64),
        torch.tensor([ids] * n, dtype=torch.float64),
        (has_image * image_tokens).expand(-1, len(frames), -1, -1),
        has_motion * motion_tokens[frames],
        pose[frames].expand(n, -1, -1, -1, -1),
        0.7,
    )
    assert error(actual, expected) < 1e-12


WINDOWS = {"num_inference_steps": 3, "context_window": 5, "context_overlap": 2, "context_shift": 3}
RUNS = {
    "default": (11, {}),
    "ramps": (11, {"image_guidance_scale": (1.0, 3.0), "motion_guidance_scale": (2.5, 0.0)}),
    "unequal": (11, {"image_guidance_scale": (1.5, 1.5), "motion_guidance_scale": (3.0, 3.0)}),
    "off": (11, {"image_guidance_scale": (1.0, 1.0), "motion_guidance_scale": (1.0, 1.0)}),
    "zero": (11, {"image_guidance_scale": (0.0, 0.0), "motion_guidance_scale": (0.0, 0.0)}),
    "no overlap": (10, {"context_overlap": 0, "context_shift": 1}),
    "short": (3, {"motion_guidance_scale": (0.0, 2.0)}),
    "one frame": (1, {}),
    "motion scale": (6, {"motion_scale": 0.5, "fps": 30, "motion_bucket_id": 127, "noise_aug_strength": 0.1}),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(
    ("is_pose_constant", "max_cached_frames"), [(False, 256), (True, 0)], ids=["pose changes", "constant, uncached"]
)
def test_sampling_equals_its_plain_form(name: str, is_pose_constant: bool, max_cached_frames: int) -> None:
    T, settings = RUNS[name]
    config = SamplingConfig(**{**WINDOWS, **settings})
    unet = fill(UNet(SMALL)).double()
    image_tokens, motion_tokens = random(5, 16, seed=1), random(T, 3, 16, seed=2)
    latents, pose = random(4, 8, 6, seed=3), random(1 if is_pose_constant else T, 32, 8, 6, seed=4)
    sigmas = karras_sigmas(config.num_inference_steps)
    x = random(T, 4, 8, 6) * sigmas[0].item()
    ids = (config.fps, config.motion_bucket_id, config.noise_aug_strength)
    predictor = VideoPredictor(
        unet, image_tokens, motion_tokens, latents, ids, pose, config.motion_scale, max_cached_frames
    )

    actual = sample_euler(Denoiser(predictor, T, sigmas, config), x, sigmas)

    pose = pose.expand(T, -1, -1, -1)
    expected = plain_sample(unet, x, sigmas, image_tokens, motion_tokens, latents, pose, config)
    assert error(actual, expected) < 1e-12
