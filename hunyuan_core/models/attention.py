"""Attention layers of the denoising UNet.

Shapes: B rows of the batch (guidance branches or training clips), T frames, S pixels, N tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

AttentionFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""(q, k, v, num_heads) -> out; q (G, L, C), k and v (G, N, C), out like q; heads lie side by side in C."""


def scaled_dot_product(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_heads: int) -> torch.Tensor:
    """PyTorch's attention as an AttentionFunction.

    Every call in the UNet has a form that flash, cuDNN's and the memory-efficient kernels take: no mask, heads of 64
    channels whose values lie side by side, at the released size and 512×512 at most 8 192 sequences. Temporal
    cross-attention, whose keys are the same for all pixels, is one long query on 64 keys; nothing is repeated. The
    kernels count sequences up to 65 535, which a square of 1 184 pixels with three branches reaches.
    """
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)


@dataclass(frozen=True, eq=False)
class LayerContext:
    """Keys and values of one cross-attention layer, already projected.

    Attributes:
        image_key, image_value: (1 or B, 1 or T, N, C).
        motion_key, motion_value: (1 or B, 1 or T, N, C), the values times ``motion_scale``; None without motion rows.
    """

    image_key: torch.Tensor
    image_value: torch.Tensor
    motion_key: torch.Tensor | None
    motion_value: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Context:
    """What the UNet attends to in one call.

    Rows of the batch are sorted by condition: first those without any, then those with image tokens only, then those
    with motion tokens as well. Zero tokens attend to nothing, because keys and values have no bias; rows without tokens
    therefore cost nothing.

    Attributes:
        layers: One entry per cross-attention, in the order of ``UNet.cross_attentions``.
        num_image_rows: How many of the last rows attend to the image tokens.
        num_motion_rows: How many of the last rows attend to the motion tokens.
    """

    layers: tuple[LayerContext, ...]
    num_image_rows: int
    num_motion_rows: int


