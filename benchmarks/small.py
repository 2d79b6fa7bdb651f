"""A network that a CPU runs in a second, and random inputs for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from plain import plain_sample

from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import Denoiser, karras_sigmas, sample_euler

CONFIG = UNetConfig(
    block_out_channels=(64, 128, 128, 128),
    num_attention_heads=(2, 4, 4, 4),
    layers_per_block=1,
    cross_attention_dim=256,
    addition_time_embed_dim=64,
)
"""All four levels of the released network, with its share of attention."""


@dataclass(frozen=True, eq=False)
class Video:
    """Inputs of one run.

    Attributes:
        x: (T, 4, h, w), noise of the highest level.
    """

    unet: UNet
    x: torch.Tensor
    sigmas: torch.Tensor
    image_tokens: torch.Tensor
    motion_tokens: torch.Tensor
    image_latents: torch.Tensor
    pose_features: torch.Tensor
    config: SamplingConfig

    def plain(self) -> torch.Tensor:
        """Sample by the plain form."""
        poses = self.pose_features.expand(len(self.x), -1, -1, -1)
        tokens = self.image_tokens, self.motion_tokens
        return plain_sample(self.unet, self.x, self.sigmas, *tokens, self.image_latents, poses, self.config)

    def predictor(self) -> VideoPredictor:
        """Make the product's predictor."""
        conditions = (self.config.fps, self.config.motion_bucket_id, self.config.noise_aug_strength)
        tokens = self.image_tokens, self.motion_tokens
        return VideoPredictor(self.unet, *tokens, self.image_latents, conditions, self.pose_features)

    def default(self) -> torch.Tensor:
        """Sample as the product does."""
        return sample_euler(Denoiser(self.predictor(), len(self.x), self.sigmas, self.config), self.x, self.sigmas)


def make_unet(config: UNetConfig = CONFIG, dtype: torch.dtype = torch.float32) -> UNet:
    """Build a network of random weights, the same at every call, whose time mixers differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet(config)
        for name, parameter in unet.named_parameters():
            if name.endswith("mix_factor"):
                torch.nn.init.normal_(parameter)
    return unet.to(dtype).eval().requires_grad_(False)


def make_video(
    unet: UNet,
    num_frames: int,
    num_steps: int,
    *,
    side: int = 16,
    window: int = 14,
    overlap: int = 3,
    num_tokens: int = 64,
    seed: int = 1,
) -> Video:
    """Draw random inputs in the network's dtype on its device.

    Args:
        side: Of the latents.
    """
    generator = torch.Generator().manual_seed(seed)
    weight, config = unet.conv_in.weight, unet.config

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(weight)

    sigmas = karras_sigmas(num_steps)
    return Video(
        unet,
        draw(num_frames, 4, side, side) * sigmas[0].to(weight),
        sigmas,
        draw(num_tokens, config.cross_attention_dim),
        draw(num_frames, num_tokens, config.cross_attention_dim),
        draw(4, side, side),
        draw(1, config.block_out_channels[0], side, side),
        SamplingConfig(num_inference_steps=num_steps, context_window=window, context_overlap=overlap),
    )
