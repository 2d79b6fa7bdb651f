"""Noise levels."""

from __future__ import annotations

import torch

from ..errors import ConfigurationError

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 700.0, 7.0

ALIGN_YOUR_STEPS = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""Levels that Sabour et al. 2024 (arXiv 2404.14507) found for Stable Video Diffusion and ten steps."""


def karras_sigmas(
    num_steps: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = RHO
) -> torch.Tensor:
    """Noise levels of Karras et al. 2022 (arXiv 2206.00364, eq. 5), with SVD's range.

    Returns:
        (num_steps + 1,) float32, descending from sigma_max to sigma_min, then 0.

    Raises:
        ConfigurationError: If there is no step.
    """
    if num_steps < 1:
        raise ConfigurationError(f"num_inference_steps must be at least 1; got {num_steps}.")
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (high + ramp * (low - high)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def align_your_steps_sigmas(num_steps: int) -> torch.Tensor:
    """Noise levels of Align Your Steps (Sabour et al. 2024, arXiv 2404.14507) for Stable Video Diffusion.

    Changes: far fewer levels, placed where the error of the solver is made. Other numbers of steps than ten take the
    published levels interpolated log-linearly over the index, as the authors do. The last level is 0 in place of 0.002,
    as it is used for ten steps: each step but the last then starts and ends at a published level.

    Returns:
        (num_steps + 1,) float32, descending from 700 to 0.

    Raises:
        ConfigurationError: If there is no step.
    """
    if num_steps < 1:
        raise ConfigurationError(f"num_inference_steps must be at least 1; got {num_steps}.")
    published = torch.tensor(ALIGN_YOUR_STEPS, dtype=torch.float64).log()
    places = torch.linspace(0, len(published) - 1, num_steps + 1, dtype=torch.float64)[:-1]
    before = places.floor().long()
    levels = torch.lerp(published[before], published[before + 1], places - before).exp()
    return torch.cat([levels, levels.new_zeros(1)]).float()


def apply_strength(sigmas: torch.Tensor, strength: float) -> torch.Tensor:
    """Leave out the first steps: of n, the last int(n · strength) remain.

    Raises:
        ConfigurationError: If no step remains.
    """
    num_steps = len(sigmas) - 1
    kept = int(num_steps * strength)
    if not 1 <= kept <= num_steps:
        raise ConfigurationError(f"strength must leave 1 to {num_steps} steps; got {strength}, which leaves {kept}.")
    return sigmas[num_steps - kept :]
