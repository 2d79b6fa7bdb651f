"""The denoiser: everything about a step in one function of (x, sigma)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from ..config import SamplingConfig
from ..data import Branch
from ..errors import ShapeError
from .guidance import branch_weights, guidance_ramp
from .speed import SpeedConfig
from .windows import context_windows


class Predictor(Protocol):
    """Predicts v for one window; the model behind the denoiser."""

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        """Predict v for some branches.

        Args:
            x: (n, 4, h, w) float32 latents of the window, scaled to unit variance.
            timestep: ¼ ln σ.
            frames: Index of each of the n frames in the video.
            branches: In ascending order.

        Returns:
            (len(branches), n, 4, h, w), any floating dtype.
        """
        ...


WindowMap = Callable[[Callable[[int], torch.Tensor], Sequence[int]], Iterable[torch.Tensor]]
"""Computes the windows of one step: as ``map`` does, a function of a window's number over all numbers, in order. The
function's values are (n, 4, h, w), alike for all windows."""


@dataclass(frozen=True, eq=False)
class _Tables:
    """What the steps look up. It lies where the latents are, so that no step has to send anything there.

    Attributes:
        indices: By shift, (windows, n) int64 frames of each window.
        factors: By step, the weights of the branches; the last are those without guidance.
    """

    device: torch.device
    dtype: torch.dtype
    indices: dict[int, torch.Tensor]
    factors: list[torch.Tensor]


class Denoiser:
    """Estimate of the clean latents of a whole video: guidance, context windows, their shift and averaging.

    ``denoiser(x, sigma)`` is a pure function, so that any sampler can drive it. Windows shift and guidance ramps from
    step to step; which step a sigma belongs to is read off the schedule.

    Averaging the denoised estimates of overlapping windows equals averaging the windows after an Euler step each, as
    the release does, because the step is affine in the estimate.

    Args:
        predict: The model.
        num_frames: T, padding included.
        sigmas: (steps + 1,) the levels of the steps that run. Release: with a strength below 1 the skipped steps count
            neither for the shift nor for the ramps.
        config: Guidance and windows.
        speed: Of its parts, the interval of guidance and whether windows are circular; None is the default.
        map_windows: What computes the windows of a step. They do not depend on each other, and are added up in their
            order, so that the result does not depend on where they were computed.
    """

    def __init__(
        self,
        predict: Predictor,
        num_frames: int,
        sigmas: torch.Tensor,
        config: SamplingConfig,
        speed: SpeedConfig | None = None,
        map_windows: WindowMap = map,
    ) -> None:
        self.predict = predict
        self.map_windows = map_windows
        self.num_frames = num_frames
        self.levels = sigmas[:-1].tolist()
        self.config = config
        self.speed = speed or SpeedConfig()
        image_scales = guidance_ramp(config.image_guidance_scale, len(self.levels))
        motion_scales = guidance_ramp(config.motion_guidance_scale, len(self.levels))
        # By step; the last one is for levels without guidance.
        self._weights = [branch_weights(*scales) for scales in zip(image_scales, motion_scales, strict=True)]
        self._weights.append({Branch.MOTION: 1.0})
        self._windows: dict[int, list[list[int]]] = {}
        for shift in {self._shift(step) for step in range(len(self.levels))}:
            self._windows[shift] = context_windows(
                num_frames,
                config.context_window,
                config.context_overlap,
                shift,
                is_circular=self.speed.is_circular,
            )
        self._tables: _Tables | None = None

    def step_index(self, sigma: float) -> int:
        """Index of the step that sigma belongs to: the last one that starts at sigma or above."""
        return max(sum(level >= sigma * (1 - 1e-6) for level in self.levels) - 1, 0)

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Denoise.

        Args:
            x: (T, 4, h, w) float32 or wider, latents with noise of level sigma.
            sigma: Positive.

        Returns:
            Denoised latents like x.

        Raises:
            ShapeError: If x does not have T frames.
        """
        if len(x) != self.num_frames:
            raise ShapeError(
                f"The denoiser was made for {self.num_frames} frames; got latents of shape {tuple(x.shape)}."
            )
        step = self.step_index(sigma)
        low, high = self.speed.guidance_interval
        row = step if low < sigma <= high else -1
        shift = self._shift(step)
        tables = self._tables_like(x)
        windows, indices, factors = self._windows[shift], tables.indices[shift], tables.factors[row]
        branches = tuple(self._weights[row])
        # v-prediction (Salimans & Ho 2022) in the scaling of Karras et al. 2022 with σ_data = 1.
        scale_in = 1 / math.sqrt(sigma**2 + 1)

        def blended(window: int) -> torch.Tensor:
            v = self.predict(x[indices[window]] * scale_in, 0.25 * math.log(sigma), windows[window], branches)
            return torch.einsum("b,b...->...", factors, v.to(x.dtype))

        total = torch.zeros_like(x)
        for frames, prediction in zip(indices, self.map_windows(blended, range(len(windows))), strict=True):
            # In a video shorter than the window a frame appears more than once. Once around at a time, because a GPU
            # adds to one frame in any order, and the result would vary from run to run.
            rounds = zip(frames.split(self.num_frames), prediction.split(self.num_frames), strict=True)
            for round_, values in rounds:
                total.index_add_(0, round_, values)
        v = total / self._counts(indices, x)
        return x * scale_in**2 - v * (sigma * scale_in)

    def _counts(self, indices: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """How many windows each frame is in, (T, 1, 1, 1), made on the device; windows (W, n)."""
        frames = indices.flatten()
        counts = torch.zeros(self.num_frames, dtype=x.dtype, device=x.device)
        return counts.index_add_(0, frames, counts.new_ones(len(frames))).view(-1, 1, 1, 1)

    def _shift(self, step: int) -> int:
        return step * self.config.context_shift % self.config.context_window

    def _tables_like(self, x: torch.Tensor) -> _Tables:
        """Give the tables for latents like x; made once, because each tensor made of numbers waits for the device."""
        if self._tables is None or (self._tables.device, self._tables.dtype) != (x.device, x.dtype):
            indices = {shift: torch.tensor(windows) for shift, windows in self._windows.items()}
            self._tables = _Tables(
                x.device,
                x.dtype,
                {shift: frames.to(x.device) for shift, frames in indices.items()},
                [torch.tensor(list(weights.values()), dtype=x.dtype, device=x.device) for weights in self._weights],
            )
        return self._tables
