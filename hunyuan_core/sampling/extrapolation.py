"""Whole steps without the model: the denoised estimate is extrapolated from earlier ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch

from .samplers import DenoiserFunction, Memory


class ExtrapolatingDenoiser:
    """A denoiser that runs the model in some steps only.

    Changes: in the other steps the denoised estimate is the polynomial in ln σ through the last computed estimates,
    taken at the step's level. It is the idea of FlashPortrait (Tu et al. 2025, arXiv 2512.16900) and TaylorSeer (Liu et
    al. 2025, arXiv 2503.06923) to predict steps from the derivatives of earlier ones, in its simplest form: differences
    of the denoised estimate itself, without their adaptive factors. The estimate is that of the whole video, so that
    each frame continues its own course however the windows shift.

    Keeps ``order + 1`` estimates of the size of the latents.

    Args:
        denoiser: Called in the computed steps.
        sigmas: (steps + 1,), descending. A level that is not among them is always computed.
        interval: See ``computed_steps``.
        order: Degree of the polynomial.
        memory: Where the estimates are kept, for a run that goes on; empty, or what an earlier run filled.
    """

    def __init__(
        self, denoiser: DenoiserFunction, sigmas: torch.Tensor, interval: int, order: int, memory: Memory | None = None
    ) -> None:
        self.denoiser = denoiser
        self.memory = {} if memory is None else memory
        levels = sigmas[:-1].tolist()
        steps = computed_steps(len(levels), interval, order)
        self._skipped = {level for i, level in enumerate(levels) if i not in steps}
        places = self.memory["places"].tolist() if "places" in self.memory else []
        self._history: deque[tuple[float, torch.Tensor]] = deque(maxlen=order + 1)
        self._history.extend((place, self.memory[f"estimate {i}"]) for i, place in enumerate(places))

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Denoise; arguments as for the denoiser. Calls are expected in the order of a run."""
        place = math.log(sigma)
        if sigma in self._skipped and len(self._history) == self._history.maxlen:
            places, estimates = zip(*self._history, strict=True)
            return extrapolate(places, estimates, place)
        denoised = self.denoiser(x, sigma)
        self._history.append((place, denoised))
        self.memory["places"] = torch.tensor([place for place, _ in self._history], dtype=torch.float64)
        self.memory.update({f"estimate {i}": estimate for i, (_, estimate) in enumerate(self._history)})
        return denoised


def computed_steps(num_steps: int, interval: int, order: int) -> set[int]:
    """Steps in which the model runs: the first ``order + 1``, every interval-th after them, and the last."""
    return {i for i in range(num_steps) if i <= order or (i - order) % interval == 0 or i == num_steps - 1}


def extrapolate(places: Sequence[float], values: Sequence[torch.Tensor], at: float) -> torch.Tensor:
    """Value at a place of the polynomial through the given ones (Lagrange); the places must differ."""
    result = torch.zeros_like(values[0])
    for i, value in enumerate(values):
        others = [place for j, place in enumerate(places) if j != i]
        result += value * math.prod((at - other) / (places[i] - other) for other in others)
    return result
