"""Networks of random weights on a GPU, and random inputs; they cost what trained ones cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from count import count
from plain import plain_unet
from torch import nn

from hunyuan_core.config import ModelConfig, SamplingConfig
from hunyuan_core.data import Appearance, Face, FaceTrack, Motion
from hunyuan_core.models import NETWORKS, UNet, build
from hunyuan_core.models.memory_plan import FULL_PRECISION, PLANS, MemoryPlan
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import branch_weights

NUM_TOKENS = 64
BRANCHES = tuple(branch_weights(SamplingConfig.image_guidance_scale[0], SamplingConfig.motion_guidance_scale[0]))
CONDITIONS = (SamplingConfig.fps, SamplingConfig.motion_bucket_id, SamplingConfig.noise_aug_strength)


@dataclass(frozen=True)
class Scale:
    """What is measured.

    Attributes:
        side: Of the latents; the picture's is eight times that.
        num_frames: Of the long run.
        steps, padding: Of runs at default settings.
        plans: Ways to fit a job into memory.
        matrix: Side of the matrices that give the roofline.
        has_gates: Whether ratios are held; those of a small network on a CPU mean nothing.
        backend: Of ``torch.compile``.
    """

    device: torch.device
    dtype: torch.dtype
    model: ModelConfig
    window: int = 25
    side: int = 64
    num_frames: int = 100
    steps: int = SamplingConfig.num_inference_steps
    padding: int = SamplingConfig.num_padding_frames
    plans: tuple[str, ...] = tuple(PLANS)
    matrix: int = 8192
    warm_up: int = 3
    rounds: int = 20
    has_gates: bool = True
    backend: str = "inductor"


def random_network(name: str, scale: Scale) -> Any:
    """Build one network on the device, its weights drawn there."""
    with torch.device("meta"):
        network = build(name, scale.model).eval().requires_grad_(False)
    nn.Module.to(network, dtype=torch.float32 if name in FULL_PRECISION else scale.dtype)
    network.to_empty(device=scale.device)
    for key, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=0.02)
        elif key.endswith("mix_factor"):
            parameter.normal_()
        else:
            parameter.fill_(0.0 if key.endswith("bias") else 1.0)
    return network


def usual(scale: Scale, **changes: Any) -> SamplingConfig:
    """Default settings, at this scale."""
    settings = {"num_inference_steps": scale.steps, "num_padding_frames": scale.padding, **changes}
    return SamplingConfig(**{"context_window": scale.window, **settings})


def random_pipeline(scale: Scale, plan: MemoryPlan) -> Pipeline:
    """Build all networks and place them as loading would."""
    home = torch.device("cpu") if plan.is_offloaded else scale.device
    networks = {}
    for name in NETWORKS:
        networks[name] = nn.Module.to(random_network(name, scale), home)
    return Pipeline._placed(networks, None, scale.device, scale.dtype, plan, "full", None)


def random_motion(scale: Scale, num_frames: int) -> Motion:
    """Motion as it comes from the encoder, in main memory."""
    zeros = torch.zeros(num_frames, 3)
    tokens = torch.randn(num_frames, NUM_TOKENS, scale.model.unet.cross_attention_dim)
    return Motion(tokens, (0,), (0,), zeros, zeros)


def random_appearance(scale: Scale) -> Appearance:
    """Appearance as it comes from the encoder, in main memory."""
    tokens = torch.randn(NUM_TOKENS, scale.model.unet.cross_attention_dim)
    return Appearance(tokens, torch.randn(4, scale.side, scale.side), torch.zeros(512))


def random_pictures(num_frames: int, side: int = 320) -> tuple[list[np.ndarray], FaceTrack]:
    """Frames of noise with a face in the middle."""
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(num_frames)]
    face = face_in(side)
    track = FaceTrack(
        np.stack([face.box] * num_frames), np.stack([face.landmarks] * num_frames), np.ones(num_frames, dtype=bool)
    )
    return frames, track


def face_in(side: int) -> Face:
    """A face in the middle of a square."""
    points = np.array([[0.4, 0.45], [0.6, 0.45], [0.5, 0.55], [0.42, 0.65], [0.58, 0.65]])
    return Face(np.array([0.3, 0.3, 0.7, 0.7]) * side, points * side)


class Window:
    """One call of the product for a window, and the plain form of the same.

    Args:
        unet: On the meta device too, where operations are counted.
    """

    def __init__(self, unet: UNet, scale: Scale) -> None:
        device = unet.conv_in.weight.device
        width, channels = unet.config.cross_attention_dim, unet.config.block_out_channels[0]
        n, side = scale.window, scale.side

        def draw(*shape: int, dtype: torch.dtype = scale.dtype) -> torch.Tensor:
            return torch.randn(shape, device=device, dtype=dtype)

        self.num_frames = n
        self.x = draw(n, 4, side, side, dtype=torch.float32)
        tokens = draw(NUM_TOKENS, width), draw(n, NUM_TOKENS, width)
        pose = draw(1, channels, side, side)
        self.predictor = VideoPredictor(unet, *tokens, draw(4, side, side), CONDITIONS, pose)
        self._plain = (
            unet,
            draw(3, n, 8, side, side),
            torch.full((), 0.1, device=device),
            torch.ones(3, 3, device=device),
            draw(3, n, NUM_TOKENS, width),
            draw(3, n, NUM_TOKENS, width),
            draw(3, n, channels, side, side),
        )

    def default(self) -> torch.Tensor:
        """As the product computes it."""
        return self.predictor(self.x, 0.1, range(self.num_frames), BRANCHES)

    def plain(self) -> torch.Tensor:
        """Three branches in one batch, as the release runs them."""
        return plain_unet(*self._plain)


def window_tflop(scale: Scale) -> float:
    """10¹² operations of one window call of the product, counted on the meta device."""
    with torch.device("meta"):
        unet = cast("UNet", build("unet", scale.model)).to(scale.dtype)
    return sum(count(nn.Identity(), Window(unet, scale).default).values())
