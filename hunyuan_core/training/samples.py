"""Grids of samples, to see what a model in training can do."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F

from ..config import SamplingConfig
from ..data import Appearance, Motion
from ..models import NETWORKS
from ..models.vae import encode_image
from ..pipeline import Pipeline
from .config import TrainingConfig
from .datasets import open_clips
from .stages import JointStage
from .toy_data import Clip

_NUM_SHOWN = 4
"""Frames of a clip in a grid."""


@torch.no_grad()
def sample_grid(stage: JointStage, config: TrainingConfig) -> tuple[torch.Tensor, float]:
    """Animate clips that were not drawn in training, always the same ones; of videos, that are trained on.

    Returns:
        The grid, (3, H, W) uint8: of each clip a row of driver, result and truth, each after the portrait; and the
        mean PSNR of the results, dB.
    """
    num_clips = config.output.num_samples
    clips = open_clips(config, config.seed + 1, num_clips)
    pipeline = Pipeline(**{name: stage.network(name) for name in NETWORKS})
    sampling = SamplingConfig(
        num_inference_steps=config.output.sample_steps,
        num_padding_frames=0,
        context_window=config.data.num_frames,
        context_overlap=0,
    )
    rows, errors = [], []
    for i in range(num_clips):
        clip = Clip.stack([clips[i]]).to(pipeline.device)
        frames = _animate(pipeline, stage, clip, sampling)
        truth, portrait = clip.target[0].cpu(), clip.reference[0].cpu()
        errors.append((frames.float() - truth.float()).square().mean())
        driver = F.interpolate(clip.head_pose_crops[0].cpu(), truth.shape[-2:])
        shown = np.linspace(0, len(truth) - 1, min(len(truth), _NUM_SHOWN)).round().astype(int).tolist()
        rows += [torch.cat([portrait, *video[shown]], dim=-1) for video in (driver, frames, truth)]
    mean_error = float(torch.stack(errors).mean())
    return torch.cat(rows, dim=-2), 10 * math.log10(255**2 / max(mean_error, 1e-9))


def _animate(pipeline: Pipeline, stage: JointStage, clip: Clip, config: SamplingConfig) -> torch.Tensor:
    """Animate a batch of one clip; (T, 3, S, S) uint8 on the CPU."""
    image_tokens, motion_tokens, _ = stage.encode(clip)
    image_latents = encode_image(pipeline.vae, clip.reference.float() / 127.5 - 1)[0]
    appearance = Appearance(image_tokens[0].float(), image_latents, torch.zeros(0))
    num_frames = motion_tokens.shape[1]
    head, face = clip.intensity[0].tolist()
    motion = Motion(motion_tokens[0].float().cpu(), (head,), (face,), torch.zeros(num_frames, 3), torch.zeros(0, 3))
    poses = np.ascontiguousarray(clip.pose_images[0].permute(0, 2, 3, 1).cpu().numpy())
    latents = pipeline.sample(appearance, motion, config, pose_images=poses)
    frames = np.stack(list(pipeline.decode(latents)))
    return cast("torch.Tensor", torch.from_numpy(frames)).permute(0, 3, 1, 2)
