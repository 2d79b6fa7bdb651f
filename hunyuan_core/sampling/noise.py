"""The noise a run starts from."""

from __future__ import annotations

import torch


def initial_noise(shape: tuple[int, ...], seed: int, margin: int = 0) -> torch.Tensor:
    """Unit normal noise that depends on nothing but the shape and the seed.

    It is drawn on the CPU by a generator of its own, so that it is the same on every device and whatever ran before.

    Args:
        shape: The first is the number of frames.
        seed: Of the generator.
        margin: Frames that are drawn and dropped at each end, so that a video with less padding has the same noise in
            the frames that it keeps.

    Returns:
        float32 on the CPU.
    """
    drawn = (shape[0] + 2 * margin, *shape[1:])
    noise = torch.randn(drawn, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
    return noise[margin : margin + shape[0]]
