"""The diffusion objective of SVD: noise levels, scaling and loss weight of EDM with v-prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..data import Branch


@dataclass(frozen=True, eq=False)
class Noise:
    """What is drawn at random for a batch of clips.

    Attributes:
        sigma: (B,) float32 noise levels.
        values: (B, T, C, h, w) float32 of unit variance.
        branches: What each clip is told.
    """

    sigma: torch.Tensor
    values: torch.Tensor
    branches: tuple[Branch, ...]


def draw_noise(
    seeds: torch.Tensor,
    shape: tuple[int, ...],
    sigma_mean: float,
    sigma_std: float,
    drop_all: float,
    drop_motion: float,
) -> Noise:
    """Draw noise that depends on each clip's own seed alone, so that it is the same however clips are distributed.

    ln σ is normal (Karras et al. 2022, eq. 24 with SVD's constants).

    Args:
        seeds: (B,) int64.
        shape: Of one clip's latents.
        sigma_mean, sigma_std: Of ln σ.
        drop_all: Share of clips that see neither portrait nor motion.
        drop_motion: Share of clips that see the portrait alone.
    """
    sigmas, values, branches = [], [], []
    for seed in seeds.tolist():
        generator = torch.Generator().manual_seed(seed)
        sigmas.append(torch.exp(sigma_mean + sigma_std * torch.randn((), generator=generator)))
        choice = float(torch.rand((), generator=generator))
        if choice < drop_all:
            branches.append(Branch.UNCONDITIONAL)
        else:
            branches.append(Branch.IMAGE if choice < drop_all + drop_motion else Branch.MOTION)
        values.append(torch.randn(shape, generator=generator))
    return Noise(torch.stack(sigmas), torch.stack(values), tuple(branches))


def seeded_noise(seeds: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Draw standard normal noise, (B, *shape) float32 on the CPU, each row by its own seed (B,)."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()])


def noisy_input(latents: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Scale noisy latents to unit variance: (x + σ n) / √(σ² + 1), shapes (B, T, C, h, w)."""
    sigma = noise.sigma.to(latents).view(-1, 1, 1, 1, 1)
    return (latents + sigma * noise.values.to(latents)) / torch.sqrt(sigma**2 + 1)


def v_loss(v: torch.Tensor, latents: torch.Tensor, noise: Noise, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Loss of each clip, (B,); a mean weighted by (B, T, h, w), or a plain one.

    With σ_data = 1 the weight (σ² + 1) / σ² of the denoised estimate's error is that of the plain error of v, whose
    target is (σ x − n) · −1 / √(σ² + 1) = (n − σ x) / √(σ² + 1).
    """
    sigma = noise.sigma.to(latents).view(-1, 1, 1, 1, 1)
    target = (noise.values.to(latents) - sigma * latents) / torch.sqrt(sigma**2 + 1)
    error = (v.float() - target).square().mean(dim=2)
    if weight is None:
        return error.mean(dim=(1, 2, 3))
    return (error * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
