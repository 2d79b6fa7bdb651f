"""Reuse of deep UNet features from one step to the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..config import UNetConfig
from ..data import Branch
from .unet import DeepFeatures

MAX_FRAMES = 512
"""So many frames of a video keep features, so that memory does not grow with it."""


class FeatureReuse:
    """Deep features of one video, kept per branch and per frame of the video.

    Changes: every ``interval``-th step runs the whole UNet and keeps what its deep part gave; the steps between run the
    outermost layers only, on top of that (DeepCache, Ma et al. 2023, arXiv 2312.00858). The windows shift from step to
    step, so features belong to the frame, not to its place in a window; a frame of two windows keeps those of the later
    one. A window runs the whole UNet if any of its frames has nothing kept.

    A step is told by its timestep, so the predictor must be called step by step.

    Args:
        interval: 1 never reuses anything.
        num_outer_layers: See ``DeepFeatures``.
        max_frames: Frames from this index on keep nothing.
    """

    def __init__(self, interval: int, num_outer_layers: int, max_frames: int = MAX_FRAMES) -> None:
        self.interval = interval
        self.num_outer_layers = num_outer_layers
        self.max_frames = max_frames
        self._step = -1
        self._timestep: float | None = None
        self._kept: dict[tuple[Branch, int], torch.Tensor] = {}

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept now."""
        return sum(features.nbytes for features in self._kept.values())

    @property
    def is_fresh(self) -> bool:
        """Whether the next step uses nothing of those before it."""
        return (self._step + 1) % self.interval == 0

    def take(self, timestep: float, frames: Sequence[int], branches: Sequence[Branch]) -> DeepFeatures:
        """Give the UNet the kept features of a window, or a place to leave new ones."""
        if timestep != self._timestep:
            self._step, self._timestep = self._step + 1, timestep
            if self._step % self.interval == 0:
                self._kept.clear()
        keys = [[(branch, frame) for frame in frames] for branch in branches]
        is_kept = self._step % self.interval != 0 and all(key in self._kept for row in keys for key in row)
        features = torch.stack([torch.stack([self._kept[key] for key in row]) for row in keys]) if is_kept else None
        return DeepFeatures(self.num_outer_layers, features)

    def keep(self, deep: DeepFeatures, frames: Sequence[int], branches: Sequence[Branch]) -> None:
        """Keep what a call of the whole UNet left."""
        if self.interval == 1 or deep.features is None or self._step % self.interval != 0:
            return
        for branch, row in zip(branches, deep.features, strict=True):
            for frame, features in zip(frames, row, strict=True):
                if frame < self.max_frames:
                    self._kept[branch, frame] = features.clone()


def feature_bytes(
    config: UNetConfig, num_outer_layers: int, num_branches: int, num_frames: int, h: int, w: int, dtype: torch.dtype
) -> int:
    """Count the bytes that ``FeatureReuse`` keeps.

    At the released size in half precision, with 64×64 latents, two branches and the outermost one or two layers: 5.2 MB
    a frame, 2.7 GB at most.
    """
    per_level = config.layers_per_block + 1
    num_levels = len(config.block_out_channels)
    # The layer before the outer ones has the width; the first outer one has the size, as upsamplers end a level.
    level = (num_outer_layers - 1) // per_level
    width = config.block_out_channels[min(num_outer_layers // per_level, num_levels - 1)]
    for _ in range(level):
        h, w = (h + 1) // 2, (w + 1) // 2
    return num_branches * min(num_frames, MAX_FRAMES) * width * h * w * dtype.itemsize
