"""Pose guider: a pose image to a map that is added behind the UNet's first convolution."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..config import PoseGuiderConfig


class PoseGuider(nn.Module):
    """Convolutions down to an eighth of the size. Names are those of the released ``pose_guider.pth``."""

    def __init__(self, config: PoseGuiderConfig, operations: Any = nn) -> None:
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = operations.Conv2d(3, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, wider in pairwise(channels):
            self.blocks.append(operations.Conv2d(width, width, 3, padding=1))
            self.blocks.append(operations.Conv2d(width, wider, 3, padding=1, stride=2))
        self.conv_out = operations.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """Map pose images; (T, 3, H, W) RGB in [0, 1] to (T, out_channels, H/8, W/8)."""
        x = F.silu(self.conv_in(pose))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)
