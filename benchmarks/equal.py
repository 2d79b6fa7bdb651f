"""How far the product's result is from the plain form's, in three types."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from results import Result, gated
from small import make_unet, make_video

LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}
MAX_BFLOAT16_SHARE = 1.1


def run() -> Iterator[Result]:
    """Whole runs of four steps over windows that overlap and shift."""
    with torch.inference_mode():
        truth = make_video(make_unet(dtype=torch.float64), 30, 4).plain()
        for dtype, limit in LIMITS.items():
            video = make_video(make_unet(dtype=dtype), 30, 4)
            error = _error(video.default(), video.plain())
            metrics = {"max_error_of_largest_value": error}
            yield gated(f"equal/{_name(dtype)}", metrics, error, at_most=limit, baseline="plain form, same type")
        video = make_video(make_unet(dtype=torch.bfloat16), 30, 4)
        ours, plain = (_rms(result, truth) for result in (video.default(), video.plain()))
        metrics = {"default_rms_error_of_deviation": ours, "plain_rms_error_of_deviation": plain}
        yield gated(
            "equal/bfloat16", metrics, ours / plain, at_most=MAX_BFLOAT16_SHARE, baseline="plain form's own error"
        )


def _error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


def _rms(actual: torch.Tensor, truth: torch.Tensor) -> float:
    return float((actual.double() - truth).square().mean().sqrt() / truth.std())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
