"""Expression encoder (ResNet-50) and head-pose encoder (ResNet-18), both with GroupNorm in place of BatchNorm.

Module names are those of the released ``expression.pth`` and ``headpose.pth``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..config import ExpressionConfig, HeadPoseConfig


def set_norm_groups(module: nn.Module, num_groups: int) -> None:
    """Let all group normalisations of a network have so many groups; their weights do not depend on it."""
    for part in module.modules():
        if isinstance(part, nn.GroupNorm):
            part.num_groups = num_groups


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1 to four times the width."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, operations: Any) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = operations.Conv2d(in_channels, width, 1, bias=False)
        self.gn1 = operations.GroupNorm(1, width)
        self.conv2 = operations.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.gn2 = operations.GroupNorm(1, width)
        self.conv3 = operations.Conv2d(width, out_channels, 1, bias=False)
        self.gn3 = operations.GroupNorm(1, out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                operations.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                operations.GroupNorm(1, out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, C, H, W) to (T, C', H / stride, W / stride)."""
        hidden = F.relu(self.gn1(self.conv1(x)))
        hidden = F.relu(self.gn2(self.conv2(hidden)))
        return F.relu(self.gn3(self.conv3(hidden)) + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, the first with the stride."""

    def __init__(self, in_channels: int, width: int, stride: int, num_groups: int, operations: Any) -> None:
        super().__init__()
        self.conv1 = operations.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = operations.GroupNorm(num_groups, width)
        self.conv2 = operations.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = operations.GroupNorm(num_groups, width)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != width:
            self.shortcut = nn.Sequential(
                operations.Conv2d(in_channels, width, 1, stride=stride, bias=False),
                operations.GroupNorm(num_groups, width),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, C, H, W) to (T, C', H / stride, W / stride)."""
        hidden = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(x))


class ExpressionBackbone(nn.Module):
    """ResNet of bottlenecks with GroupNorm."""

    def __init__(self, config: ExpressionConfig, operations: Any) -> None:
        super().__init__()
        width = config.stem_channels
        self.conv1 = operations.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.gn1 = operations.GroupNorm(1, width)
        channels = width
        stages = []
        for i, num_blocks in enumerate(config.layers):
            blocks = []
            for j in range(num_blocks):
                blocks.append(Bottleneck(channels, width << i, 2 if i > 0 and j == 0 else 1, operations))
                channels = (width << i) * Bottleneck.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = operations.Linear(channels, config.out_features)
        set_norm_groups(self, config.num_groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, 3, H, W) to (T, out_features)."""
        x = F.max_pool2d(F.relu(self.gn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class ExpressionEncoder(nn.Module):
    """Motion crop of a face to an expression vector."""

    def __init__(self, config: ExpressionConfig, operations: Any = nn) -> None:
        super().__init__()
        self.config = config
        self.resnet50 = ExpressionBackbone(config, operations)

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        """Encode motion crops; (T, 3, S, S) RGB in [0, 1], S the image_size, to (T, out_features)."""
        return self.resnet50(face)


class HeadPoseBackbone(nn.Module):
    """ResNet of basic blocks with GroupNorm and six outputs."""

    def __init__(self, config: HeadPoseConfig, operations: Any) -> None:
        super().__init__()
        width = config.stem_channels
        self.conv1 = operations.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = operations.GroupNorm(config.num_groups, width)
        channels = width
        stages = []
        for i, num_blocks in enumerate(config.layers):
            blocks = []
            for j in range(num_blocks):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(BasicBlock(channels, width << i, stride, config.num_groups, operations))
                channels = width << i
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = operations.Linear(channels, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, 3, H, W) to (T, 6)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class HeadPoseEncoder(nn.Module):
    """Head-pose crop to rotation and translation."""

    def __init__(self, config: HeadPoseConfig, operations: Any = nn) -> None:
        super().__init__()
        self.config = config
        self.head_pose_net = HeadPoseBackbone(config, operations)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate the pose of a head.

        Args:
            image: (T, 3, S, S), S the image_size. Release: RGB in [0, 1] times 2 plus 1.

        Returns:
            Rotation (T, 3) in degrees, [-180, 180], and translation (T, 3) in [-2, 2].
        """
        rotation, translation = torch.sigmoid(self.head_pose_net(image)).chunk(2, dim=-1)
        return rotation * 360 - 180, translation * 4 - 2
