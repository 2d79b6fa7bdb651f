"""Decoders for a quick look in place of the VAE: a small network, or a linear map that is fitted to the portrait.

Both decode each frame alone and only resemble what the VAE gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .checkpoints import build_network
from .checkpoints.files import PREVIEW_FILES, locate, models_folder
from .data import VideoLatents
from .errors import ShapeError, WeightsError
from .models.vae import as_frames

SCALE = 8
"""Pixels a side of what one latent decodes to."""

PreviewDecoder = Callable[[torch.Tensor], torch.Tensor]
"""Maps latents, (n, 4, h, w) multiplied by the scaling factor, to (n, 3, H, W) in [-1, 1], not cut."""


@torch.inference_mode()
def decode_preview(
    latents: VideoLatents,
    decoder: PreviewDecoder,
    chunk_size: int = 8,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Decode latents to frames and drop the padding, as ``Pipeline.decode`` does.

    Args:
        latents: Of ``Pipeline.sample``.
        decoder: Of ``fit_preview`` or ``load_tiny_decoder``.
        chunk_size: Frames that are decoded together; only a matter of memory.
        on_progress: Called after each frame that was handed out, with their number so far.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    kept = latents.samples[latents.num_padding_frames : len(latents.samples) - latents.num_padding_frames]
    yield from as_frames(map(decoder, kept.split(chunk_size)), on_progress)


@dataclass(frozen=True, eq=False)
class LinearDecoder:
    """A colour for each latent, enlarged.

    Attributes:
        weight: (3, 4) float32.
        bias: (3,) float32.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode; see ``PreviewDecoder``."""
        latents = latents.to(self.weight)
        colours = F.conv2d(latents, self.weight[:, :, None, None], self.bias)
        return F.interpolate(colours, scale_factor=SCALE, mode="bilinear")


def fit_preview(image_latents: torch.Tensor, image: np.ndarray, scaling_factor: float) -> LinearDecoder:
    """Fit a linear map to the one picture whose latents are known, by least squares.

    Args:
        image_latents: (4, h, w), those of ``Appearance``.
        image: (8h, 8w, 3) uint8 RGB, the picture that they were encoded from.
        scaling_factor: Of the VAE.

    Raises:
        ShapeError: If the two do not belong together.
    """
    expected = (*(side * SCALE for side in image_latents.shape[-2:]), 3)
    if image.shape != expected:
        raise ShapeError(f"image must be {expected} for these image_latents; got {image.shape}.")
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).double() / 127.5 - 1
    colours = F.avg_pool2d(pixels[None], SCALE)[0].flatten(1).T  # (hw, 3)
    known = image_latents.double().cpu().flatten(1).T * scaling_factor  # (hw, 4)
    known = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)
    # This driver also takes a picture of one colour.
    solution = torch.linalg.lstsq(known, colours, driver="gelsd").solution.float()  # (5, 3)
    return LinearDecoder(solution[:-1].T.contiguous(), solution[-1].contiguous())


def load_tiny_decoder(
    folder: str | Path | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> PreviewDecoder:
    """Load TAESD's decoder (github.com/madebyollin/taesd), which knows the latents of Stable Diffusion 1, 2 and Video.

    Args:
        folder: As for ``find_models``.

    Raises:
        WeightsError: If its file is missing, damaged or another model's.
    """
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    network = build_network(AutoencoderTiny, find_tiny_decoder(folder), dtype=dtype, device=device)
    decoder, weight = network.decoder, next(network.decoder.parameters())
    return lambda latents: decoder(latents.to(weight)).float()


def find_tiny_decoder(folder: str | Path | None = None) -> Path:
    """Find the file of ``load_tiny_decoder``.

    Raises:
        WeightsError: If it is missing; holds the command that fetches it.
    """
    folder = models_folder(folder)
    (file,) = PREVIEW_FILES
    path = locate(folder, file)
    if path is None:
        raise WeightsError(
            f"The small decoder {file.filename} is not in the models folder {folder}. Fetch its 10 MB with "
            "`hunyuan-portrait download --preview-decoder`, or decode without it: --decoder linear."
        )
    return path
