"""The released-size step on a GPU: plain eager form against the product, eager and compiled.

Weights and inputs are random, which costs the same arithmetic as trained ones. Times are medians of CUDA events over
whole window calls, after a warm-up; the roofline is a large matrix product measured in the same run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import torch
from plain import plain_unet
from results import Result, gated, skipped
from small import make_unet

from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.models.memory import MemoryMode
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import branch_weights

WINDOW, SIDE, NUM_TOKENS, DTYPE = 25, 64, 64, torch.float16
WARM_UP, ROUNDS = 3, 10
MIN_SPEEDUP = 2.2
DEFAULT_TFLOP = 62.33
"""Of one window call, by ``count``."""


def run() -> Iterator[Result]:
    """Time one window of 25 frames at 512×512; a run is that times windows and steps."""
    if not torch.cuda.is_available():
        yield skipped("gpu", "no CUDA device")
        return
    device = torch.device("cuda")
    with torch.inference_mode():
        roofline = _roofline(device)
        unet = make_unet(UNetConfig(), DTYPE).to(device)
        plain, plain_peak = _measure(_plain_call(unet, device))
        predictor = _predictor(unet, device)
        branches = tuple(branch_weights(*(scale[0] for scale in _scales())))
        x = torch.randn(WINDOW, 4, SIDE, SIDE, device=device)

        def window() -> torch.Tensor:
            return predictor(x, 0.1, range(WINDOW), branches)

        for mode in MemoryMode:
            predictor.memory_mode = mode
            seconds, peak = _measure(window)
            yield _report(f"gpu/eager_{mode.name.lower()}", seconds, peak, plain, plain_peak, roofline, None)
        predictor.memory_mode = MemoryMode.TOGETHER
        predictor.call = torch.compile(unet)
        seconds, peak = _measure(window)
        yield _report("gpu/compiled", seconds, peak, plain, plain_peak, roofline, MIN_SPEEDUP)


def _report(
    name: str, seconds: float, peak: float, plain: float, plain_peak: float, roofline: float, at_least: float | None
) -> Result:
    metrics = {
        "seconds_per_window": seconds,
        "plain_seconds_per_window": plain,
        "frames_per_second_25_steps": WINDOW / (seconds * 25),
        "peak_gib": peak,
        "plain_peak_gib": plain_peak,
        "roofline_tflop_per_second": roofline,
        "share_of_roofline": DEFAULT_TFLOP / seconds / roofline,
    }
    return gated(name, metrics, plain / seconds, at_least=at_least, baseline="plain form, eager")


def _scales() -> tuple[tuple[float, float], tuple[float, float]]:
    config = SamplingConfig()
    return config.image_guidance_scale, config.motion_guidance_scale


def _measure(call: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of a call, and GiB allocated at the peak, weights included."""
    for _ in range(WARM_UP):
        call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(ROUNDS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times), torch.cuda.max_memory_allocated() / 2**30


def _roofline(device: torch.device) -> float:
    """10¹² operations a second of a large matrix product."""
    n = 8192
    a, b = (torch.randn(n, n, device=device, dtype=DTYPE) for _ in range(2))
    seconds, _ = _measure(lambda: a @ b)
    return 2 * n**3 / seconds / 1e12


def _predictor(unet: UNet, device: torch.device) -> VideoPredictor:
    width = unet.config.cross_attention_dim
    tokens = torch.randn(NUM_TOKENS, width, device=device), torch.randn(WINDOW, NUM_TOKENS, width, device=device)
    pose = torch.randn(1, unet.config.block_out_channels[0], SIDE, SIDE, device=device)
    return VideoPredictor(unet, *tokens, torch.randn(4, SIDE, SIDE, device=device), (12.5, 0.0, 0.0), pose)


def _plain_call(unet: UNet, device: torch.device) -> Callable[[], torch.Tensor]:
    """Three branches in one batch, as the release runs them."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(3, WINDOW, *shape, device=device, dtype=DTYPE)

    image, motion = (draw(NUM_TOKENS, unet.config.cross_attention_dim) for _ in range(2))
    sample, pose = draw(8, SIDE, SIDE), draw(unet.config.block_out_channels[0], SIDE, SIDE)
    time, ids = torch.tensor(0.1, device=device), torch.randn(3, 3, device=device)
    return lambda: plain_unet(unet, sample, time, ids, image, motion, pose)
