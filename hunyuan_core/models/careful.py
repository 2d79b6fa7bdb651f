"""A predictor that goes on with less memory where a call runs out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..data import Branch
from .predictor import VideoPredictor
from .residency import Residency


class CarefulPredictor:
    """Implements ``sampling.Predictor`` by a ``VideoPredictor`` of the plan that holds at each call.

    Args:
        build: Makes the predictor; gets ``max_cached_frames``.
        residency: Within the stage of sampling.
    """

    def __init__(self, build: Callable[[int], VideoPredictor], residency: Residency) -> None:
        self._build = build
        self._residency = residency
        self._predictor: VideoPredictor | None = None
        self._plan = residency.plan
        residency.retry(self._current, is_sampling=True)

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        """Predict v; see ``sampling.Predictor``."""
        return self._residency.retry(lambda: self._current()(x, timestep, frames, branches), is_sampling=True)

    def _current(self) -> VideoPredictor:
        if self._predictor is None or self._plan != self._residency.plan:
            self._predictor = None  # gives back what it keeps, before another is made
            self._plan = self._residency.plan
            self._predictor = self._build(self._plan.max_cached_frames)
            self._predictor.memory_mode = self._plan.mode
        return self._predictor
