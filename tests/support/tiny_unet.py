"""A tiny UNet with random inputs, in three calls of one window."""

from __future__ import annotations

import torch
from small import make_unet

from hunyuan_core.config import ModelConfig
from hunyuan_core.data import Branch
from hunyuan_core.models.feature_reuse import FeatureReuse
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import UNet

BRANCHES = (Branch.UNCONDITIONAL, Branch.MOTION)


def tiny_unet() -> UNet:
    return make_unet(ModelConfig.tiny().unet)


def tiny_predictor(unet: UNet, reuse: FeatureReuse | None = None) -> VideoPredictor:
    """Make the predictor of the same four frames each time."""
    torch.manual_seed(1)
    width = unet.config.cross_attention_dim
    tokens = torch.randn(5, width), torch.randn(4, 5, width)
    return VideoPredictor(unet, *tokens, torch.randn(4, 8, 8), (12.5, 0.0, 0.0), reuse=reuse)


def predict(unet: UNet, reuse: FeatureReuse | None = None) -> list[torch.Tensor]:
    """Predict for the same frames at three noise levels."""
    with torch.inference_mode():
        call = tiny_predictor(unet, reuse)
        x = torch.randn(4, 4, 8, 8)
        return [call(x, timestep, range(4), BRANCHES) for timestep in (0.7, 0.5, 0.3)]
