"""How far the product's result is from the plain form's, in three types."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from results import Result, gated
from small import Video, make_unet, make_video

from hunyuan_core.config import UNetConfig

LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}
MAX_BFLOAT16_SHARE = 1.1
# Every kind of layer, at little cost: in bfloat16 a CPU is slow.
CONFIG = UNetConfig(
    block_out_channels=(32, 64),
    num_attention_heads=(2, 4),
    has_attention=(True, False),
    layers_per_block=1,
    cross_attention_dim=64,
    addition_time_embed_dim=32,
)


def run() -> Iterator[Result]:
    """Whole runs over windows that overlap and shift."""
    with torch.inference_mode():
        truth = _video(torch.float64).plain()
        for dtype, limit in LIMITS.items():
            video = _video(dtype)
            error = _error(video.default(), video.plain())
            metrics = {"max_error_of_largest_value": error}
            yield gated(f"equal/{_name(dtype)}", metrics, error, at_most=limit, baseline="plain form, same type")
        video = _video(torch.bfloat16)
        ours, plain = (_rms(result, truth) for result in (video.default(), video.plain()))
        metrics = {"default_rms_error_of_deviation": ours, "plain_rms_error_of_deviation": plain}
        yield gated(
            "equal/bfloat16", metrics, ours / plain, at_most=MAX_BFLOAT16_SHARE, baseline="plain form's own error"
        )


def _video(dtype: torch.dtype) -> Video:
    return make_video(make_unet(CONFIG, dtype), 15, 3, side=8, window=9, overlap=2, num_tokens=8)


def _error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


def _rms(actual: torch.Tensor, truth: torch.Tensor) -> float:
    return float((actual.double() - truth).square().mean().sqrt() / truth.std())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
