"""Samplers of second order that remember earlier denoised estimates, so that they call the denoiser once a step."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from .samplers import DenoiserFunction, Memory, StepCallback


def sample_dpmpp_2m(
    denoiser: DenoiserFunction,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    callback: StepCallback | None = None,
    first_step: int = 0,
    memory: Memory | None = None,
) -> torch.Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2) for latents without variance scaling.

    Changes: the estimate of each step is extrapolated linearly in λ = -ln σ from this one and the one before, so that
    the error falls with the square of the step. The first step, and one to level 0, is Euler's.

    Args:
        denoiser: Estimates the clean latents; must be called in order.
        x: Latents with noise of level sigmas[first_step].
        sigmas: (steps + 1,), descending, usually ending in 0.
        callback: Called after each step; may raise to stop.
        first_step: Steps that were done before.
        memory: Of these steps, and filled by this run; without it the first step is of first order.
    """
    memory = {} if memory is None else memory
    levels = sigmas.tolist()
    for i, (sigma, next_sigma) in enumerate(pairwise(levels[first_step:]), first_step):
        denoised = denoiser(x, sigma)
        blended, old = denoised, memory.get("denoised")
        if old is not None and next_sigma > 0:
            ratio = math.log(levels[i - 1] / sigma) / math.log(sigma / next_sigma)  # last step of λ over this one
            blended = denoised + (denoised - old) / (2 * ratio)
        x = blended + (x - blended) * (next_sigma / sigma)
        memory["denoised"] = denoised
        if callback is not None:
            callback(i, x, denoised)
    return x


def sample_unipc(
    denoiser: DenoiserFunction,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    callback: StepCallback | None = None,
    first_step: int = 0,
    memory: Memory | None = None,
) -> torch.Tensor:
    """UniPC of order 2 (Zhao et al. 2023, arXiv 2302.04867, B₂(h) = eʰ - 1, data prediction).

    Changes: as ``sample_dpmpp_2m``, which is its predictor; each estimate then also corrects the step that led to it,
    without a call of its own. Arguments as for ``sample_dpmpp_2m``.
    """
    memory = {} if memory is None else memory
    levels = sigmas.tolist()
    for i, (sigma, next_sigma) in enumerate(pairwise(levels[first_step:]), first_step):
        denoised = denoiser(x, sigma)
        if "start" in memory:
            x = _corrected(denoised, memory, levels, i - 1)
        if next_sigma == 0:
            x = denoised
        else:
            start = denoised + (x - denoised) * (next_sigma / sigma)
            x, old = start, memory.get("denoised")
            if old is not None:
                h, place = _places(levels, i)
                memory["slope"] = (old - denoised) / place
                x = start - math.expm1(-h) * 0.5 * memory["slope"]
            memory["start"] = start
        memory["denoised"] = denoised
        if callback is not None:
            callback(i, x, denoised)
    return x


def _corrected(new: torch.Tensor, memory: Memory, levels: list[float], step: int) -> torch.Tensor:
    """Correct a step by the estimate at its end (eq. 9 of the paper).

    Args:
        new: The estimate at the step's end.
        memory: Of the step: "start", what it is in first order; "denoised", the estimate that it began with; "slope" of
            the estimate over the step before, per h, which the first step lacks.
        levels: Of all steps.
        step: Its index.
    """
    h = math.log(levels[step] / levels[step + 1])
    scale = math.expm1(-h)
    change = new - memory["denoised"]
    if "slope" not in memory:
        return memory["start"] - scale * 0.5 * change
    place = _places(levels, step)[1]
    # The weights w solve w₁ + w₂ = b₁, place · w₁ + w₂ = b₂.
    phi = scale / -h - 1
    b1, b2 = phi / scale, 2 * (phi / -h - 0.5) / scale
    weight_old = (b1 - b2) / (1 - place)
    weight_new = b1 - weight_old
    return memory["start"] - scale * (weight_old * memory["slope"] + weight_new * change)


def _places(levels: list[float], step: int) -> tuple[float, float]:
    """Give h of a step, in λ, and λ of the estimate before it from its own, in units of h; negative."""
    h = math.log(levels[step] / levels[step + 1])
    return h, -math.log(levels[step - 1] / levels[step]) / h
