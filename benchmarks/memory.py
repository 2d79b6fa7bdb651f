"""Peak of the live tensors at the released size: of one UNet call, its growth with the video's length, and a whole job.

Counted on the meta device: no kernels, no workspace, no rounding of an allocator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from live_bytes import LiveBytes
from plain import plain_unet
from results import Result, gated
from torch import nn

from hunyuan_core.config import ModelConfig, SamplingConfig, UNetConfig
from hunyuan_core.models import NETWORKS, build
from hunyuan_core.models.memory import MemoryMode
from hunyuan_core.models.memory_plan import NUM_LATENTS, STAGES, MemoryEstimate, MemoryPlan, Workload, plan_memory
from hunyuan_core.models.predictor import MAX_CACHED_FRAMES, VideoPredictor
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import branch_weights, context_windows

WINDOW, SIDE, NUM_TOKENS = 25, 64, 64
LIMITS = {MemoryMode.TOGETHER: 0.50, MemoryMode.ONE_BRANCH: 0.50, MemoryMode.ONE_BRANCH_CHUNKED: 0.27}
LENGTHS = (100, 2000)
GIB = 2**30
JOB_FRAMES = 125
"""Of the whole job's video; ten seconds at 12.5 a second."""
FREE_GIB = 7.3
"""What a card of 8 GiB leaves, by the sizes of a driver's context and a desktop."""
MAX_JOB_GIB = 7.5


def run() -> Iterator[Result]:
    """Each mode against the plain form, then two lengths against each other."""
    config = SamplingConfig()
    branches = tuple(branch_weights(config.image_guidance_scale[0], config.motion_guidance_scale[0]))
    with torch.device("meta"), torch.inference_mode():
        unet = UNet(UNetConfig()).half().eval()
        plain = _peak(lambda: _plain_call(unet))
        for mode, limit in LIMITS.items():
            predictor = _predictor(unet, WINDOW)
            predictor.memory_mode = mode
            x = torch.empty(WINDOW, 4, SIDE, SIDE)
            peak = _peak(lambda predictor=predictor, x=x: predictor(x, 0.1, range(WINDOW), branches))
            metrics = {"peak_gib": peak / GIB, "plain_peak_gib": plain / GIB}
            yield gated(f"memory/{mode.name.lower()}", metrics, peak / plain, at_most=limit, baseline="plain form")
        growth = [_peak_of_length(unet, length, branches) for length in LENGTHS]
        metrics = {f"peak_gib_{length}_frames": peak / GIB for length, peak in zip(LENGTHS, growth, strict=True)}
        # Inputs that grow (tokens, latents) were made before the count began.
        yield gated("memory/growth", metrics, growth[1] / growth[0], at_most=1.0, baseline=f"{LENGTHS[0]} frames")
    yield _whole_job()


def _whole_job() -> Result:
    """Run every stage of a job by the plan that is chosen for a card of 8 GiB, and count each with its weights."""
    config = SamplingConfig()
    workload = Workload(num_frames=JOB_FRAMES + 2 * config.num_padding_frames)
    estimate = MemoryEstimate(ModelConfig(), workload, torch.half)
    plan = plan_memory(round(FREE_GIB * GIB), estimate)
    with torch.device("meta"), torch.inference_mode():
        peaks = {stage: _peak(call) for stage, call in _stage_calls(plan, workload).items()}
    unet = estimate.streamed if plan.is_streamed else estimate.weights["unet"]
    weights = {**estimate.weights, "unet": unet}
    for stage, names in STAGES.items():
        peaks[stage] += sum(weights[name] for name in (names if plan.is_offloaded else weights))
    metrics = {
        "plan": str(plan),
        "free_gib": FREE_GIB,
        **{f"{stage}_gib": round(peak / GIB, 3) for stage, peak in peaks.items()},
        **{f"{stage}_estimated_gib": round(size / GIB, 3) for stage, size in estimate.stages(plan).items()},
    }
    return gated(
        "memory/whole_job", metrics, max(peaks.values()) / GIB, at_most=MAX_JOB_GIB, baseline="GiB, 512x512, exact"
    )