class SelfAttention(nn.Module):
    """Attention of a sequence to itself; q, k, v without bias."""

    def __init__(self, dim: int, num_heads: int, attention: AttentionFunction, operations: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention = attention
        self.to_q = operations.Linear(dim, dim, bias=False)
        self.to_k = operations.Linear(dim, dim, bias=False)
        self.to_v = operations.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([operations.Linear(dim, dim)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within each sequence; (G, L, C) to (G, L, C)."""
        return self.to_out[0](self.attention(self.to_q(x), self.to_k(x), self.to_v(x), self.num_heads))


class MotionProjections(nn.Module):
    """Keys and values of the motion tokens; a module of its own only for the names of the released state dict."""

    def __init__(self, dim: int, context_dim: int, operations: Any) -> None:
        super().__init__()
        self.to_k_ip = nn.ModuleList([operations.Linear(context_dim, dim, bias=False)])
        self.to_v_ip = nn.ModuleList([operations.Linear(context_dim, dim, bias=False)])


class CrossAttention(nn.Module):
    """Decoupled cross-attention: out = to_out(Attn(q, K_image, V_image) + motion_scale · Attn(q, K_motion, V_motion)).

    The forward pass takes keys and values that ``project_image`` and ``project_motion`` made, so that tokens which are
    constants of a video or of a frame are projected once and never repeated over pixels.
    """

    def __init__(
        self,
        dim: int,
        context_dim: int,
        num_heads: int,
        attention: AttentionFunction,
        operations: Any,
        is_temporal: bool,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention = attention
        self.is_temporal = is_temporal
        self.to_q = operations.Linear(dim, dim, bias=False)
        self.to_k = operations.Linear(context_dim, dim, bias=False)
        self.to_v = operations.Linear(context_dim, dim, bias=False)
        self.to_out = nn.ModuleList([operations.Linear(dim, dim)])
        self.processor = MotionProjections(dim, context_dim, operations)

    def project_image(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of image tokens; (..., N, context_dim) to twice (..., N, C)."""
        return self.to_k(tokens), self.to_v(tokens)

    def project_motion(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of motion tokens, not yet scaled; (..., N, context_dim) to twice (..., N, C)."""
        return self.processor.to_k_ip[0](tokens), self.processor.to_v_ip[0](tokens)

    def forward(self, x: torch.Tensor, context: LayerContext, num_motion_rows: int) -> torch.Tensor:
        """Attend to the image tokens, and in the last rows to the motion tokens too.

        Args:
            x: (B, T, S, C), the rows that have image tokens.
            context: Keys and values; those of motion are for the last ``num_motion_rows`` rows.
            num_motion_rows: 0..B.

        Returns:
            (B, T, S, C).
        """
        q = self.to_q(x)
        out = self._attend(q, context.image_key, context.image_value)
        if num_motion_rows and context.motion_key is not None and context.motion_value is not None:
            n = len(x) - num_motion_rows
            motion = self._attend(q[n:], context.motion_key, context.motion_value)
            out = out + motion if n == 0 else torch.cat([out[:n], out[n:] + motion])
        return self.to_out[0](out)

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        B, T, S, C = q.shape
        rows, frames = k.shape[:2]
        if frames > 1:  # tokens of its own for each frame
            k, v = k.expand(B, -1, -1, -1).flatten(0, 1), v.expand(B, -1, -1, -1).flatten(0, 1)
            q = q.reshape(B * T, S, C)
        elif rows > 1:  # for each row: frames and pixels are one long query
            k, v, q = k[:, 0], v[:, 0], q.reshape(B, T * S, C)
        else:  # for all
            k, v, q = k[0], v[0], q.reshape(1, B * T * S, C)
        return self.attention(q, k, v, self.num_heads).view(B, T, S, C)


class GatedLinear(nn.Module):
    """Linear to twice the width, one half gated by the GELU of the other."""

    def __init__(self, dim: int, inner_dim: int, operations: Any) -> None:
        super().__init__()
        self.proj = operations.Linear(dim, inner_dim * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., dim) to (..., inner_dim)."""
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU feed-forward of four times the width.

    Attributes:
        num_chunks: Parts of the tokens that are computed one after the other, which bounds the memory of the wide
            hidden layer. Tokens do not influence each other here, so the result is the same but for rounding.
    """

    num_chunks: int = 1

    def __init__(self, dim: int, operations: Any) -> None:
        super().__init__()
        # Released names: net.0.proj and net.2; position 1 held dropout.
        self.net = nn.ModuleList(
            [GatedLinear(dim, dim * 4, operations), nn.Identity(), operations.Linear(dim * 4, dim)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., dim) to (..., dim)."""
        if self.num_chunks == 1:
            return self.net[2](self.net[0](x))
        tokens = x.reshape(-1, x.shape[-1])
        out = torch.empty_like(tokens)
        for part, result in zip(tokens.chunk(self.num_chunks), out.chunk(self.num_chunks), strict=True):
            result.copy_(self.net[2](self.net[0](part)))
        return out.view(x.shape)


class TransformerBlock(nn.Module):
    """Self-attention, decoupled cross-attention and feed-forward, each after a LayerNorm and with a residual.

    The spatial form attends over the pixels of each frame. The temporal form first applies one more feed-forward and
    then attends over the frames at each pixel.
    """

    def __init__(
        self,
        dim: int,
        context_dim: int,
        num_heads: int,
        attention: AttentionFunction,
        operations: Any,
        *,
        is_temporal: bool,
    ) -> None:
        super().__init__()
        self.is_temporal = is_temporal
        if is_temporal:
            self.norm_in = operations.LayerNorm(dim)
            self.ff_in = FeedForward(dim, operations)
        self.norm1 = operations.LayerNorm(dim)
        self.attn1 = SelfAttention(dim, num_heads, attention, operations)
        self.norm2 = operations.LayerNorm(dim)
        self.attn2 = CrossAttention(dim, context_dim, num_heads, attention, operations, is_temporal)
        self.norm3 = operations.LayerNorm(dim)
        self.ff = FeedForward(dim, operations)

    def forward(
        self, x: torch.Tensor, context: LayerContext, num_image_rows: int, num_motion_rows: int
    ) -> torch.Tensor:
        """(B, T, S, C) to (B, T, S, C); the row counts are those of ``Context``."""
        if self.is_temporal:
            x = x + self.ff_in(self.norm_in(x))
        x = x + self._self_attend(self.norm1(x))
        x = self._cross_attend(x, context, num_image_rows, num_motion_rows)
        return x + self.ff(self.norm3(x))

    def _self_attend(self, x: torch.Tensor) -> torch.Tensor:
        B, T, S, C = x.shape
        if not self.is_temporal:
            return self.attn1(x.reshape(B * T, S, C)).view(B, T, S, C)
        x = x.transpose(1, 2).reshape(B * S, T, C)
        return self.attn1(x).view(B, S, T, C).transpose(1, 2)

    def _cross_attend(
        self, x: torch.Tensor, context: LayerContext, num_image_rows: int, num_motion_rows: int
    ) -> torch.Tensor:
        n = len(x) - num_image_rows
        attended = x[n:]
        if num_image_rows:
            attended = attended + self.attn2(self.norm2(attended), context, num_motion_rows)
        if n == 0:
            return attended
        # Zero tokens give zero attention, so of the whole cross-attention the output bias remains. It is asked of the
        # layer, which may keep it elsewhere, in another type, or patched.
        return torch.cat([x[:n] + self.attn2.to_out[0](x.new_zeros(1, x.shape[-1])), attended])


class TimestepEmbedding(nn.Module):
    """Two linear layers with SiLU between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, operations: Any) -> None:
        super().__init__()
        self.linear_1 = operations.Linear(in_dim, hidden_dim)
        self.linear_2 = operations.Linear(hidden_dim, out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_dim) to (..., out_dim)."""
        return self.linear_2(F.silu(self.linear_1(x)))


def sinusoidal_embedding(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Cosines, then sines, of the values at dim / 2 geometric frequencies from 1 down to 1e-4.

    Args:
        values: Any shape, float32 or wider.

    Returns:
        (..., dim) in the dtype of the values.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=values.dtype, device=values.device) / half
    angles = values[..., None] * torch.exp(exponent * -9.210340371976184)  # ln(10 000)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeMixer(nn.Module):
    """Learned blend of the spatial and the temporal path: a · spatial + (1 - a) · temporal, a = sigmoid(mix_factor)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, spatial: torch.Tensor, temporal: torch.Tensor) -> torch.Tensor:
        """Blend two tensors of one shape."""
        return torch.lerp(temporal, spatial, torch.sigmoid(self.mix_factor.to(spatial)))


class SpatioTemporalTransformer(nn.Module):
    """A spatial block, then a temporal block on its output plus the frame's position, blended by a time mixer.

    Attributes:
        context_index: Position of the spatial cross-attention in ``Context.layers``; the temporal one follows it.
    """

    context_index: int = 0

    def __init__(
        self, dim: int, context_dim: int, num_heads: int, attention: AttentionFunction, operations: Any
    ) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(32, dim, eps=1e-6)
        self.proj_in = operations.Linear(dim, dim)
        arguments = (dim, context_dim, num_heads, attention, operations)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(*arguments, is_temporal=False)])
        self.temporal_transformer_blocks = nn.ModuleList([TransformerBlock(*arguments, is_temporal=True)])
        self.time_pos_embed = TimestepEmbedding(dim, dim * 4, dim, operations)
        self.time_mixer = TimeMixer()
        self.proj_out = operations.Linear(dim, dim)

    @property
    def cross_attentions(self) -> tuple[CrossAttention, CrossAttention]:
        """The spatial and the temporal cross-attention."""
        return self.transformer_blocks[0].attn2, self.temporal_transformer_blocks[0].attn2  # pyright: ignore[reportReturnType]

    def forward(self, x: torch.Tensor, num_frames: int, context: Context) -> torch.Tensor:
        """Attend over space, time and context; (B·T, C, H, W) to (B·T, C, H, W)."""
        C, H, W = x.shape[1:]
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(-1, num_frames, H * W, C)  # (B, T, S, C)
        tokens = self.proj_in(tokens)
        rows = context.num_image_rows, context.num_motion_rows
        spatial = self.transformer_blocks[0](tokens, context.layers[self.context_index], *rows)
        temporal = spatial + self.frame_positions(num_frames, spatial)
        temporal = self.temporal_transformer_blocks[0](temporal, context.layers[self.context_index + 1], *rows)
        tokens = self.proj_out(self.time_mixer(spatial, temporal))
        return tokens.view(-1, H, W, C).permute(0, 3, 1, 2) + x

    def frame_positions(self, num_frames: int, like: torch.Tensor) -> torch.Tensor:
        """Embedding of the frames' positions in the window, (T, 1, C), dtype and device of ``like``."""
        positions = torch.arange(num_frames, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
        return self.time_pos_embed(sinusoidal_embedding(positions, like.shape[-1]).to(like.dtype))[:, None]
