"""The order in which the values of pictures lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def prefers_channels_last(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether convolutions are expected to be faster with channels last.

    Tensor cores compute in that order; in half precision with channels first, each convolution turns its weights and
    its input around, and its output back. Elsewhere it is measured or known to be slower, or no faster.
    """
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16)


def to_channels_last(network: nn.Module) -> None:
    """Store the weights of all two-dimensional convolutions with channels last, which their outputs then follow.

    The values stay, and the results but for rounding. Three-dimensional ones, of the paths over time, stay as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
