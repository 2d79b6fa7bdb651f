"""Samplers: pure functions of a denoiser, a start and noise levels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

DenoiserFunction = Callable[[torch.Tensor, float], torch.Tensor]
"""(x, sigma) -> denoised, all of one shape."""

StepCallback = Callable[[int, torch.Tensor, torch.Tensor], None]
"""(index of the step, x after it, denoised estimate), called after each step."""

Memory = dict[str, torch.Tensor]
"""What the steps to come need of those that were done, beside x: filled by the sampler as it goes, and given back to it
to go on from there. Its tensors are replaced and never changed."""


def sample_euler(
    denoiser: DenoiserFunction,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    callback: StepCallback | None = None,
    first_step: int = 0,
    memory: Memory | None = None,
) -> torch.Tensor:
    """Euler's method on the probability-flow ODE (Karras et al. 2022, algorithm 2 without its second-order correction).

    Args:
        denoiser: Estimates the clean latents.
        x: Latents with noise of level sigmas[first_step], any shape.
        sigmas: (steps + 1,), descending, usually ending in 0.
        callback: Called after each step; may raise to stop.
        first_step: Steps that were done before.
        memory: Stays as it is; this sampler needs x alone.
    """
    levels = sigmas.tolist()[first_step:]
    for i, (sigma, next_sigma) in enumerate(pairwise(levels), first_step):
        denoised = denoiser(x, sigma)
        x = x + (x - denoised) * ((next_sigma - sigma) / sigma)
        if callback is not None:
            callback(i, x, denoised)
    return x


def sample_ddim(
    denoiser: DenoiserFunction,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    callback: StepCallback | None = None,
    first_step: int = 0,
    memory: Memory | None = None,
) -> torch.Tensor:
    """Deterministic DDIM (Song et al. 2021, eq. 12 with η = 0) for latents without variance scaling.

    The update is Euler's written otherwise; the paper names this sampler. Arguments as for ``sample_euler``.
    """
    levels = sigmas.tolist()[first_step:]
    for i, (sigma, next_sigma) in enumerate(pairwise(levels), first_step):
        denoised = denoiser(x, sigma)
        noise = (x - denoised) / sigma
        x = denoised + noise * next_sigma
        if callback is not None:
            callback(i, x, denoised)
    return x
