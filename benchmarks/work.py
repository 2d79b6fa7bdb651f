"""Count the operations of whole jobs, all networks together, against the plain path of the release at 25 steps.

The calls are noted in the product's own loops, run over networks that compute nothing; what each call costs at 512×512
and the released size is counted on the meta device, in units of 10¹² operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from count import count
from plain import plain_unet
from results import Result, gated
from torch import nn

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, Branch, Motion
from hunyuan_core.models import build
from hunyuan_core.models.attention import Context
from hunyuan_core.models.predictor import MAX_CACHED_FRAMES, VideoPredictor
from hunyuan_core.models.unet import DeepFeatures, UNet
from hunyuan_core.models.vae import decode_frames
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import PRESETS, SpeedConfig, context_windows

NUM_TOKENS, SIDE = 64, 64
LENGTHS = (25, 100, 500, 2000)
"""Frames of the videos."""
GATES = {"fast": 5.0, "turbo": 9.0}
"""How many times less the presets compute than the plain path, at each length."""

Call = tuple[int, int, int]
"""Branches of a UNet call, its outer layers (0: it runs as a whole), and its frames."""


def run() -> Iterator[Result]:
    """Count the presets at each length."""
    for name, at_least in GATES.items():
        preset = PRESETS[name]
        config = preset.apply(SamplingConfig())
        for num_frames in LENGTHS:
            metrics = job(config, preset.speed, num_frames)
            ratio = metrics["tflop_plain"] / metrics["tflop"]
            yield gated(f"work/{name}/{num_frames}_frames", metrics, ratio, at_least=at_least, baseline="plain path")


def job(config: SamplingConfig, speed: SpeedConfig, num_frames: int) -> dict[str, float]:
    """Count a whole job and the same one on the plain path."""
    calls = unet_calls(config, speed, num_frames)
    is_long = num_frames + 2 * config.num_padding_frames > MAX_CACHED_FRAMES
    costs = Costs()
    # Counted for a whole window; but for the little attention over time it is proportional to the frames.
    unet = sum(costs.unet(n, outer, is_long) * frames / 25 * times for (n, outer, frames), times in calls.items())
    chunks = decoded_chunks(config, num_frames)
    vae = sum(costs.decode(frames) for frames in chunks) + costs.vae_encode()
    rest = costs.image_encoder() + costs.pose_guider() + num_frames * costs.motion_encoders()
    return {
        "unet_calls": sum(calls.values()),
        "branch_calls": sum(branches * times for (branches, _, _), times in calls.items()),
        "decoded_frames": sum(chunks),
        "tflop_unet": round(unet, 1),
        "tflop_vae": round(vae, 1),
        "tflop": round(unet + vae + rest, 1),
        "tflop_plain": round(costs.plain(num_frames), 1),
    }


def unet_calls(config: SamplingConfig, speed: SpeedConfig, num_frames: int) -> Counter[Call]:
    """Note the UNet calls of the product's loop."""
    calls: Counter[Call] = Counter()

    class NotedUNet(UNet):
        def forward(
            self,
            sample: torch.Tensor,
            timestep: torch.Tensor,
            added_time_ids: torch.Tensor,
            context: Context,
            pose_features: torch.Tensor | None = None,
            deep: DeepFeatures | None = None,
        ) -> torch.Tensor:
            num_outer = 0 if deep is None or deep.features is None else deep.num_outer_layers
            if deep is not None and deep.features is None:
                deep.features = sample[:, :, :1]
            calls[sample.shape[0], num_outer, sample.shape[1]] += 1
            return sample[:, :, :4]

    pipeline = Pipeline.untrained_tiny(device="cpu")
    unet = NotedUNet(pipeline.unet.config).eval().requires_grad_(False)
    width = unet.config.cross_attention_dim
    zeros = torch.zeros(num_frames, 3)
    appearance = Appearance(torch.zeros(1, width), torch.zeros(4, 1, 1), torch.zeros(512))
    motion = Motion(torch.zeros(num_frames, 1, width), (0,), (0,), zeros, zeros)
    replace(pipeline, unet=unet).sample(appearance, motion, config, speed=speed)
    return calls


def decoded_chunks(config: SamplingConfig, num_frames: int) -> list[int]:
    """Note how many frames the VAE decodes together."""
    chunks: list[int] = []

    def decode(latents: torch.Tensor, num_frames: int) -> SimpleNamespace:
        chunks.append(num_frames)
        return SimpleNamespace(sample=latents)

    weight = torch.zeros(1)
    vae = SimpleNamespace(
        decoder=SimpleNamespace(conv_in=SimpleNamespace(weight=weight)),
        config=SimpleNamespace(scaling_factor=1.0),
        decode=decode,
    )
    padding = config.num_padding_frames
    latents = torch.zeros(num_frames + 2 * padding, 1)
    for _ in decode_frames(vae, latents, config.decode_chunk_size, padding, padding + num_frames):
        pass
    return chunks


