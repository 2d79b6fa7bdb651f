"""Peak of the live tensors of one UNet call at the released size, and its growth with the video's length.

Counted on the meta device: no kernels, no workspace, no rounding of an allocator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from live_bytes import LiveBytes
from plain import plain_unet
from results import Result, gated

from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.models.memory import MemoryMode
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import branch_weights, context_windows

WINDOW, SIDE, NUM_TOKENS = 25, 64, 64
LIMITS = {MemoryMode.TOGETHER: 0.50, MemoryMode.ONE_BRANCH: 0.50, MemoryMode.ONE_BRANCH_CHUNKED: 0.27}
LENGTHS = (100, 2000)
GIB = 2**30


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


def _predictor(unet: UNet, num_frames: int) -> VideoPredictor:
    width = unet.config.cross_attention_dim
    tokens = torch.empty(NUM_TOKENS, width), torch.empty(num_frames, NUM_TOKENS, width)
    pose = torch.empty(1, unet.config.block_out_channels[0], SIDE, SIDE)
    return VideoPredictor(unet, *tokens, torch.empty(4, SIDE, SIDE), (12.5, 0.0, 0.0), pose)


def _plain_call(unet: UNet) -> torch.Tensor:
    rows, dtype = 3, torch.half
    tokens = torch.empty(rows, WINDOW, NUM_TOKENS, unet.config.cross_attention_dim, dtype=dtype)
    sample = torch.empty(rows, WINDOW, 8, SIDE, SIDE, dtype=dtype)
    pose = torch.empty(rows, WINDOW, unet.config.block_out_channels[0], SIDE, SIDE, dtype=dtype)
    return plain_unet(unet, sample, torch.empty(()), torch.empty(rows, 3), tokens, tokens, pose)
