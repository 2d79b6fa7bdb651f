"""Samplers of second order that remember earlier denoised estimates, so that they call the denoiser once a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch

from .samplers import DenoiserFunction, StepCallback


def sample_dpmpp_2m(
    denoiser: DenoiserFunction,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    callback: StepCallback | None = None,
    first_step: int = 0,
) -> torch.Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2) for latents without variance scaling.

    Changes: the estimate of each step is extrapolated linearly in λ = -ln σ from this one and the one before, so that
    the error falls with the square of the step. The first step, and one to level 0, is Euler's.

    Args:
        denoiser: Estimates the clean latents; must be called in order.
        x: Latents with noise of level sigmas[first_step].
        sigmas: (steps + 1,), descending, usually ending in 0.
        callback: Called after each step; may raise to stop.
        first_step: Steps that were done before; what they left to remember is lost.
    """
    levels = sigmas.tolist()[first_step:]
    old: torch.Tensor | None = None
    for i, (sigma, next_sigma) in enumerate(pairwise(levels)):
        denoised = denoiser(x, sigma)
        blended = denoised
        if old is not None and next_sigma > 0:
            ratio = math.log(levels[i - 1] / sigma) / math.log(sigma / next_sigma)  # last step of λ over this one
            blended = denoised + (denoised - old) / (2 * ratio)
        x = blended + (x - blended) * (next_sigma / sigma)
        old = denoised
        if callback is not None:
            callback(first_step + i, x, denoised)
    return x


def sample_unipc(
    denoiser: DenoiserFunction,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    callback: StepCallback | None = None,
    first_step: int = 0,
) -> torch.Tensor:
    """UniPC of order 2 (Zhao et al. 2023, arXiv 2302.04867, B₂(h) = eʰ - 1, data prediction).

    Changes: as ``sample_dpmpp_2m``, which is its predictor; each estimate then also corrects the step that led to it,
    without a call of its own. Arguments as for ``sample_dpmpp_2m``.
    """
    levels = sigmas.tolist()[first_step:]
    correct: Callable[[torch.Tensor], torch.Tensor] | None = None
    old: torch.Tensor | None = None
    for i, (sigma, next_sigma) in enumerate(pairwise(levels)):
        denoised = denoiser(x, sigma)
        if correct is not None:
            x = correct(denoised)
        if next_sigma == 0:
            x = denoised
        else:
            h = math.log(sigma / next_sigma)
            # λ of the estimate before, from this one, in units of h; negative.
            place = math.nan if old is None else -math.log(levels[i - 1] / sigma) / h
            slope = None if old is None else (old - denoised) / place
            start = denoised + (x - denoised) * (next_sigma / sigma)
            correct = _corrector(start, denoised, slope, h, place)
            x = start if slope is None else start - math.expm1(-h) * 0.5 * slope
        old = denoised
        if callback is not None:
            callback(first_step + i, x, denoised)
    return x


def _corrector(
    start: torch.Tensor, denoised: torch.Tensor, slope: torch.Tensor | None, h: float, place: float
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Correct a step by the estimate at its end (eq. 9 of the paper).

    Args:
        start: The step of first order.
        denoised: The estimate that the step began with.
        slope: Of the estimate over the step before, per h; None for the first step.
        h: Of the step, in λ.
        place: λ of the estimate before it, in units of h.
    """
    scale = math.expm1(-h)
    if slope is None:
        return lambda new: start - scale * 0.5 * (new - denoised)
    # The weights w solve w₁ + w₂ = b₁, place · w₁ + w₂ = b₂.
    phi = scale / -h - 1
    b1, b2 = phi / scale, 2 * (phi / -h - 0.5) / scale
    weight_old = (b1 - b2) / (1 - place)
    weight_new = b1 - weight_old
    return lambda new: start - scale * (weight_old * slope + weight_new * (new - denoised))
