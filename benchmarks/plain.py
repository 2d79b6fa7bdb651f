"""The step in its plain form: what the product computes, written without any saving.

Three guidance branches in one batch, tokens repeated over frames and pixels and projected in each call, windows that
are stepped one by one and averaged after the step. Tests and benchmarks hold the product against it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from hunyuan_core.config import SamplingConfig
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import context_windows, guidance_ramp


def plain_unet(
    unet: UNet,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    added_time_ids: torch.Tensor,
    image_tokens: torch.Tensor,
    motion_tokens: torch.Tensor,
    pose_features: torch.Tensor | None = None,
    motion_scale: float = 1.0,
) -> torch.Tensor:
    """Predict v for all rows of a batch with the weights of a UNet.

    Args:
        unet: Only its layers are used.
        sample: (B, T, 8, h, w).
        timestep: Scalar.
        added_time_ids: (B, 3).
        image_tokens: (B, T, N, C); zeros in rows without image.
        motion_tokens: (B, T, N, C); zeros in rows without motion.
        pose_features: (B, T, C₀, h, w).
        motion_scale: Factor of the motion tokens' attention.

    Returns:
        (B, T, 4, h, w).
    """
    net: Any = unet
    B, T = sample.shape[:2]
    embedding = F.silu(net.embed_time(timestep.expand(B), added_time_ids, sample.dtype))
    tokens = image_tokens, motion_tokens, motion_scale

    def layer(stage: Any, i: int, x: torch.Tensor) -> torch.Tensor:
        x = stage.resnets[i](x, embedding, T)
        return _transformer(stage.attentions[i], x, T, *tokens) if i < len(stage.attentions) else x

    x = net.conv_in(sample.flatten(0, 1))
    if pose_features is not None:
        x = x + pose_features.flatten(0, 1)
    skips = [x]
    for stage in net.down_blocks:
        for i in range(len(stage.resnets)):
            x = layer(stage, i, x)
            skips.append(x)
        for downsampler in stage.downsamplers:
            x = downsampler(x)
            skips.append(x)
    for i in range(len(net.mid_block.resnets)):
        x = layer(net.mid_block, i, x)
    for stage in net.up_blocks:
        for i in range(len(stage.resnets)):
            x = layer(stage, i, torch.cat([x, skips.pop()], dim=1))
        for upsampler in stage.upsamplers:
            x = upsampler(x, skips[-1].shape[-2:])
    return net.conv_out(F.silu(net.conv_norm_out(x))).unflatten(0, (B, T))


def _transformer(
    net: Any, x: torch.Tensor, T: int, image_tokens: torch.Tensor, motion_tokens: torch.Tensor, motion_scale: float
) -> torch.Tensor:
    BT, C, H, W = x.shape
    B, S = BT // T, H * W
    tokens = net.proj_in(net.norm(x).permute(0, 2, 3, 1).reshape(BT, S, C))

    block = net.transformer_blocks[0]
    spatial = tokens + block.attn1(block.norm1(tokens))
    frame_tokens = image_tokens.flatten(0, 1), motion_tokens.flatten(0, 1)
    spatial = spatial + _cross_attention(block.attn2, block.norm2(spatial), *frame_tokens, motion_scale)
    spatial = spatial + block.ff(block.norm3(spatial))

    block = net.temporal_transformer_blocks[0]
    temporal = spatial + net.frame_positions(T, spatial).repeat(B, 1, 1)
    temporal = temporal.unflatten(0, (B, T)).transpose(1, 2).reshape(B * S, T, C)
    temporal = temporal + block.ff_in(block.norm_in(temporal))
    temporal = temporal + block.attn1(block.norm1(temporal))
    # The mean over the frames of the window, repeated at every pixel.
    pixel_image, pixel_motion = (t.mean(1).repeat_interleave(S, dim=0) for t in (image_tokens, motion_tokens))
    temporal = temporal + _cross_attention(block.attn2, block.norm2(temporal), pixel_image, pixel_motion, motion_scale)
    temporal = temporal + block.ff(block.norm3(temporal))
    temporal = temporal.unflatten(0, (B, S)).transpose(1, 2).reshape(BT, S, C)

    alpha = torch.sigmoid(net.time_mixer.mix_factor).to(spatial)
    out = net.proj_out(alpha * spatial + (1 - alpha) * temporal)
    return out.view(BT, H, W, C).permute(0, 3, 1, 2) + x


def _cross_attention(
    net: Any, x: torch.Tensor, image_tokens: torch.Tensor, motion_tokens: torch.Tensor, motion_scale: float
) -> torch.Tensor:
    q = net.to_q(x)
    image = net.attention(q, *net.project_image(image_tokens), net.num_heads)
    motion = net.attention(q, *net.project_motion(motion_tokens), net.num_heads)
    return net.to_out[0](image + motion_scale * motion)


def plain_sample(
    unet: UNet,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    image_tokens: torch.Tensor,
    motion_tokens: torch.Tensor,
    image_latents: torch.Tensor,
    pose_features: torch.Tensor,
    config: SamplingConfig,
) -> torch.Tensor:
    """Sample a video: three branches, each window stepped by Euler on its own, overlapping frames averaged.

    Args:
        unet: The network.
        x: (T, 4, h, w) latents with noise of level sigmas[0].
        sigmas: (steps + 1,).
        image_tokens: (N, C).
        motion_tokens: (T, N, C).
        image_latents: (4, h, w).
        pose_features: (T, C₀, h, w).
        config: Guidance, windows and micro-conditions.
    """
    T = len(x)
    levels = sigmas.tolist()
    image_scales = guidance_ramp(config.image_guidance_scale, len(levels) - 1)
    motion_scales = guidance_ramp(config.motion_guidance_scale, len(levels) - 1)
    ids = [config.fps, config.motion_bucket_id, config.noise_aug_strength]
    added_time_ids = torch.tensor([ids] * 3, dtype=x.dtype, device=x.device)
    for step, sigma in enumerate(levels[:-1]):
        shift = step * config.context_shift % config.context_window
        total, counts = torch.zeros_like(x), x.new_zeros(T, 1, 1, 1)
        for frames in context_windows(T, config.context_window, config.context_overlap, shift):
            window = x[frames]
            v = _plain_branches(
                unet,
                window / math.sqrt(sigma**2 + 1),
                torch.tensor(0.25 * math.log(sigma), dtype=x.dtype, device=x.device),
                added_time_ids,
                image_tokens,
                motion_tokens[frames],
                image_latents,
                pose_features[frames],
                config.motion_scale,
            )
            v = v[0] + image_scales[step] * (v[1] - v[0]) + motion_scales[step] * (v[2] - v[1])
            denoised = window / (sigma**2 + 1) - v * (sigma / math.sqrt(sigma**2 + 1))
            stepped = window + (window - denoised) / sigma * (levels[step + 1] - sigma)
            for i, frame in enumerate(frames):
                total[frame] += stepped[i]
                counts[frame] += 1
        x = total / counts
    return x


def _plain_branches(
    unet: UNet,
    window: torch.Tensor,
    timestep: torch.Tensor,
    added_time_ids: torch.Tensor,
    image_tokens: torch.Tensor,
    motion_tokens: torch.Tensor,
    image_latents: torch.Tensor,
    pose_features: torch.Tensor,
    motion_scale: float,
) -> torch.Tensor:
    """The three branches in one batch, (3, n, 4, h, w): no condition; image; image and motion."""
    n = len(window)
    latents = image_latents.expand(n, -1, -1, -1)
    image = image_tokens.expand(n, -1, -1)
    no_image, no_motion, no_latents = (
        torch.zeros_like(image),
        torch.zeros_like(motion_tokens),
        torch.zeros_like(latents),
    )
    return plain_unet(
        unet,
        torch.stack([torch.cat([window, c], dim=1) for c in (no_latents, latents, latents)]),
        timestep,
        added_time_ids,
        torch.stack([no_image, image, image]),
        torch.stack([no_motion, no_motion, motion_tokens]),
        pose_features.expand(3, -1, -1, -1, -1),
        motion_scale,
    )
