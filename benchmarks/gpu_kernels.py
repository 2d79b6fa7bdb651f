"""Kernels of attention and of convolutions, at the shapes of one window call."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from gpu_clock import Timing
from gpu_networks import BRANCHES, NUM_TOKENS, Scale
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {
    "default": None,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}

Measure = Callable[[Callable[[], object]], Timing]


def attention_times(scale: Scale, measure: Measure) -> dict[str, dict[str, float | None]]:
    """Milliseconds of every shape of attention by back end; None where a back end refuses it."""
    config, rows = scale.model.unet, len(BRANCHES)
    shapes: dict[str, tuple[int, int, int, int, int]] = {}  # sequences, heads, queries, keys, channels
    for level, heads in enumerate(config.num_attention_heads):
        if config.has_attention[level]:
            pixels = max(scale.side >> level, 1) ** 2
            channels = config.block_out_channels[level] // heads
            shapes[f"spatial, level {level}"] = rows * scale.window, heads, pixels, pixels, channels
            shapes[f"temporal, level {level}"] = rows * pixels, heads, scale.window, scale.window, channels
            shapes[f"spatial cross, level {level}"] = scale.window, heads, pixels, NUM_TOKENS, channels
            shapes[f"temporal cross, level {level}"] = 1, heads, scale.window * pixels, NUM_TOKENS, channels
    times: dict[str, dict[str, float | None]] = {}
    for name, (sequences, heads, queries, keys, channels) in shapes.items():
        # As the layers hand them over: heads side by side in the channels.
        q, k, v = (
            torch.randn(sequences, n, heads * channels, device=scale.device, dtype=scale.dtype)
            .unflatten(-1, (heads, -1))
            .transpose(1, 2)
            for n in (queries, keys, keys)
        )
        times[name] = {backend: _attention_time(q, k, v, kernel, measure) for backend, kernel in BACKENDS.items()}
    return times


def _attention_time(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, kernel: SDPBackend | None, measure: Measure
) -> float | None:
    def attend() -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    if kernel is None:
        return measure(attend).seconds * 1000
    try:
        with sdpa_kernel(kernel):
            return measure(attend).seconds * 1000
    except RuntimeError:  # no available kernel
        return None


def convolution_times(scale: Scale, measure: Measure) -> dict[str, dict[str, float]]:
    """Milliseconds of a spatial and a temporal convolution of each level, by layout and by how it is asked for."""
    options = {"device": scale.device, "dtype": scale.dtype}
    rows, n = len(BRANCHES), scale.window
    times: dict[str, dict[str, float]] = {}
    for level, width in enumerate(scale.model.unet.block_out_channels):
        side = max(scale.side >> level, 1)
        x, weight = torch.randn(rows * n, width, side, side, **options), torch.randn(width, width, 3, 3, **options)
        video, kernel = (
            torch.randn(rows, width, n, side, side, **options),
            torch.randn(width, width, 3, 1, 1, **options),
        )
        last, last_3d = torch.channels_last, torch.channels_last_3d
        flat, flat_kernel = video.flatten(3), kernel[..., 0]
        calls: dict[str, dict[str, Callable[[], torch.Tensor]]] = {
            "spatial": {
                "channels first": _conv2d(x, weight, (1, 1)),
                "channels last": _conv2d(x.to(memory_format=last), weight.to(memory_format=last), (1, 1)),
            },
            "temporal": {
                "channels first": _conv3d(video, kernel),
                "channels last": _conv3d(video.to(memory_format=last_3d), kernel.to(memory_format=last_3d)),
                "in two dimensions": _conv2d(flat, flat_kernel, (1, 0)),
                "in two dimensions, channels last": _conv2d(
                    flat.to(memory_format=last), flat_kernel.to(memory_format=last), (1, 0)
                ),
            },
        }
        for kind, by_form in calls.items():
            times[f"{kind}, level {level}"] = {form: measure(call).seconds * 1000 for form, call in by_form.items()}
    return times


def _conv2d(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> Callable[[], torch.Tensor]:
    return lambda: F.conv2d(x, weight, padding=padding)


def _conv3d(x: torch.Tensor, weight: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: F.conv3d(x, weight, padding=(1, 0, 0))
