"""Latents to frames, one chunk at a time, with smaller chunks when the memory is full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ...hunyuan_core.errors import ConfigurationError, HunyuanPortraitError, ShapeError
from ...hunyuan_core.models.vae import decode_frames
from . import memory, progress
from .guider import PADDING_KEY
from .vae import load_vae, temporal_vae

SCALE = 8
"""Pixels a side of what one latent decodes to."""

_VALUES_PER_PIXEL = 1100
"""Alive at the peak for each pixel of a chunk; counted: 1024 (4.0 GiB for 8 frames of 512×512 in half precision)."""


@dataclass(frozen=True, eq=False)
class Latents:
    """What a LATENT socket carries of a video.

    Attributes:
        samples: (T, 4, h, w), not multiplied by the scaling factor.
        first: The first frame that is no padding.
        last: One past the last that is none.
    """

    samples: torch.Tensor
    first: int
    last: int

    @classmethod
    def of(cls, value: object) -> Latents:
        """Read a LATENT; without a note of padding in it, all its frames are the video.

        Raises:
            ConfigurationError: If it is something else, or holds nothing but padding.
            HunyuanPortraitError: If it is not finite.
            ShapeError: If its samples are not those of a video.
        """
        samples = value.get("samples") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(samples, torch.Tensor):
            raise ConfigurationError(
                f"samples got a {type(value).__name__}; connect the output of 'HunyuanPortrait Sampler' to it."
            )
        if samples.ndim != 4 or 0 in samples.shape[2:]:
            raise ShapeError(
                f"samples must be (frames, channels, height / {SCALE}, width / {SCALE}); got {tuple(samples.shape)}. "
                "Connect 'HunyuanPortrait Sampler'."
            )
        padding = int(value.get(PADDING_KEY, 0))
        if len(samples) <= 2 * padding:
            raise ConfigurationError(
                f"samples holds {len(samples)} frames, of which {2 * padding} are padding, so none is left to decode; "
                "connect the sampler's whole output."
            )
        if not samples.isfinite().all():
            raise HunyuanPortraitError(
                "samples holds values that are not finite: the sampler before it overflowed, or its inputs are "
                "damaged; load the UNet with weight_dtype bf16 or fp32."
            )
        return cls(samples, padding, len(samples) - padding)

    def __len__(self) -> int:
        """Count the frames of the video."""
        return self.last - self.first

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames, pixels."""
        h, w = self.samples.shape[-2:]
        return h * SCALE, w * SCALE


def decode(vae: Any, latents: Latents, chunk_size: int) -> Iterator[torch.Tensor]:
    """Decode the video in fixed chunks; where the memory is full, go on with chunks of half the size, down to one.

    Args:
        vae: What arrived at a VAE socket.
        chunk_size: Frames that are decoded together; they influence each other, so it changes the result a little.

    Yields:
        (n, H, W, 3) float32 in [0, 1] in main memory, the frames of one chunk that are no padding.

    Raises:
        ConfigurationError: If it is not SVD's VAE.
        ShapeError: If the latents are another model's.
        HunyuanPortraitError: If a frame is not finite.
        OutOfMemoryError: If a single frame is too much.
    """
    network = temporal_vae(vae)
    channels, expected = latents.samples.shape[1], network.decoder.conv_in.weight.shape[1]
    if channels != expected:
        raise ShapeError(
            f"samples has {channels} channels, and this vae decodes {expected}: connect 'HunyuanPortrait Sampler', and "
            "load model and vae of one kind."
        )
    samples = latents.samples * network.config.scaling_factor
    first = latents.first
    while first < latents.last:
        load_vae(vae, _activations(network, min(chunk_size, latents.last), samples))
        progress.check_interrupted()
        try:
            for chunk in decode_frames(network, samples, chunk_size, first, latents.last):
                _check_finite(chunk, network)
                pixels = (chunk / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu()
                first += len(chunk)
                del chunk
                yield pixels
                progress.check_interrupted()
        except Exception as error:
            if not memory.is_out_of_memory(error):
                raise
            if chunk_size == 1:
                height, width = latents.size
                raise memory.out_of_memory(
                    f"Out of memory with chunk_size 1, a single frame of {width}×{height} pixels: lower size of "
                    f"'HunyuanPortrait Appearance (IMAdapter)', or choose fp16 as dtype of the vae. ({error})"
                ) from error
        else:
            return
        # Not before the error is gone, which holds on to what the failed call had made.
        memory.free_cache()
        progress.say(
            f"Out of memory: from frame {first - latents.first} on, {chunk_size // 2} frames are decoded together "
            f"instead of {chunk_size}; the frames differ slightly from those of larger chunks."
        )
        chunk_size //= 2


def _activations(network: Any, num_frames: int, samples: torch.Tensor) -> float:
    """Bytes that decoding a chunk takes. Core's own estimate is twice as high, and would drive the UNet away."""
    height, width = (side * SCALE for side in samples.shape[-2:])
    return num_frames * height * width * _VALUES_PER_PIXEL * network.decoder.conv_in.weight.dtype.itemsize


def _check_finite(frames: torch.Tensor, network: Any) -> None:
    if not frames.isfinite().all():
        dtype = str(network.decoder.conv_in.weight.dtype).removeprefix("torch.")
        raise HunyuanPortraitError(
            f"The decoded frames are not finite: the samples are damaged, or the VAE overflowed in {dtype}; load the "
            "VAE with dtype fp32."
        )