def _stage_calls(plan: MemoryPlan, workload: Workload) -> dict[str, Callable[[], object]]:
    """Make the networks, whose weights are not counted, and what each stage does with them."""
    config, half = SamplingConfig(), torch.half
    branches = tuple(branch_weights(config.image_guidance_scale[0], config.motion_guidance_scale[0]))
    networks: dict[str, Any] = {name: nn.Module.to(build(name), "meta") for name in NETWORKS}
    for name in ("unet", "vision", "token_projection", "pose_guider"):
        networks[name].half()
    vae, unet = networks["vae"], networks["unet"]
    vae.decoder.half()

    def appearance() -> None:
        features = networks["vision"](torch.empty(1, 3, 224, 224, dtype=half), torch.empty(1, 512, dtype=half))
        networks["token_projection"](features)
        vae.encode(torch.empty(1, 3, workload.size, workload.size)).latent_dist.mode()

    def motion() -> None:
        crops, poses = (torch.empty(WINDOW, 3, 256, 256) for _ in range(2))
        levels = torch.empty(2, WINDOW, dtype=torch.long)
        networks["refiner"](networks["expression"](crops), *levels)
        networks["head_pose"](poses)

    def sampling() -> None:
        pose = networks["pose_guider"](torch.empty(1, 3, workload.size, workload.size, dtype=half))
        predictor = _predictor(unet, workload.num_frames, pose, plan.max_cached_frames)
        predictor.memory_mode = plan.mode
        # The sampler's and the denoiser's, of whose bookkeeping the meta device knows nothing.
        latents = torch.empty(NUM_LATENTS, workload.num_frames, 4, SIDE, SIDE)
        for frames in context_windows(workload.num_frames, config.context_window, config.context_overlap):
            predictor(latents[0][frames], 0.1, frames, branches)

    def decoding() -> None:
        size = workload.decode_chunk_size
        flags = torch.zeros(1, size, dtype=half)
        frames = vae.decoder(torch.empty(size, 4, SIDE, SIDE, dtype=half), num_frames=size, image_only_indicator=flags)
        (((frames.float() / 2 + 0.5).clamp(0, 1) * 255).round()).to(torch.uint8)

    return {"appearance": appearance, "motion": motion, "sampling": sampling, "decoding": decoding}


def _peak(call: Callable[[], object]) -> int:
    with LiveBytes() as count:
        call()
    return count.peak


def _peak_of_length(unet: UNet, num_frames: int, branches: tuple) -> int:
    config = SamplingConfig()
    predictor = _predictor(unet, num_frames)
    window = context_windows(num_frames, config.context_window, config.context_overlap)[0]
    x = torch.empty(len(window), 4, SIDE, SIDE)
    return _peak(lambda: predictor(x, 0.1, window, branches))


def _predictor(
    unet: UNet, num_frames: int, pose: torch.Tensor | None = None, max_cached_frames: int = MAX_CACHED_FRAMES
) -> VideoPredictor:
    width = unet.config.cross_attention_dim
    tokens = torch.empty(NUM_TOKENS, width), torch.empty(num_frames, NUM_TOKENS, width)
    pose = torch.empty(1, unet.config.block_out_channels[0], SIDE, SIDE) if pose is None else pose
    return VideoPredictor(
        unet,
        *tokens,
        torch.empty(4, SIDE, SIDE),
        (12.5, 0.0, 0.0),
        pose,
        max_cached_frames=max_cached_frames,
    )


def _plain_call(unet: UNet) -> torch.Tensor:
    rows, dtype = 3, torch.half
    tokens = torch.empty(rows, WINDOW, NUM_TOKENS, unet.config.cross_attention_dim, dtype=dtype)
    sample = torch.empty(rows, WINDOW, 8, SIDE, SIDE, dtype=dtype)
    pose = torch.empty(rows, WINDOW, unet.config.block_out_channels[0], SIDE, SIDE, dtype=dtype)
    return plain_unet(unet, sample, torch.empty(()), torch.empty(rows, 3), tokens, tokens, pose)
