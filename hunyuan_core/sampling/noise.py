"""The noise a run starts from."""

from __future__ import annotations

import torch


def initial_noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Unit normal noise that depends on nothing but the shape and the seed.

    It is drawn on the CPU by a generator of its own, so that it is the same on every device and whatever ran before.

    Returns:
        float32 on the CPU.
    """
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
