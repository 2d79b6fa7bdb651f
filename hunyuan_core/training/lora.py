"""Low-rank updates of the UNet (Hu et al. 2021), a light way to fine-tune to one person."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigurationError
from .config import LoRAConfig

_PREFIX = "diffusion_model."
"""What ComfyUI puts before the names of a UNet's parameters."""


class LoRALinear(nn.Module):
    """A linear layer W x + b with an update: W x + b + (alpha / rank) B A x; B starts at zero.

    Weight and bias keep the layer's own names, so that the state dict is that of the layer, and two tensors more.
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self.scale = alpha / rank
        self.lora_A = nn.Linear(layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        return F.linear(x, self.weight, self.bias) + self.scale * self.lora_B(self.lora_A(x))

    def merged_weight(self) -> torch.Tensor:
        """Compute W + (alpha / rank) B A."""
        return self.weight + self.scale * self.lora_B.weight @ self.lora_A.weight


def add_lora(network: nn.Module, config: LoRAConfig) -> list[str]:
    """Give the linear layers that ``targets`` names an update each; the network computes the same as before.

    Returns:
        Names of these layers.

    Raises:
        ConfigurationError: If a pattern names no linear layer.
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    for pattern in config.targets:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ConfigurationError(f"lora.targets: {pattern!r} names no linear layer; an example is {min(layers)!r}.")
    chosen = [name for name in layers if any(fnmatchcase(name, pattern) for pattern in config.targets)]
    for name in chosen:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, LoRALinear(layers[name], config.rank, config.alpha))
    return chosen


def lora_state_dict(network: nn.Module) -> dict[str, torch.Tensor]:
    """Collect the updates under the names by which ComfyUI's LoRA loader finds the layers of a UNet."""
    tensors = {}
    for name, layer in _layers(network):
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = layer.lora_A.weight.detach()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = layer.lora_B.weight.detach()
        tensors[f"{_PREFIX}{name}.alpha"] = torch.tensor(layer.scale * layer.lora_A.out_features)
    return tensors


def merged_state_dict(network: nn.Module) -> dict[str, torch.Tensor]:
    """State dict of the network without updates, these added to its weights."""
    tensors = network.state_dict()
    for name, layer in _layers(network):
        tensors[f"{name}.weight"] = layer.merged_weight().detach()
        del tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    return tensors


def _layers(network: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    for name, module in network.named_modules():
        if isinstance(module, LoRALinear):
            yield name, cast("LoRALinear", module)
