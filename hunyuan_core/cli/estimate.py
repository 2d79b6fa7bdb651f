"""How long sampling takes: told before it from the arithmetic, and after its first step from what was measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from ..config import SamplingConfig, UNetConfig
from ..data import Branch
from ..models.predictor import VideoPredictor
from ..models.unet import UNet
from ..pipeline import Pipeline
from ..sampling import (
    SCHEDULES,
    SpeedConfig,
    apply_strength,
    branch_weights,
    computed_steps,
    context_windows,
    guidance_ramp,
)
from .progress import say

_BRANCHES = {1: (Branch.MOTION,), 2: (Branch.UNCONDITIONAL, Branch.MOTION), 3: tuple(Branch)}
_NUM_TOKENS = 64


def branches_by_step(config: SamplingConfig, speed: SpeedConfig) -> list[int]:
    """Number of guidance branches in each step whose UNet calls are made."""
    sigmas = apply_strength(SCHEDULES[speed.schedule](config.num_inference_steps), config.strength).tolist()[:-1]
    scales = (guidance_ramp(s, len(sigmas)) for s in (config.image_guidance_scale, config.motion_guidance_scale))
    low, high = speed.guidance_interval
    weights = [branch_weights(*pair) for pair in zip(*scales, strict=True)]
    steps = computed_steps(len(sigmas), speed.extrapolation_interval, speed.extrapolation_order)
    return [len(weights[i]) if low < sigmas[i] <= high else 1 for i in steps]


def sampling_flop(
    unet: UNetConfig, config: SamplingConfig, speed: SpeedConfig, num_frames: int, size: int
) -> tuple[float, int, int]:
    """Count the UNet's operations in a whole sampling.

    Args:
        num_frames: Padding included.

    Returns:
        Operations, a multiply-add being two, as if no features were reused; windows of a step; steps that call the
        UNet.
    """
    windows = context_windows(num_frames, config.context_window, config.context_overlap, is_circular=speed.is_circular)
    branches = branches_by_step(config, speed)
    flop = {n: _window_flop(unet, n, len(windows[0]), size // 8) for n in set(branches)}
    return sum(flop[n] for n in branches) * len(windows), len(windows), len(branches)


def tell_before(
    pipeline: Pipeline, config: SamplingConfig, speed: SpeedConfig, num_frames: int, size: int, num_processes: int = 1
) -> int:
    """Say what sampling takes at the least: its products at the rate that the device shows now.

    Args:
        num_frames: Padding included.
        size: Side of the square that the networks compute.
        num_processes: That share the windows of a step.

    Returns:
        Windows of one step.
    """
    flop, num_windows, num_steps = sampling_flop(pipeline.unet.config, config, speed, num_frames, size)
    share = math.ceil(num_windows / num_processes) / num_windows
    seconds = share * flop / _rate(pipeline.device, pipeline.unet.conv_in.weight.dtype)
    reused = " without reuse" if speed.feature_interval > 1 else ""
    say(
        f"Sampling: {num_steps} steps of {num_windows} windows, {flop / 1e12:.3g} TFLOP{reused}; at "
        f"least about {_duration(seconds)} by the rate of products measured now"
    )
    return num_windows


class TimeLeft:
    """A progress callback that says once, after the first step, how long the rest takes.

    The first window of each process does not count, because it also warms up.

    Args:
        update: Is called as well.
        num_windows: Of a step.
        num_processes: That share them; as many windows are done at once.
    """

    def __init__(self, update: Callable[[int, int], None], num_windows: int, num_processes: int = 1) -> None:
        self._update = update
        self._num_windows = num_windows
        self._num_first = min(num_processes, num_windows)
        self._begun: tuple[int, float] | None = None
        self._is_told = False

    def __call__(self, num_done: int, total: int) -> None:
        """Take the number of windows done, and of all."""
        self._update(num_done, total)
        now = time.monotonic()
        if self._begun is None:
            if (num_done - self._num_first) % self._num_windows == 0:
                self._begun = num_done, now
            return
        first, start = self._begun
        if num_done % self._num_windows == 0 and not self._is_told and num_done < total:
            self._is_told = True
            seconds = (now - start) / (num_done - first)
            left = _duration(seconds * (total - num_done))
            say(f"Sampling: {seconds * self._num_windows:.3g} s a step, about {left} left")


def _window_flop(config: UNetConfig, num_branches: int, num_frames: int, side: int) -> float:
    with torch.device("meta"), torch.inference_mode():
        predict = VideoPredictor(
            UNet(config).half(),
            torch.empty(_NUM_TOKENS, config.cross_attention_dim),
            torch.empty(num_frames, _NUM_TOKENS, config.cross_attention_dim),
            torch.empty(config.out_channels, side, side),
            (0.0, 0.0, 0.0),
        )
        with FlopCounterMode(display=False) as counter:
            x = torch.empty(num_frames, config.out_channels, side, side)
            predict(x, 0.1, range(num_frames), _BRANCHES[num_branches])
    return counter.get_total_flops()


@torch.inference_mode()
def _rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a feed-forward and a convolution such as the released UNet has."""
    n = 1 if device.type == "cpu" else 25  # frames
    tokens, weight = (torch.randn(*shape, device=device, dtype=dtype) for shape in ((n * 1024, 640), (5120, 640)))
    x, kernel = (torch.randn(*s, device=device, dtype=dtype) for s in ((n, 320, 32, 32), (320, 320, 3, 3)))
    flop = 2 * n * 1024 * (640 * 5120 + 320 * 320 * 9)
    best = float("inf")
    for _ in range(3):
        _wait(device)
        start = time.monotonic()
        F.linear(tokens, weight)
        F.conv2d(x, kernel, padding=1)
        _wait(device)
        best = min(best, time.monotonic() - start)
    return flop / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"
