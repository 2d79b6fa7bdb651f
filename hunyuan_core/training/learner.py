"""What changes from step to step: the parameters that learn, their moving average, and the optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .checkpoints import Checkpoint
from .config import OptimiserConfig


class Learner:
    """Parameters of a stage under AdamW.

    Args:
        stage: On its device; its parameters with gradients learn.
        settings: Of the optimiser.

    Attributes:
        parameters: Those that learn, by name.
        average: Their exponential moving average; the decay grows to the configured one.
    """

    def __init__(self, stage: nn.Module, settings: OptimiserConfig) -> None:
        self.settings = settings
        self.parameters = {name: p for name, p in stage.named_parameters() if p.requires_grad}
        self.average = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,  # pyright: ignore[reportArgumentType]
            fused=True,
        )

    def set_learning_rate(self, rate: float) -> None:
        """Of the next step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def update_average(self, num_done: int) -> None:
        """Take in the parameters after so many steps."""
        decay = min(self.settings.ema_decay, (1 + num_done) / (10 + num_done))
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the average in the parameters' place for a while."""
        own = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._fill(self.average)
        try:
            yield
        finally:
            self._fill(own)

    def capture(self, num_done: int, config: str, scaler: dict[str, Any]) -> Checkpoint:
        """Collect what a run needs to go on."""
        state = self.optimiser.state
        moments = {
            f"{name}.{key}": value
            for name, parameter in self.parameters.items()
            for key, value in state[parameter].items()
        }
        weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
        return Checkpoint(num_done, weights, self.average, moments, config, scaler)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint."""
        self._fill(checkpoint.weights)
        for name, value in checkpoint.average.items():
            self.average[name].copy_(value)
        for key, value in checkpoint.optimiser.items():
            name, _, kind = key.rpartition(".")
            parameter = self.parameters[name]
            # AdamW counts its steps in main memory.
            self.optimiser.state[parameter][kind] = value if kind == "step" else value.to(parameter.device)

    @torch.no_grad()
    def _fill(self, values: Any) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
