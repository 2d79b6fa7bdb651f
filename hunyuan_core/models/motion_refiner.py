"""Intensity-aware motion refiner with its memory bank (paper section 3.3, eq. 4, as released).

Module names are those of the released ``motion_proj.pth``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..config import RefinerConfig
from ..errors import ConfigurationError


class AdaLayerNorm(nn.Module):
    """LayerNorm whose scale and shift come from the intensity embedding."""

    def __init__(self, dim: int, operations: Any) -> None:
        super().__init__()
        self.linear = operations.Linear(dim, dim * 2)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Normalise x (T, N, dim) under an activated embedding (T, dim)."""
        shift, scale = self.linear(embedding)[:, None].chunk(2, dim=-1)
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class RefinerMLP(nn.Module):
    """Linear, squared ReLU, Linear."""

    def __init__(self, dim: int, ratio: int, operations: Any) -> None:
        super().__init__()
        self.c_fc = operations.Linear(dim, dim * ratio)
        self.c_proj = operations.Linear(dim * ratio, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., dim) to (..., dim)."""
        return self.c_proj(F.relu(self.c_fc(x)).square())


class RefinerBlock(nn.Module):
    """The memories attend to themselves and to the frame's motion feature, then pass an MLP."""

    def __init__(self, config: RefinerConfig, operations: Any) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.ln_1 = AdaLayerNorm(dim, operations)
        self.ln_2 = AdaLayerNorm(dim, operations)
        self.attn = nn.MultiheadAttention(dim, config.num_heads, batch_first=True)
        self.ln_ff = AdaLayerNorm(dim, operations)
        self.mlp = RefinerMLP(dim, config.mlp_ratio, operations)

    def forward(self, latents: torch.Tensor, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Latents (T, N, dim), x (T, 1, dim) and embedding (T, dim), activated, to latents (T, N, dim)."""
        q = self.ln_1(latents, embedding)
        kv = torch.cat([q, self.ln_2(x, embedding)], dim=1)
        latents = latents + self.attn(q, kv, kv, need_weights=False)[0]
        return latents + self.mlp(self.ln_ff(latents, embedding))


class MemoryBank(nn.Module):
    """Learnable memories that turn one motion vector per frame into motion tokens."""

    def __init__(self, config: RefinerConfig, operations: Any) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.latents = nn.Parameter(torch.randn(config.num_memories, dim) / math.sqrt(dim))
        self.intensity_aware_linear = operations.Linear(dim, dim)
        self.proj_in = operations.Linear(config.in_features, dim)
        self.perceiver_blocks = nn.ModuleList([RefinerBlock(config, operations) for _ in range(config.num_layers)])
        self.proj_out = nn.Sequential(
            operations.Linear(dim, config.out_features), operations.LayerNorm(config.out_features)
        )

    def forward(self, features: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Features (T, in_features) and intensity embedding (T, dim) to (T, num_memories, out_features)."""
        activated = F.silu(embedding)
        latents = self.latents.to(features) + self.intensity_aware_linear(activated)[:, None]
        x = self.proj_in(features)[:, None]
        for block in self.perceiver_blocks:
            latents = block(latents, x, activated)
        return self.proj_out(latents)


class MotionRefiner(nn.Module):
    """Intensity embedding and memory bank."""

    def __init__(self, config: RefinerConfig, operations: Any = nn) -> None:
        super().__init__()
        if config.combine_intensities not in ("add", "concat"):
            raise ConfigurationError(
                f"combine_intensities must be 'add' (released) or 'concat' (paper); got {config.combine_intensities!r}."
            )
        self.config = config
        width = config.hidden_dim if config.combine_intensities == "add" else config.hidden_dim // 2
        self.position_head = operations.Embedding(config.num_intensity_levels, width)
        self.position_exp = operations.Embedding(config.num_intensity_levels, width)
        self.connector = MemoryBank(config, operations)

    def embed_intensity(self, head: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """Levels (T,) of head and of expression, 0..num_intensity_levels-1, to (T, hidden_dim)."""
        tables = self.position_head(head), self.position_exp(expression)
        if self.config.combine_intensities == "add":
            return tables[0] + tables[1]
        # Paper, below eq. 3: expression first.
        return torch.cat([tables[1], tables[0]], dim=-1)

    def forward(self, features: torch.Tensor, head: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """Refine the motion features of some frames.

        Args:
            features: (T, in_features) of the expression encoder.
            head: (T,) int64 head intensity of each frame's chunk.
            expression: (T,) int64 expression intensity of each frame's chunk.

        Returns:
            (T, num_memories, out_features).
        """
        return self.connector(features, self.embed_intensity(head, expression))
