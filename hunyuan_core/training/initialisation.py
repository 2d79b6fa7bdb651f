"""Random weights that a VAE learns quickly from."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import nn

_QUIET = ("*.conv2", "*coder.mid_block.attentions.*.to_out.0")
"""Last layers of what is added to its own input."""
_QUIET_SCALE = 0.05  # at 0 the layers before them would have no gradient at first
_IDENTITY = ("*time_conv_out", "*quant_conv", "*upsamplers.*.conv")
_ORTHOGONAL = ("*conv_in", "*conv_out", "*conv_shortcut", "*downsamplers.*.conv")


@torch.no_grad()
def start_plainly(vae: nn.Module) -> None:
    """Let a VAE begin as little more than its convolutions between resolutions.

    Residual blocks and attention add next to nothing at first (as in Dhariwal and Nichol 2021), and what joins them
    passes on all channels with their variance. PyTorch's own start loses a factor of √3 at each layer: a small VAE then
    learns brightness long before it learns colours.
    """
    for name, layer in vae.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
            continue
        if any(fnmatchcase(name, pattern) for pattern in _QUIET):
            layer.weight.mul_(_QUIET_SCALE)
        elif any(fnmatchcase(name, pattern) for pattern in _IDENTITY):
            nn.init.dirac_(layer.weight)
        elif any(fnmatchcase(name, pattern) for pattern in _ORTHOGONAL):
            nn.init.orthogonal_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
