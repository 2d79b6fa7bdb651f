"""Arithmetic of angles in degrees, where 179 and -179 are two apart."""

from __future__ import annotations

import torch


def wrap(angles: torch.Tensor) -> torch.Tensor:
    """Bring angles to [-180, 180]; those that are there already keep their bits."""
    return torch.where(angles.abs() > 180, torch.remainder(angles + 180, 360) - 180, angles)


def unwrap(angles: torch.Tensor) -> torch.Tensor:
    """Add whole turns, so that no frame is more than 180 from the one before.

    Args:
        angles: (T, …); the first frame stays as it is.
    """
    turns = torch.round(angles.diff(dim=0) / 360).cumsum(dim=0)
    return angles - 360 * torch.cat([torch.zeros_like(angles[:1]), turns])


def turn(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Go from one angle towards another by the shorter way.

    Args:
        a: In [-180, 180], as ``b``.
        weight: In [0, 1]; 0 gives exactly ``a``, 1 exactly ``b``.
    """
    arc = wrap(b - a)
    # Measured from the nearer end, so that both ends are exact.
    return wrap(torch.where(weight < 0.5, a + weight * arc, b - (1 - weight) * arc))