class Costs:
    """What calls cost at the released size; each is counted when first asked for."""

    def unet(self, num_branches: int, num_outer: int, is_long: bool = False) -> float:
        """Count a call for one window.

        Args:
            num_outer: Outer layers on kept features; 0 runs the whole UNet.
            is_long: Whether the motion's keys and values are made for each window.
        """
        return _unet(num_branches, num_outer, is_long)

    def decode(self, num_frames: int) -> float:
        """Count one chunk."""
        return _decode(1) * num_frames

    def vae_encode(self) -> float:
        """Count one image."""
        vae = _network("vae")
        return _total(lambda: vae.encode(torch.empty(1, 3, 8 * SIDE, 8 * SIDE, device="meta")))

    def image_encoder(self) -> float:
        """Count one portrait."""
        vision, projection = _network("vision"), _network("token_projection")
        size = vision.config.image_size
        image, identity = torch.empty(1, 3, size, size, device="meta"), torch.empty(1, 512, device="meta")
        return _total(lambda: projection(vision(image, identity)))

    def pose_guider(self) -> float:
        """Count one pose image."""
        guider = _network("pose_guider")
        return _total(lambda: guider(torch.empty(1, 3, 8 * SIDE, 8 * SIDE, device="meta")))

    def motion_encoders(self) -> float:
        """Count one frame of the driver."""
        return _motion_encoders()

    def plain(self, num_frames: int) -> float:
        """Count a whole job as the release does it: no branch left out, and padding decoded with the rest."""
        config = SamplingConfig()
        padded = num_frames + 2 * config.num_padding_frames
        windows = len(context_windows(padded, config.context_window, config.context_overlap))
        once = 2 * self.vae_encode() + self.image_encoder()
        per_frame = padded * (self.decode(1) + self.pose_guider()) + num_frames * self.motion_encoders()
        return windows * config.num_inference_steps * _plain_call() + once + per_frame


@cache
def _network(name: str) -> Any:
    with torch.device("meta"):
        network = build(name)
    # diffusers makes some parameters where they were not asked for.
    return nn.Module.to(network, "meta", torch.float16 if name == "unet" else torch.float32)


@cache
def _unet(num_branches: int, num_outer: int, is_long: bool) -> float:
    unet, window = _network("unet"), SamplingConfig.context_window
    with torch.device("meta"):
        tokens = torch.empty(NUM_TOKENS, unet.config.cross_attention_dim)
        motion = torch.empty(window, *tokens.shape)
        pose = torch.empty(1, unet.config.block_out_channels[0], SIDE, SIDE)
        latents, x = torch.empty(4, SIDE, SIDE), torch.empty(window, 4, SIDE, SIDE)
        cached = 0 if is_long else window
        predictor = VideoPredictor(unet, tokens, motion, latents, (12.5, 0, 0), pose, max_cached_frames=cached)
    branches = ((Branch.MOTION,), (Branch.UNCONDITIONAL, Branch.MOTION), tuple(Branch))[num_branches - 1]
    deep = DeepFeatures(num_outer) if num_outer else None
    predictor.call = lambda *arguments: unet(*arguments, deep)
    whole = _total(lambda: predictor(x, 0.0, range(window), branches))
    # The second call finds the features that the first one kept.
    return whole if deep is None else _total(lambda: predictor(x, 0.0, range(window), branches))


@cache
def _plain_call() -> float:
    unet, window = _network("unet"), SamplingConfig.context_window
    options = {"device": "meta", "dtype": torch.float16}
    tokens = torch.empty(3, window, NUM_TOKENS, unet.config.cross_attention_dim, **options)
    sample = torch.empty(3, window, 8, SIDE, SIDE, **options)
    pose = torch.empty(3, window, unet.config.block_out_channels[0], SIDE, SIDE, **options)
    scalar, ids = torch.empty((), device="meta"), torch.empty(3, 3, device="meta")
    return _total(lambda: plain_unet(unet, sample, scalar, ids, tokens, tokens, pose))


@cache
def _decode(num_frames: int) -> float:
    latents = torch.empty(num_frames, 4, SIDE, SIDE, device="meta")
    return _total(lambda: _network("vae").decode(latents, num_frames=num_frames))


@cache
def _motion_encoders() -> float:
    expression, head_pose, refiner = (_network(name) for name in ("expression", "head_pose", "refiner"))
    with torch.device("meta"):
        face, head = (torch.empty(1, 3, n.config.image_size, n.config.image_size) for n in (expression, head_pose))
        level = torch.zeros(1, dtype=torch.int64)
    return _total(lambda: (refiner(expression(face), level, level), head_pose(head)))


def _total(call: Callable[[], object]) -> float:
    return sum(count(nn.Identity(), call).values())
