"""What a whole job needs of the device's memory, stage by stage, and the fastest way to do it in what is free.

All estimates are counted on the meta device for the released architecture, without the workspace of kernels; tests hold
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import cast

import torch
from torch import nn

from ..config import ModelConfig
from ..errors import ConfigurationError
from . import NETWORKS, build
from .feature_reuse import MAX_FRAMES
from .float8 import UNetWeights, store_in_float8
from .memory import MemoryMode, context_bytes, peak_activations
from .predictor import MAX_CACHED_FRAMES
from .unet import UNet
from .weight_streaming import streamed_bytes

FULL_PRECISION = ("expression", "head_pose", "refiner", "vae")
"""Release: the motion networks and the VAE's encoder run in float32 whatever the others do."""

STAGES = {
    "appearance": ("vision", "token_projection", "vae"),
    "motion": ("expression", "head_pose", "refiner"),
    "sampling": ("unet", "pose_guider"),
    "decoding": ("vae",),
}
"""The networks that each stage runs."""

MOTION_CHUNK = 25
"""Frames that the motion networks see at once."""

NUM_LATENTS = 6
"""Copies of all latents that a step holds at most."""

# Values alive at the peak for each pixel and channel of the first level.
_DECODED_VALUES = 8.0
_ENCODED_VALUES = 5.03
_MOTION_VALUES = 0.875
_MOTION_SIDE = 256

_SPARE_FACTOR, _SPARE = 1.1, 256 * 2**20
"""For workspaces, and memory that is free but in pieces."""

_GIB = 2**30


@dataclass(frozen=True)
class MemoryPlan:
    """How a job is fitted into the device's memory. All plans give the same picture but for rounding.

    Attributes:
        mode: How the branches of a window are computed; changes the rounding.
        is_offloaded: Whether each network is on the device only while its stage runs; bit for bit the same.
        is_streamed: Whether the UNet's blocks come to the device one after the other; bit for bit the same.
    """

    mode: MemoryMode = MemoryMode.TOGETHER
    is_offloaded: bool = False
    is_streamed: bool = False

    @property
    def max_cached_frames(self) -> int:
        """Frames up to which projections and pose features of a video are kept; none where every byte counts."""
        return 0 if self.mode is MemoryMode.ONE_BRANCH_CHUNKED else MAX_CACHED_FRAMES

    def __str__(self) -> str:
        """What it does, as it reads after a colon."""
        parts = [_MODE_NAMES[self.mode]]
        if self.is_offloaded:
            parts.append("other networks in main memory")
        if self.is_streamed:
            parts.append("the UNet streamed from main memory")
        return ", ".join(parts)


_MODE_NAMES = {
    MemoryMode.TOGETHER: "all branches together",
    MemoryMode.ONE_BRANCH: "one branch at a time",
    MemoryMode.ONE_BRANCH_CHUNKED: "one branch at a time with chunked feed-forward",
}

PLANS = {
    "all": MemoryPlan(),
    "offload": MemoryPlan(is_offloaded=True),
    "one-branch": MemoryPlan(MemoryMode.ONE_BRANCH, is_offloaded=True),
    "chunked": MemoryPlan(MemoryMode.ONE_BRANCH_CHUNKED, is_offloaded=True),
    "streamed": MemoryPlan(is_offloaded=True, is_streamed=True),
    "streamed-one-branch": MemoryPlan(MemoryMode.ONE_BRANCH, is_offloaded=True, is_streamed=True),
    "smallest": MemoryPlan(MemoryMode.ONE_BRANCH_CHUNKED, is_offloaded=True, is_streamed=True),
}
"""Plans by name, from the fastest to the smallest. Offloading costs a copy of 4 GB in a whole job, smaller calls a few
percent of each, streaming a copy of 3 GB in each, which slow GPUs hide behind the arithmetic."""


@dataclass(frozen=True)
class Workload:
    """What of a job decides its memory.

    Attributes:
        size: Side of the animated square, pixels.
        num_frames: Of the video, padding included.
        num_branches: Guidance branches that run, 1 to 3.
        num_pose_images: 1 where all frames have the same.
        num_outer_layers: Of ``FeatureReuse``; 0 keeps no features.
    """

    size: int = 512
    num_frames: int = 130
    num_branches: int = 2
    context_window: int = 25
    decode_chunk_size: int = 8
    num_pose_images: int = 1
    num_outer_layers: int = 0


