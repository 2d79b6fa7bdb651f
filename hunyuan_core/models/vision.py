"""DINOv2 with registers and IMAdapters, and the token projection behind it: the appearance encoder.

Module names are those of the released ``dino.pth`` and ``image_proj.pth``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..config import VisionConfig
from ..errors import ShapeError
from .attention import AttentionFunction, scaled_dot_product
from .im_adapter import IMAdapter


class LayerScale(nn.Module):
    """One learned factor per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., dim) to (..., dim)."""
        return x * self.gamma.to(x)


class PatchEmbedding(nn.Module):
    """Non-overlapping patches to tokens."""

    def __init__(self, config: VisionConfig, operations: Any) -> None:
        super().__init__()
        self.proj = operations.Conv2d(3, config.embed_dim, config.patch_size, stride=config.patch_size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, embed_dim, H / patch_size, W / patch_size)."""
        return self.proj(image)


class VisionAttention(nn.Module):
    """Self-attention with one joint projection."""

    def __init__(self, config: VisionConfig, attention: AttentionFunction, operations: Any) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.attention = attention
        self.qkv = operations.Linear(config.embed_dim, config.embed_dim * 3)
        self.proj = operations.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, embed_dim) to (B, N, embed_dim)."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.proj(self.attention(q, k, v, self.num_heads))


class VisionMLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, config: VisionConfig, operations: Any) -> None:
        super().__init__()
        self.fc1 = operations.Linear(config.embed_dim, config.embed_dim * config.mlp_ratio)
        self.fc2 = operations.Linear(config.embed_dim * config.mlp_ratio, config.embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, embed_dim) to (B, N, embed_dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class VisionBlock(nn.Module):
    """Pre-norm transformer block with LayerScale; in some blocks an adapter runs beside the MLP."""

    def __init__(self, config: VisionConfig, has_adapter: bool, attention: AttentionFunction, operations: Any) -> None:
        super().__init__()
        self.adapter_scale = config.adapter_scale
        self.num_prefix_tokens = 1 + config.num_register_tokens
        self.norm1 = operations.LayerNorm(config.embed_dim, eps=1e-6)
        self.attn = VisionAttention(config, attention, operations)
        self.ls1 = LayerScale(config.embed_dim)
        self.norm2 = operations.LayerNorm(config.embed_dim, eps=1e-6)
        self.mlp = VisionMLP(config, operations)
        self.ls2 = LayerScale(config.embed_dim)
        self.adapter = IMAdapter(config, operations) if has_adapter else None

    def forward(self, x: torch.Tensor, id_embedding: torch.Tensor) -> torch.Tensor:
        """(B, N, embed_dim) to (B, N, embed_dim)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        normed = self.norm2(x)
        out = self.mlp(normed)
        if self.adapter is not None:
            out = out + self.adapter_scale * self.adapter(normed, id_embedding, self.num_prefix_tokens)
        return x + self.ls2(out)


class VisionEncoder(nn.Module):
    """DINOv2 ViT with registers and IMAdapters."""

    def __init__(
        self, config: VisionConfig, operations: Any = nn, attention: AttentionFunction = scaled_dot_product
    ) -> None:
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.position_grid**2, dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.num_register_tokens, dim))
        # Used by DINOv2's own training only; the released file holds it.
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.patch_embed = PatchEmbedding(config, operations)
        self.blocks = nn.ModuleList(
            [VisionBlock(config, i in config.adapter_layers, attention, operations) for i in range(config.depth)]
        )
        self.norm = operations.LayerNorm(dim, eps=1e-6)

    def forward(self, image: torch.Tensor, id_embedding: torch.Tensor) -> torch.Tensor:
        """Encode an image.

        Args:
            image: (B, 3, H, W), normalised with ImageNet's mean and deviation, sides multiples of the patch size.
            id_embedding: (B, id_embedding_dim); zeros where no face is known.

        Returns:
            (B, 1 + registers + patches, embed_dim) after the last LayerNorm.

        Raises:
            ShapeError: If a side is not a multiple of the patch size.
        """
        size = self.config.patch_size
        if image.ndim != 4 or image.shape[-2] % size or image.shape[-1] % size:
            raise ShapeError(
                f"image must be (B, 3, H, W) with sides that are multiples of {size}; got {tuple(image.shape)}."
            )
        patches = self.patch_embed(image)
        class_position, positions = self._positions(patches.shape[-2], patches.shape[-1])
        patches = patches.flatten(2).transpose(1, 2)
        B = len(image)
        x = torch.cat(
            [
                (self.cls_token.to(patches) + class_position.to(patches)).expand(B, -1, -1),
                self.register_tokens.to(patches).expand(B, -1, -1),
                patches + positions.to(patches),
            ],
            dim=1,
        )
        for block in self.blocks:
            x = block(x, id_embedding)
        return self.norm(x)

    def _positions(self, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Position of the class token (1, 1, dim) and of the patches (1, rows·columns, dim)."""
        side = self.config.position_grid
        class_position, table = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        if (rows, columns) == (side, side):
            return class_position, table
        table = table.unflatten(1, (side, side)).permute(0, 3, 1, 2).float()
        # DINOv2 gives scale factors, not a size, with 0.1 added against rounding; the sampling positions depend on it.
        scale = ((rows + 0.1) / side, (columns + 0.1) / side)
        table = F.interpolate(table, scale_factor=scale, mode="bicubic")
        return class_position, table.flatten(2).transpose(1, 2)


class TokenProjection(nn.Module):
    """Linear over the token axis: all tokens of an image to the image tokens of the UNet.

    The released file is a bare Linear, so its two tensors are attributes of this module itself.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        linear = nn.Linear(config.num_tokens, config.num_image_tokens)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, tokens, C) to (B, num_image_tokens, C)."""
        return F.linear(features.transpose(1, 2), self.weight.to(features), self.bias.to(features)).transpose(1, 2)
