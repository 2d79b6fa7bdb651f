"""How often each network runs in one video, and how often the step loop waits for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from results import Result, gated
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Face, Motion
from hunyuan_core.pipeline import Pipeline

NUM_FRAMES, STEPS, SIDE = 40, 3, 64


class Syncs(TorchDispatchMode):
    """Counts what makes a host wait for its device: reading a value, and copies to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default or func is torch.ops.aten.nonzero.default:
            self.count += 1
        return func(*args, **(kwargs or {}))


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
    syncs = Syncs()
    with syncs:
        latents = pipeline.sample(appearance, Motion(tokens, (0, 0), (0, 0), zeros, zeros), config)
    list(pipeline.decode(latents))

    metrics = {**counts, "branches_per_call": max(rows), "host_syncs_in_sampling": syncs.count, "steps": STEPS}
    yield gated("calls/pose_guider", metrics, counts["pose_guider"], at_most=1, baseline="constant pose")
    yield gated("calls/vae_encode", metrics, counts["vae_encode"], at_most=1, baseline="one portrait")
    padding = len(latents.samples) - NUM_FRAMES
    yield gated(
        "calls/vae_decode",
        metrics,
        counts["vae_decoded_frames"] / NUM_FRAMES,
        at_most=(NUM_FRAMES + 2 * (config.decode_chunk_size - 1)) / NUM_FRAMES,
        baseline=f"kept frames; {padding} frames of padding need not be decoded",
    )
    # One before the loop, to read the noise levels, and the check of the result after it.
    yield gated("calls/host_syncs", metrics, syncs.count / STEPS, at_most=0.99, baseline="steps")


def _count_calls(layer: nn.Module, counts: Counter[str], name: str) -> None:
    layer.register_forward_hook(lambda *_: counts.update([name]))
