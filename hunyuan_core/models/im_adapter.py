"""ID-aware multi-scale adapter (IMAdapter, paper section 3.4), beside the MLP of some DINOv2 blocks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..config import VisionConfig


class ConvBN(nn.Module):
    """Parameters of a convolution and its BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, operations: Any) -> None:
        super().__init__()
        self.conv = operations.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)


class IdentityAttention(nn.Module):
    """Attention of the patches (queries) to the identity vector, the only key and value.

    Release: with one key the attention weight is 1, so each patch receives the same vector, whatever the query. Only
    the value path is computed. (The paper's eq. 5 has the identity as the query.)
    """

    def __init__(self, config: VisionConfig, operations: Any) -> None:
        super().__init__()
        dim = config.adapter_attention_dim
        self.multihead_attn = nn.MultiheadAttention(dim, config.adapter_num_heads, batch_first=True)
        self.image_proj = operations.Linear(config.adapter_dim, dim)
        self.id_proj = operations.Linear(config.id_embedding_dim, dim)
        self.back_proj = operations.Linear(dim, config.adapter_dim)

    def forward(self, id_embedding: torch.Tensor) -> torch.Tensor:
        """(B, id_embedding_dim) to (B, 1, adapter_dim)."""
        attention = self.multihead_attn
        identity = self.id_proj(id_embedding)
        weight, bias = (p.chunk(3)[2].to(identity) for p in (attention.in_proj_weight, attention.in_proj_bias))
        out = attention.out_proj
        value = F.linear(F.linear(identity, weight, bias), out.weight.to(identity), out.bias.to(identity))
        return self.back_proj(value)[:, None]


class IMAdapter(nn.Module):
    """Down-projection d, identity added to the patches, up-projection of the sum.

    Release: the three convolution branches over the patch map (1×1, 3×3, 5×5, each with BatchNorm and ReLU) make the
    query of the identity attention and nothing else, so the result does not depend on them. Their parameters are kept,
    because the weight file holds them, and are not run; ``tests/parity`` pins that.
    """

    def __init__(self, config: VisionConfig, operations: Any) -> None:
        super().__init__()
        dim = config.adapter_dim
        self.branch1 = ConvBN(dim, dim // 2, 1, operations)
        self.branch2 = nn.ModuleList(
            [ConvBN(dim, dim // 16, 1, operations), ConvBN(dim // 16, dim // 4, 3, operations)]
        )
        self.branch3 = nn.ModuleList(
            [ConvBN(dim, dim // 16, 1, operations), ConvBN(dim // 16, dim // 4, 5, operations)]
        )
        self.D_fc1 = operations.Linear(config.embed_dim, dim)
        self.D_fc2 = operations.Linear(dim, config.embed_dim)
        self.cross_attn = IdentityAttention(config, operations)

    def forward(self, x: torch.Tensor, id_embedding: torch.Tensor, num_prefix_tokens: int) -> torch.Tensor:
        """Adapt the normalised tokens of one block.

        Args:
            x: (B, N, embed_dim).
            id_embedding: (B, id_embedding_dim).
            num_prefix_tokens: How many tokens come before the patches; these receive no identity.

        Returns:
            (B, N, embed_dim).
        """
        down = F.relu(self.D_fc1(x))
        prefix, patches = down[:, :num_prefix_tokens], down[:, num_prefix_tokens:]
        # Release: where the patches receive the identity, the prefix tokens receive themselves.
        return self.D_fc2(torch.cat([prefix + prefix, patches + self.cross_attn(id_embedding)], dim=1))
