"""What a run tells TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..optional import require

EXTRA = "pip install hunyuan-portrait[train]"
"""What installs everything that training needs."""


class Journal:
    """Losses and pictures of a run, in a folder for ``tensorboard --logdir``.

    Args:
        folder: May hold the journal of the run's earlier part.
        num_done: Steps that are done; what was noted of later ones, before an interruption, is dropped.

    Raises:
        MissingDependencyError: If tensorboard is not installed.
    """

    def __init__(self, folder: Path, num_done: int) -> None:
        tensorboard = require("torch.utils.tensorboard", "the journal of training", EXTRA)
        self.writer = tensorboard.SummaryWriter(str(folder), purge_step=num_done + 1)

    def add_losses(self, num_done: int, losses: Mapping[str, float]) -> None:
        """Note the losses of a step."""
        for name, value in losses.items():
            self.writer.add_scalar(f"loss/{name}", value, num_done)

    def add_samples(self, num_done: int, grid: torch.Tensor, psnr: float) -> None:
        """Note a grid of samples, (3, H, W) uint8."""
        self.writer.add_image("samples", grid, num_done)
        self.writer.add_scalar("samples/psnr", psnr, num_done)
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()