class MemoryEstimate:
    """Bytes that a job needs on the device.

    Args:
        config: Of the networks.
        workload: Of the job.
        dtype: Working precision.
        weights: How the UNet keeps its own.
    """

    def __init__(
        self, config: ModelConfig, workload: Workload, dtype: torch.dtype, weights: UNetWeights = "full"
    ) -> None:
        self.config, self.workload, self.dtype = config, workload, dtype
        networks = dict(_networks(config, dtype, weights))
        self.weights = {name: _bytes_of(network) for name, network in networks.items()}
        self.streamed = streamed_bytes(cast("UNet", networks["unet"]))

    def stages(self, plan: MemoryPlan) -> dict[str, int]:
        """Peak of each stage, weights included."""
        weights = {**self.weights, "unet": self.streamed if plan.is_streamed else self.weights["unet"]}
        activations = self._activations(plan)
        return {
            stage: activations[stage] + sum(weights[name] for name in (names if plan.is_offloaded else weights))
            for stage, names in STAGES.items()
        }

    def peak(self, plan: MemoryPlan) -> int:
        """Peak of the whole job."""
        return max(self.stages(plan).values())

    def _activations(self, plan: MemoryPlan) -> dict[str, int]:
        config, job = self.config, self.workload
        pixels, side = job.size**2, job.size // 8
        width = config.unet.block_out_channels[0]
        cached = min(job.num_frames, MAX_CACHED_FRAMES) if plan.max_cached_frames else 0
        poses = 1 if job.num_pose_images == 1 or job.num_frames > plan.max_cached_frames else job.num_frames
        # The last stage's input is wider, and that of stages before it smaller.
        kept_width = config.unet.block_out_channels[job.num_outer_layers > config.unet.layers_per_block]
        kept = min(job.num_frames, MAX_FRAMES) * job.num_branches * kept_width if job.num_outer_layers else 0
        sampling = (
            peak_activations(config.unet, job.num_branches, job.context_window, side, side, self.dtype, plan.mode)
            + context_bytes(config.unet, cached, self.dtype)
            + (poses * width + kept) * side**2 * self.dtype.itemsize
            + NUM_LATENTS * job.num_frames * config.vae.latent_channels * side**2 * 4
        )
        first = config.vae.block_out_channels[0]
        motion_values = _MOTION_VALUES * config.expression.stem_channels + 6  # the crops
        chunk = min(job.decode_chunk_size, job.num_frames)
        return {
            "appearance": round(_ENCODED_VALUES * pixels * first * 4),
            "motion": round(motion_values * MOTION_CHUNK * _MOTION_SIDE**2 * 4),
            "sampling": sampling,
            "decoding": round(_DECODED_VALUES * chunk * pixels * first * self.dtype.itemsize),
        }


def plan_memory(free: int, estimate: MemoryEstimate) -> MemoryPlan:
    """Choose the fastest plan that fits.

    Args:
        free: Bytes of the device that the job may use.

    Raises:
        ConfigurationError: If nothing fits; says how much the smallest plan needs, in which stage, and what to change.
    """
    for plan in PLANS.values():
        if with_spare(estimate.peak(plan)) <= free:
            return plan
    smallest = estimate.stages(PLANS["smallest"])
    stage = max(smallest, key=lambda name: smallest[name])
    job = estimate.workload
    remedy = f"decode_chunk_size ({job.decode_chunk_size}; changes the picture a little) or size ({job.size})"
    if stage == "sampling":
        remedy = f"context_window ({job.context_window}) or size ({job.size})"
    raise ConfigurationError(
        f"The job needs {with_spare(smallest[stage]) / _GIB:.1f} GiB of the device's memory for {stage} even in the "
        f"smallest way, and {free / _GIB:.1f} GiB are free: free some, lower {remedy}, or compute on the CPU."
    )


def with_spare(num_bytes: int) -> int:
    """Add what the count leaves out."""
    return round(num_bytes * _SPARE_FACTOR) + _SPARE


def smaller(plan: MemoryPlan) -> MemoryPlan | None:
    """Give the fastest of PLANS that saves more and gives up no saving; None after the smallest."""
    for other in PLANS.values():
        is_further = (
            other.mode >= plan.mode
            and other.is_offloaded >= plan.is_offloaded
            and other.is_streamed >= plan.is_streamed
        )
        if is_further and other != plan:
            return other
    return None


def _networks(config: ModelConfig, dtype: torch.dtype, weights: UNetWeights) -> Iterator[tuple[str, nn.Module]]:
    """Build the networks as they are loaded, without memory for them."""
    for name in NETWORKS:
        with torch.device("meta"):
            network = build(name, config)
        nn.Module.to(network, "meta", torch.float32 if name in FULL_PRECISION else dtype)
        if name == "vae":
            cast("nn.Module", network.decoder).to(dtype)
        if name == "unet" and weights != "full":
            store_in_float8(network)
        yield name, network


def _bytes_of(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in chain(network.parameters(), network.buffers()))


def free_bytes(device: torch.device) -> int | None:
    """Bytes of a device's memory that are free, or held by PyTorch and not in use; None where it does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None
