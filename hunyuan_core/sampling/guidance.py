"""Three-branch guidance."""

from __future__ import annotations

from ..data import Branch


def branch_weights(image_scale: float, motion_scale: float) -> dict[Branch, float]:
    """Weights of the branches that have to run.

    v = v₀ + g_image (v₁ - v₀) + g_motion (v₂ - v₁) = (1 - g_image) v₀ + (g_image - g_motion) v₁ + g_motion v₂.
    A branch of weight 0 is left out: with equal scales, the default, the image-only one.

    Args:
        image_scale: Weight of appearance over no condition; 1 is off.
        motion_scale: Weight of appearance and motion over appearance alone; 1 is off.

    Returns:
        Branches in ascending order; the weights add up to 1.
    """
    weights = {
        Branch.UNCONDITIONAL: 1.0 - image_scale,
        Branch.IMAGE: image_scale - motion_scale,
        Branch.MOTION: motion_scale,
    }
    return {branch: weight for branch, weight in weights.items() if weight != 0.0}


def guidance_ramp(limits: tuple[float, float], num_steps: int) -> list[float]:
    """Scale at each step, linear from the first to the last of the limits; a single step takes the first."""
    first, last = limits
    return [first + (last - first) * (i / max(num_steps - 1, 1)) for i in range(num_steps)]
