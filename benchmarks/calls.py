"""How often each network runs in one video, and how often the step loop waits for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from host_traffic import HostTraffic
from results import Result, gated
from torch import nn

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, Face, Motion
from hunyuan_core.models.predictor import MAX_CACHED_FRAMES
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import PRESETS, SpeedConfig

NUM_FRAMES, STEPS, SIDE = 40, 3, 64
LOOPS = {
    "default": (NUM_FRAMES, SpeedConfig()),
    "turbo": (NUM_FRAMES, PRESETS["turbo"].speed),
    "extrapolated": (NUM_FRAMES, SpeedConfig(sampler="unipc", extrapolation_interval=2)),
    "long_video": (MAX_CACHED_FRAMES, SpeedConfig()),
}
"""Runs whose host must not wait: frames before the padding, and settings."""


def run() -> Iterator[Result]:
    """Animate with tiny networks and count."""
    pipeline = Pipeline.untrained_tiny(device="cpu")
    counts: Counter[str] = Counter()
    rows: list[int] = []
    for name in ("unet", "pose_guider"):
        getattr(pipeline, name).register_forward_hook(lambda *_, name=name: counts.update([name]))
    pipeline.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    pipeline.vae.encoder.register_forward_hook(lambda *_: counts.update(["vae_encode"]))
    pipeline.vae.decoder.register_forward_pre_hook(lambda _, inputs: counts.update(vae_decoded_frames=len(inputs[0])))
    for attention in pipeline.unet.cross_attentions:
        _count_calls(attention.processor.to_k_ip[0], counts, "motion_projections")
        _count_calls(attention.to_k, counts, "image_projections")

    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    face = Face(np.array([16.0, 16, 80, 80]), np.array([[36.0, 40], [60, 40], [48, 52], [38, 64], [58, 64]]))
    config = SamplingConfig(num_inference_steps=STEPS)
    appearance = pipeline.encode_appearance(picture, face, size=SIDE, config=config)
    width = pipeline.unet.config.cross_attention_dim
    tokens, zeros = torch.randn(NUM_FRAMES, 64, width), torch.zeros(NUM_FRAMES, 3)
    motion = Motion(tokens, (0, 0), (0, 0), zeros, zeros)
    list(pipeline.decode(pipeline.sample(appearance, motion, config)))

    metrics = {**counts, "branches_per_call": max(rows), "steps": STEPS}
    yield gated("calls/pose_guider", metrics, counts["pose_guider"], at_most=1, baseline="constant pose")
    yield gated("calls/vae_encode", metrics, counts["vae_encode"], at_most=1, baseline="one portrait")
    yield gated(
        "calls/vae_decode",
        metrics,
        counts["vae_decoded_frames"] / NUM_FRAMES,
        at_most=(NUM_FRAMES + 2 * (config.decode_chunk_size - 1)) / NUM_FRAMES,
        baseline=f"kept frames; {2 * config.num_padding_frames} frames of padding need not be decoded",
    )
    yield from _host_syncs(appearance)


def _host_syncs(appearance: Appearance) -> Iterator[Result]:
    """Waits for the device in the step loop, from the end of the first window to the end of the last one."""
    pipeline, generator = Pipeline.untrained_tiny(device="meta"), np.random.default_rng(0)
    config = SamplingConfig(num_inference_steps=STEPS)
    for name, (num_frames, speed) in LOOPS.items():
        tokens = torch.randn(num_frames, 64, pipeline.unet.config.cross_attention_dim)
        zeros = torch.zeros(num_frames, 3)
        poses = generator.integers(0, 256, (num_frames, SIDE, SIDE, 3), dtype=np.uint8)
        traffic, windows = HostTraffic(), []

        def count(num_done: int, total: int, traffic: HostTraffic = traffic, windows: list[int] = windows) -> None:
            traffic.is_counting = num_done < total
            windows[:] = num_done, total

        try:
            with traffic:
                pipeline.sample(
                    appearance,
                    Motion(tokens, (0, 0), (0, 0), zeros, zeros),
                    config,
                    pose_images=poses,
                    on_progress=count,
                    speed=speed,
                )
        except NotImplementedError:
            # The result, which the meta device does not have.
            if windows[0] < windows[1]:
                raise
        waits = sum(traffic.waits.values())
        metrics = {**traffic.waits, "background_copies": traffic.background_copies, "windows": windows[1]}
        yield gated(f"calls/host_syncs_{name}", metrics, waits / STEPS, at_most=0.0, baseline="steps")


def _count_calls(layer: nn.Module, counts: Counter[str], name: str) -> None:
    layer.register_forward_hook(lambda *_: counts.update([name]))
