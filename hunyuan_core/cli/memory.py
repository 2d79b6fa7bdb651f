"""Options about memory, and what a job is expected to need of it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import torch

from ..checkpoints.loading import read_config
from ..config import NETWORK_CONFIGS, ModelConfig, SamplingConfig
from ..data import Branch
from ..models.float8 import UNET_WEIGHTS
from ..models.memory_plan import PLANS, MemoryEstimate, MemoryPlan, Workload, free_bytes, plan_memory
from ..models.predictor import MAX_CACHED_FRAMES
from ..pipeline import default_device, default_dtype
from ..sampling import SpeedConfig, branch_weights
from .model import weight_files
from .progress import say

AUTO = "auto"
_GIB = 2**30


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    """Offer the ways to need less memory."""
    parser.add_argument(
        "--memory",
        choices=(AUTO, *PLANS),
        default=AUTO,
        help="how the job is fitted into the GPU's memory, from the fastest way to the smallest; the picture is the "
        "same but for rounding (default: auto, the fastest that fits what is free)",
    )
    parser.add_argument(
        "--unet-weights",
        choices=UNET_WEIGHTS,
        default="full",
        help="fp8 keeps the UNet's weights in 8 bits, 1.5 GiB less; fp8-products computes in 8 bits too, on GPUs that "
        "can; both change the picture a little (default: full)",
    )


def workload_of(
    options: argparse.Namespace, config: SamplingConfig, speed: SpeedConfig, size: int, num_frames: int | None
) -> Workload:
    """Gather what decides the memory of a job.

    Args:
        size: Side of the square that the networks compute.
        num_frames: Of the driving video; None where it is not known yet.
    """
    padded = 0 if num_frames is None else num_frames + 2 * config.num_padding_frames
    # Shorter ones are planned alike, so that one plan serves many videos.
    frames = max(padded, MAX_CACHED_FRAMES)
    return Workload(
        size=size,
        num_frames=frames,
        num_branches=_most_branches(config),
        context_window=config.context_window,
        decode_chunk_size=config.decode_chunk_size,
        num_pose_images=1 if options.pose == "black" else frames,
        num_outer_layers=speed.num_outer_layers if speed.feature_interval > 1 else 0,
    )


def placement(
    options: argparse.Namespace,
    device: torch.device | None,
    dtype: torch.dtype | None,
    workload: Workload,
    *,
    is_tiny: bool,
) -> dict[str, Any]:
    """Choose the memory plan and say what it needs; gives arguments of ``Pipeline.from_pretrained``.

    Args:
        device, dtype: As for that.
        is_tiny: Whether the networks are the untrained ones.

    Raises:
        ConfigurationError: If nothing fits.
    """
    device = default_device() if device is None else device
    dtype = default_dtype(device) if dtype is None else dtype
    config = ModelConfig.tiny() if is_tiny else _config_of_files(options)
    estimate = MemoryEstimate(config, workload, dtype, options.unet_weights)
    free = free_bytes(device)
    if options.memory != AUTO:
        plan = PLANS[options.memory]
    else:
        plan = MemoryPlan() if free is None else plan_memory(free, estimate)
    say(_describe(plan, estimate, free))
    return {"plan": plan, "unet_weights": options.unet_weights, "say": say}


def _describe(plan: MemoryPlan, estimate: MemoryEstimate, free: int | None) -> str:
    stages = estimate.stages(plan)
    parts = ", ".join(f"{name} {_gib(size)}" for name, size in stages.items())
    need = f"about {_gib(max(stages.values()))} GiB" + ("" if free is None else f" of {_gib(free)} GiB free")
    return f"Memory: {plan}; {need} ({parts})"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f}"


def _most_branches(config: SamplingConfig) -> int:
    scales = config.image_guidance_scale, config.motion_guidance_scale
    if any(first != last for first, last in scales):
        return len(Branch)
    return len(branch_weights(scales[0][0], scales[1][0]))


def _config_of_files(options: argparse.Namespace) -> ModelConfig:
    files, config = weight_files(options), ModelConfig()
    for name, part in NETWORK_CONFIGS.items():
        config = replace(config, **{part: getattr(read_config(name, files.path(name)), part)})
    return config
