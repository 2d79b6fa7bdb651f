"""The denoising UNet: SVD's spatio-temporal UNet with decoupled cross-attention and mean temporal context.

Module names are those of diffusers' ``UNetSpatioTemporalConditionModel``, and so of the released ``unet.pth``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..config import UNetConfig
from ..errors import ShapeError
from .attention import (
    AttentionFunction,
    Context,
    CrossAttention,
    FeedForward,
    LayerContext,
    SpatioTemporalTransformer,
    TimeMixer,
    TimestepEmbedding,
    scaled_dot_product,
    sinusoidal_embedding,
)
from .residual import set_norm_groups


class SpatialResBlock(nn.Module):
    """GroupNorm, SiLU, 3×3 convolution, twice, with the time embedding added between."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, eps: float, operations: Any) -> None:
        super().__init__()
        self.norm1 = operations.GroupNorm(32, in_channels, eps=eps)
        self.conv1 = operations.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = operations.Linear(embed_dim, out_channels)
        self.norm2 = operations.GroupNorm(32, out_channels, eps=eps)
        self.conv2 = operations.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = operations.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """(B·T, C, H, W) with an activated embedding (B·T or 1, embed_dim) to (B·T, C', H, W)."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = hidden + self.time_emb_proj(embedding)[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return hidden + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class TemporalResBlock(nn.Module):
    """The same over time: convolutions of three frames at each pixel."""

    def __init__(self, channels: int, embed_dim: int, eps: float, operations: Any) -> None:
        super().__init__()
        self.norm1 = operations.GroupNorm(32, channels, eps=eps)
        self.conv1 = operations.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        self.time_emb_proj = operations.Linear(embed_dim, channels)
        self.norm2 = operations.GroupNorm(32, channels, eps=eps)
        self.conv2 = operations.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) with an activated embedding (B or 1, embed_dim) to (B, C, T, H, W)."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = hidden + self.time_emb_proj(embedding)[:, :, None, None, None]
        return x + self.conv2(F.silu(self.norm2(hidden)))


class SpatioTemporalResBlock(nn.Module):
    """A spatial residual block, a temporal one on its output, and a learned blend of the two."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, eps: float, operations: Any) -> None:
        super().__init__()
        self.spatial_res_block = SpatialResBlock(in_channels, out_channels, embed_dim, eps, operations)
        self.temporal_res_block = TemporalResBlock(out_channels, embed_dim, eps, operations)
        self.time_mixer = TimeMixer()

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, num_frames: int) -> torch.Tensor:
        """(B·T, C, H, W) to (B·T, C', H, W); embedding (B or 1, embed_dim), activated."""
        per_frame = embedding if len(embedding) == 1 else embedding.repeat_interleave(num_frames, dim=0)
        spatial = self.spatial_res_block(x, per_frame)
        spatial = spatial.unflatten(0, (-1, num_frames)).transpose(1, 2)  # (B, C, T, H, W)
        mixed = self.time_mixer(spatial, self.temporal_res_block(spatial, embedding))
        return mixed.transpose(1, 2).flatten(0, 1)


