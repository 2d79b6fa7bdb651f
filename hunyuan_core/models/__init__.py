"""The networks. Layers come from an ``operations`` namespace, ``torch.nn`` by default."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..config import ModelConfig
from .attention import AttentionFunction, scaled_dot_product
from .motion_refiner import MotionRefiner
from .pose_guider import PoseGuider
from .residual import ExpressionEncoder, HeadPoseEncoder
from .unet import UNet
from .vae import build_vae
from .vision import TokenProjection, VisionEncoder

__all__ = [
    "NETWORKS",
    "AttentionFunction",
    "ExpressionEncoder",
    "HeadPoseEncoder",
    "MotionRefiner",
    "PoseGuider",
    "TokenProjection",
    "UNet",
    "VisionEncoder",
    "build",
]

NETWORKS = ("unet", "vision", "token_projection", "expression", "head_pose", "refiner", "pose_guider", "vae")
"""Names of the networks of one model, one weight file each."""


def build(
    name: str,
    config: ModelConfig | None = None,
    operations: Any = nn,
    attention: AttentionFunction | None = None,
) -> nn.Module:
    """Build one network on the current default device; under ``torch.device("meta")`` it takes no memory.

    Args:
        name: One of NETWORKS.
        config: Sizes; None is the released model.
        operations: Namespace of layer classes.
        attention: Of the UNet; None is PyTorch's.

    Raises:
        KeyError: If the name is not one of NETWORKS.
    """
    config = config or ModelConfig()
    factories = {
        "unet": lambda: UNet(config.unet, operations, attention or scaled_dot_product),
        "vision": lambda: VisionEncoder(config.vision, operations),
        "token_projection": lambda: TokenProjection(config.vision),
        "expression": lambda: ExpressionEncoder(config.expression, operations),
        "head_pose": lambda: HeadPoseEncoder(config.head_pose, operations),
        "refiner": lambda: MotionRefiner(config.refiner, operations),
        "pose_guider": lambda: PoseGuider(config.pose_guider, operations),
        "vae": lambda: build_vae(config.vae),
    }
    return factories[name]()
