"""The denoiser: everything about a step in one function of (x, sigma)."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """

    def __init__(
        self,
        predict: Predictor,
        num_frames: int,
        sigmas: torch.Tensor,
        config: SamplingConfig,
        speed: SpeedConfig | None = None,
    ) -> None:
        self.predict = predict
        self.num_frames = num_frames
        self.levels = sigmas[:-1].tolist()
        self.config = config
        self.speed = speed or SpeedConfig()
        self.image_scales = guidance_ramp(config.image_guidance_scale, len(self.levels))
        self.motion_scales = guidance_ramp(config.motion_guidance_scale, len(self.levels))

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
        weights = self._weights(step, sigma)
        config = self.config
        shift = step * config.context_shift % config.context_window
        # v-prediction (Salimans & Ho 2022) in the scaling of Karras et al. 2022 with σ_data = 1.
        scale_in = 1 / math.sqrt(sigma**2 + 1)
        total = torch.zeros_like(x)
        counts = [0] * self.num_frames
        for frames in context_windows(
            self.num_frames,
            config.context_window,
            config.context_overlap,
            shift,
            is_circular=self.speed.is_circular,
        ):
            v = self.predict(x[frames] * scale_in, 0.25 * math.log(sigma), frames, tuple(weights))
            blended = torch.einsum("b,b...->...", v.new_tensor(list(weights.values()), dtype=x.dtype), v.to(x.dtype))
            indices = torch.tensor(frames, device=x.device)
            # In a video shorter than the window a frame appears more than once. Once around at a time, because a GPU
            # adds to one frame in any order, and the result would vary from run to run.
            for round_, values in zip(indices.split(self.num_frames), blended.split(self.num_frames), strict=True):
                total.index_add_(0, round_, values)
            for frame in frames:
                counts[frame] += 1
        v = total / torch.tensor(counts, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
        return x * scale_in**2 - v * (sigma * scale_in)

    def _weights(self, step: int, sigma: float) -> dict[Branch, float]:
        low, high = self.speed.guidance_interval
        if not low < sigma <= high:
            return {Branch.MOTION: 1.0}
        return branch_weights(self.image_scales[step], self.motion_scales[step])