class Downsample(nn.Module):
    """3×3 convolution of stride 2."""

    def __init__(self, channels: int, operations: Any) -> None:
        super().__init__()
        self.conv = operations.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B·T, C, H, W) to (B·T, C, ⌈H/2⌉, ⌈W/2⌉)."""
        return self.conv(x)


class Upsample(nn.Module):
    """Nearest neighbour to a given size, then a 3×3 convolution."""

    def __init__(self, channels: int, operations: Any) -> None:
        super().__init__()
        self.conv = operations.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """(B·T, C, H, W) to (B·T, C, *size)."""
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class Stage(nn.Module):
    """Residual blocks of one resolution, each followed by a transformer where there is one.

    Attributes:
        is_checkpointed: Whether training keeps the layers' inputs only and computes the rest again for the gradients.
    """

    is_checkpointed: bool = False

    def __init__(
        self,
        resnets: list[SpatioTemporalResBlock],
        attentions: list[SpatioTemporalTransformer],
        downsampler: Downsample | None = None,
        upsampler: Upsample | None = None,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        # Lists of at most one, because that is how the released keys count them.
        self.downsamplers = nn.ModuleList([] if downsampler is None else [downsampler])
        self.upsamplers = nn.ModuleList([] if upsampler is None else [upsampler])

    def layer(
        self,
        i: int,
        x: torch.Tensor,
        embedding: torch.Tensor,
        num_frames: int,
        context: Context,
        skips: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Run the i-th residual block and its transformer; (B·T, C, H, W) to (B·T, C', H, W).

        Args:
            skips: The last of them is taken away and its channels are put behind those of x.
        """
        if skips is not None:
            # Not by the caller: where Python keeps arguments alive, as after a failed torch.compile, it would stay.
            x = torch.cat([x, skips.pop()], dim=1)
        if self.is_checkpointed and torch.is_grad_enabled():
            return cast(
                "torch.Tensor", checkpoint(self._layer, i, x, embedding, num_frames, context, use_reentrant=False)
            )
        # Not by _layer, or this frame would hold its input while the transformer needs the most memory.
        x = self.resnets[i](x, embedding, num_frames)
        return self.attentions[i](x, num_frames, context) if i < len(self.attentions) else x

    def _layer(
        self, i: int, x: torch.Tensor, embedding: torch.Tensor, num_frames: int, context: Context
    ) -> torch.Tensor:
        x = self.resnets[i](x, embedding, num_frames)
        return self.attentions[i](x, num_frames, context) if i < len(self.attentions) else x


@dataclass(eq=False)
class DeepFeatures:
    """What the deep part of the UNet hands to its outermost layers, to be kept from one call to another.

    Attributes:
        num_outer_layers: Layers of the up path that run in every call, 1 to all; the down path runs as far as these
            need its skips. Layers are counted as in ``UNet.num_up_layers``.
        features: (B, T, C, h', w'), the input of the first of these layers without its skip. None: the call runs the
            deep part and writes it here. Given: the call leaves the deep part out and uses this.
    """

    num_outer_layers: int
    features: torch.Tensor | None = None


