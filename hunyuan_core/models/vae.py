"""The SVD VAE: diffusers' ``AutoencoderKLTemporalDecoder``, built here and driven in fixed chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from ..config import VAEConfig
from .residual import set_norm_groups


def build_vae(config: VAEConfig) -> Any:
    """Build diffusers' ``AutoencoderKLTemporalDecoder`` of the given size, on the current default device."""
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * len(config.block_out_channels),  # pyright: ignore[reportArgumentType]
        block_out_channels=config.block_out_channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        scaling_factor=config.scaling_factor,
    )
    # The class itself knows 32 only.
    set_norm_groups(vae, config.norm_num_groups)
    return vae


def encode_image(vae: Any, image: torch.Tensor) -> torch.Tensor:
    """Encode an image to the mean of its latent distribution.

    Args:
        vae: The VAE; it runs in its own dtype. Release: encoding is done in float32.
        image: (B, 3, H, W) in [-1, 1].

    Returns:
        (B, 4, H/8, W/8) float32, not multiplied by the scaling factor.
    """
    weight = vae.encoder.conv_in.weight
    return vae.encode(image.to(weight)).latent_dist.mode().float()


def decode_frames(
    vae: Any,
    latents: torch.Tensor,
    chunk_size: int,
    first: int = 0,
    last: int | None = None,
    attempt: Callable[[Callable[[], torch.Tensor]], torch.Tensor] = lambda decode: decode(),
) -> Iterator[torch.Tensor]:
    """Decode latents chunk by chunk.

    The temporal decoder mixes the frames of a chunk, so the grid of chunks starts at frame 0 whatever is kept; chunks
    without a kept frame are not decoded.

    Args:
        vae: The VAE; it runs in its own dtype.
        latents: (T, 4, h, w), scaled by the scaling factor, on any device.
        chunk_size: Frames that are decoded together (released: 8).
        first: First frame that is kept.
        last: One past the last frame that is kept.
        attempt: What calls the decoder, once or more often.

    Yields:
        (n, 3, H, W) float32 in [-1, 1], not cut, the kept frames of one chunk, on the VAE's device.
    """
    weight = vae.decoder.conv_in.weight
    last = len(latents) if last is None else last
    for start in range(0, last, chunk_size):
        if start + chunk_size <= first:
            continue
        chunk = latents[start : start + chunk_size].to(weight) / vae.config.scaling_factor
        frames = attempt(lambda chunk=chunk: vae.decode(chunk, num_frames=len(chunk)).sample)
        yield frames[max(first - start, 0) : last - start].float()


def as_frames(chunks: Iterable[torch.Tensor], on_progress: Callable[[int], None] | None = None) -> Iterator[np.ndarray]:
    """Round pixels to pictures.

    Args:
        chunks: (n, 3, H, W) in [-1, 1], not cut.
        on_progress: Called after each frame that was handed out, with their number so far.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    num_done = 0
    for chunk in chunks:
        pixels = ((chunk / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        for frame in pixels.permute(0, 2, 3, 1).cpu().numpy():
            yield frame
            num_done += 1
            if on_progress is not None:
                on_progress(num_done)
