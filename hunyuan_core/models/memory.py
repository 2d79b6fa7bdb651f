"""How much memory the UNet needs, and the exact ways to need less."""

from __future__ import annotations

from enum import IntEnum

import torch

from ..config import UNetConfig


class MemoryMode(IntEnum):
    """How the branches of a window are computed, from the fastest to the smallest; the results differ by rounding."""

    TOGETHER = 0
    """All branches in one call."""
    ONE_BRANCH = 1
    """One branch at a time."""
    ONE_BRANCH_CHUNKED = 2
    """One branch at a time, its feed-forwards in parts."""


FEED_FORWARD_CHUNKS = 8
"""Parts of ``ONE_BRANCH_CHUNKED``; with more, other layers need the most memory."""

# Values alive at the peak for each row, frame, latent pixel and channel of the first level: counted on the meta device
# (benchmarks/live_bytes.py); a test holds them.
_VALUES_WHOLE = 26.7
_VALUES_CHUNKED = 15.8


def peak_activations(
    config: UNetConfig, num_branches: int, num_frames: int, h: int, w: int, dtype: torch.dtype, mode: MemoryMode
) -> int:
    """Estimate the bytes that one call of the UNet needs on top of its weights.

    Counted for the released architecture, without the workspace of convolutions.

    Args:
        num_branches: Guidance branches of the window.
        num_frames: Of the window.
        h, w: Of the latents.
    """
    rows = num_branches if mode is MemoryMode.TOGETHER else 1
    values = _VALUES_CHUNKED if mode is MemoryMode.ONE_BRANCH_CHUNKED else _VALUES_WHOLE
    return round(values * rows * num_frames * h * w * config.block_out_channels[0] * dtype.itemsize)


def context_bytes(config: UNetConfig, num_frames: int, dtype: torch.dtype, num_tokens: int = 64) -> int:
    """Count the bytes of the motion tokens' keys and values that are kept for a video of so many frames."""
    down = sum(
        config.layers_per_block * width
        for width, attends in zip(config.block_out_channels, config.has_attention, strict=True)
        if attends
    )
    up = down * (config.layers_per_block + 1) // config.layers_per_block
    return 2 * (down + up + config.block_out_channels[-1]) * num_frames * num_tokens * dtype.itemsize