class UNet(nn.Module):
    """The denoising UNet.

    Args:
        config: Sizes.
        operations: Namespace of layer classes (Linear, Conv2d, Conv3d, GroupNorm, LayerNorm).
        attention: The attention that all layers use.
    """

    def __init__(
        self, config: UNetConfig, operations: Any = nn, attention: AttentionFunction = scaled_dot_product
    ) -> None:
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        embed_dim = channels[0] * 4
        last = len(channels) - 1

        def resnet(in_channels: int, out_channels: int, eps: float) -> SpatioTemporalResBlock:
            return SpatioTemporalResBlock(in_channels, out_channels, embed_dim, eps, operations)

        def transformer(level: int) -> SpatioTemporalTransformer:
            heads = config.num_attention_heads[level]
            return SpatioTemporalTransformer(channels[level], config.cross_attention_dim, heads, attention, operations)

        self.conv_in = operations.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(channels[0], embed_dim, embed_dim, operations)
        added_dim = config.addition_time_embed_dim * config.num_added_time_ids
        self.add_embedding = TimestepEmbedding(added_dim, embed_dim, embed_dim, operations)

        self.down_blocks = nn.ModuleList()
        skip_channels = [channels[0]]
        for level, width in enumerate(channels):
            # SVD: attending down blocks and all up blocks normalise with 1e-6, the others with 1e-5.
            eps = 1e-6 if config.has_attention[level] else 1e-5
            inputs = [skip_channels[-1]] + [width] * (config.layers_per_block - 1)
            resnets = [resnet(n, width, eps) for n in inputs]
            attentions = [transformer(level) for _ in resnets] if config.has_attention[level] else []
            downsampler = Downsample(width, operations) if level < last else None
            self.down_blocks.append(Stage(resnets, attentions, downsampler=downsampler))
            skip_channels += [width] * (len(resnets) + (level < last))

        width = channels[-1]
        self.mid_block = Stage([resnet(width, width, 1e-5), resnet(width, width, 1e-5)], [transformer(last)])

        self.up_blocks = nn.ModuleList()
        for level in reversed(range(len(channels))):
            resnets = []
            for _ in range(config.layers_per_block + 1):
                resnets.append(resnet(width + skip_channels.pop(), channels[level], 1e-6))
                width = channels[level]
            attentions = [transformer(level) for _ in resnets] if config.has_attention[level] else []
            upsampler = Upsample(width, operations) if level > 0 else None
            self.up_blocks.append(Stage(resnets, attentions, upsampler=upsampler))

        for i, transformer_ in enumerate(self.transformers):
            transformer_.context_index = 2 * i

        self.conv_norm_out = operations.GroupNorm(32, channels[0], eps=1e-5)
        self.conv_out = operations.Conv2d(channels[0], config.out_channels, 3, padding=1)
        set_norm_groups(self, config.norm_num_groups)

    @property
    def transformers(self) -> list[SpatioTemporalTransformer]:
        """All transformers from input to output."""
        stages = cast("list[Stage]", [*self.down_blocks, self.mid_block, *self.up_blocks])
        return [cast("SpatioTemporalTransformer", t) for stage in stages for t in stage.attentions]

    @property
    def cross_attentions(self) -> list[CrossAttention]:
        """All cross-attentions in the order of ``Context.layers``: spatial and temporal in turn, input to output."""
        return [attention for transformer in self.transformers for attention in transformer.cross_attentions]

    @property
    def num_up_layers(self) -> int:
        """Layers of the up path: a residual block, its transformer where it has one, and a last one's upsampler."""
        return len(self.config.block_out_channels) * (self.config.layers_per_block + 1)

    def chunk_feed_forward(self, num_chunks: int) -> None:
        """Compute all feed-forwards in so many parts; see ``FeedForward``."""
        for module in self.modules():
            if isinstance(module, FeedForward):
                module.num_chunks = num_chunks

    def checkpoint_gradients(self) -> None:
        """Trade time for memory in training; see ``Stage``."""
        for module in self.modules():
            if isinstance(module, Stage):
                module.is_checkpointed = True

    def project_context(
        self,
        image_tokens: torch.Tensor,
        motion_tokens: torch.Tensor,
        num_image_rows: int,
        num_motion_rows: int,
        motion_scale: float = 1.0,
    ) -> Context:
        """Project the tokens of one window to keys and values.

        Args:
            image_tokens: (1 or num_image_rows, 1 or T, N, context_dim); size 1 means the same for all.
            motion_tokens: (1 or num_motion_rows, T, N, context_dim).
            num_image_rows: See ``Context``.
            num_motion_rows: See ``Context``.
            motion_scale: Factor of the motion tokens' attention (released: 1).
        """
        mean_image, mean_motion = image_tokens.mean(1, keepdim=True), motion_tokens.mean(1, keepdim=True)
        layers = []
        for attention in self.cross_attentions:
            # Temporal cross-attention sees the tokens averaged over the frames of the window (SVD: the first frame's).
            image, motion = (mean_image, mean_motion) if attention.is_temporal else (image_tokens, motion_tokens)
            motion_key, motion_value = attention.project_motion(motion)
            layers.append(LayerContext(*attention.project_image(image), motion_key, motion_value * motion_scale))
        return Context(tuple(layers), num_image_rows, num_motion_rows)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        added_time_ids: torch.Tensor,
        context: Context,
        pose_features: torch.Tensor | None = None,
        deep: DeepFeatures | None = None,
    ) -> torch.Tensor:
        """Predict v.

        Args:
            sample: (B, T, in_channels, h, w): scaled noisy latents and image latents, rows sorted as in ``Context``.
            timestep: ¼ ln σ, float32 or wider, (B,) or a scalar.
            added_time_ids: (B or 1, 3): fps, motion_bucket_id, noise_aug_strength.
            context: Keys and values of ``project_context`` or of ``VideoContext``.
            pose_features: (B or 1, T or 1, C₀, h, w), the pose guider's map.
            deep: To keep the deep part's output, or to use one that was kept; None computes everything.

        Returns:
            (B, T, out_channels, h, w).

        Raises:
            ShapeError: If the sample has the wrong number of dimensions or channels.
        """
        if sample.ndim != 5 or sample.shape[2] != self.config.in_channels:
            raise ShapeError(f"sample must be (B, T, {self.config.in_channels}, h, w); got {tuple(sample.shape)}.")
        B, T = sample.shape[:2]
        embedding = F.silu(self.embed_time(timestep.reshape(-1), added_time_ids, sample.dtype))

        x = self.conv_in(sample.flatten(0, 1))
        if pose_features is not None:
            x = (x.unflatten(0, (B, T)) + pose_features).flatten(0, 1)
        num_outer = 0 if deep is None else deep.num_outer_layers
        kept = None if deep is None else deep.features
        skips = self._down(x, embedding, T, context, self.num_up_layers if kept is None else num_outer)
        if kept is None:
            x = skips[-1]
            for i in range(len(self.mid_block.resnets)):
                x = self.mid_block.layer(i, x, embedding, T, context)
            x = self._up(x, skips, self.num_up_layers - num_outer, embedding, T, context)
            if deep is not None:
                deep.features = x.unflatten(0, (B, T))
        else:
            x = kept.flatten(0, 1)
        x = self._up(x, skips, num_outer, embedding, T, context)
        x = self.conv_out(F.silu(self.conv_norm_out(x)))
        return x.unflatten(0, (B, T))

    def _down(
        self, x: torch.Tensor, embedding: torch.Tensor, num_frames: int, context: Context, num_skips: int
    ) -> list[torch.Tensor]:
        """Run the down path until it has given so many skips; the first of them is its input."""
        skips = [x]
        for stage in cast("Iterable[Stage]", self.down_blocks):
            for i in range(len(stage.resnets)):
                if len(skips) == num_skips:
                    return skips
                skips.append(stage.layer(i, skips[-1], embedding, num_frames, context))
            for downsampler in stage.downsamplers:
                if len(skips) == num_skips:
                    return skips
                skips.append(downsampler(skips[-1]))
        return skips

    def _up(
        self,
        x: torch.Tensor,
        skips: list[torch.Tensor],
        num_layers: int,
        embedding: torch.Tensor,
        num_frames: int,
        context: Context,
    ) -> torch.Tensor:
        """Run those layers of the up path that come next for the skips that are left; takes their skips away."""
        per_stage = self.config.layers_per_block + 1
        for _ in range(num_layers):
            index, i = divmod(self.num_up_layers - len(skips), per_stage)
            stage = cast("Stage", self.up_blocks[index])
            x = stage.layer(i, x, embedding, num_frames, context, skips)
            if i == per_stage - 1:
                for upsampler in stage.upsamplers:
                    x = upsampler(x, skips[-1].shape[-2:])
        return x

    def embed_time(self, timestep: torch.Tensor, added_time_ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Embedding of the noise level and the micro-conditions, (B or 1, embed_dim)."""
        wide = torch.promote_types(dtype, torch.float32)
        time = sinusoidal_embedding(timestep.to(wide), self.config.block_out_channels[0])
        added = sinusoidal_embedding(added_time_ids.to(wide), self.config.addition_time_embed_dim).flatten(1)
        return self.time_embedding(time.to(dtype)) + self.add_embedding(added.to(dtype))
