"""What is sent to a device while it works, without making the host wait for it.

A tensor made of a list of numbers, or copied from memory whose pages may move, reaches a GPU only when all work before
it is done; the GPU then stands still until the host has sent new work.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def send(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy to a device in the background; what the device does with the copy comes after it."""
    if x.device.type == "cpu" and device.type == "cuda":
        x = x.pin_memory()
    # On MPS the copy could read memory that is free again.
    return x.to(device, non_blocking=device.type != "mps")


def frame_indices(frames: Sequence[int], num_frames: int, device: torch.device) -> torch.Tensor:
    """Indices of a window's frames, (n,) int64, computed where they are needed.

    Args:
        frames: Of 0 to num_frames - 1. Those that do not follow each other around the circle make the host wait.
    """
    first, n = frames[0], len(frames)
    if any(frame != (first + i) % num_frames for i, frame in enumerate(frames)):
        return torch.tensor(frames, device=device)
    return torch.arange(first, first + n, device=device) % num_frames


def take_frames(values: torch.Tensor, frames: Sequence[int], device: torch.device) -> torch.Tensor:
    """Take a window's frames of (T, ...) values to a device."""
    return send(values[frame_indices(frames, len(values), values.device)], device)
