"""Bringing the tokens of a warm start to the scale at which an untrained UNet listens."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .config import TrainingConfig
from .datasets import open_clips
from .stages import MotionStage
from .toy_data import Clip

_NUM_CLIPS = 64


@torch.no_grad()
def with_standard_tokens(stage: MotionStage, config: TrainingConfig) -> dict[str, nn.Module]:
    """Make what differs from clip to clip in the tokens of motion and portrait of unit variance.

    A network that is trained for its tokens' linear reading alone is free to say it all in a whisper beside a constant.
    A UNet that begins to learn hears the constant, and that the target looks like the portrait.

    Args:
        stage: Of the warm start; it is not changed.

    Returns:
        ``refiner``, ``token_projection`` and ``heads`` as copies: each channel of the refined motion has zero mean over
        64 clips that were not trained on, and unit variance about its token's mean; the image tokens all together have
        that variance; the heads read off them what they did.
    """
    clips = open_clips(config, config.seed + 1, _NUM_CLIPS)
    parts = [stage.encode(Clip.stack([clips[i] for i in range(start, start + 8)])) for start in range(0, _NUM_CLIPS, 8)]
    image = torch.cat([image for image, _, _ in parts]).float()
    motion = torch.cat([motion for _, motion, _ in parts]).float()
    width = config.model.refiner.out_features
    refined = motion[..., :width].flatten(0, 1)  # (clips and frames, N, C)

    networks: list[Any] = [stage.network("refiner"), stage.network("token_projection"), stage.heads]
    refiner, projection, heads = map(copy.deepcopy, networks)
    mean, spread = refined.mean((0, 1)), (refined - refined.mean(0)).std((0, 1))
    out = refiner.connector.proj_out[1]
    out.weight /= spread
    out.bias.copy_((out.bias - mean) / spread)
    head = heads["motion"]
    weight = head.weight.unflatten(1, (-1, width))
    head.bias += (weight * mean).sum((1, 2))
    head.weight.copy_((weight * spread).flatten(1))

    loudness = 1 / (image - image.mean(0)).std()
    projection.weight *= loudness
    projection.bias *= loudness
    heads["looks"].weight /= loudness
    return {"refiner": refiner, "token_projection": projection, "heads": heads}
