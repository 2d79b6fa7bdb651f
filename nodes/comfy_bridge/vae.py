"""SVD's VAE as ComfyUI's VAE, and either of the two forms in which it comes as what the core package drives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.latent_formats
import comfy.model_management as management
import comfy.model_patcher
import comfy.sd
import torch
from comfy.ldm.modules.temporal_ae import VideoDecoder
from torch import nn

from ...hunyuan_core.checkpoints import load_network, read_shapes
from ...hunyuan_core.config import SamplingConfig
from ...hunyuan_core.errors import ConfigurationError, WeightsError
from ...hunyuan_core.models.vae import encode_image

_ORIGINAL_KEY = "decoder.mid.block_1.mix_factor"
"""Of SVD's VAE in the names of its original checkpoint."""


class PortraitVAE(comfy.sd.VAE):
    """SVD's VAE in the diffusers format, with which ComfyUI's own VAE nodes work too.

    Args:
        network: diffusers' ``AutoencoderKLTemporalDecoder``; its encoder and decoder may differ in dtype.

    Attributes:
        network: The same, to be driven by ``models.vae``.
    """

    def __init__(self, network: Any) -> None:
        # Without weights core sets every field that its methods of this version use, and stops before the network.
        with _no_weights_expected():
            super().__init__(sd={})
        self.network = network
        self.latent_channels = network.config.latent_channels
        self.first_stage_model = _FirstStage(network)
        self.device = management.vae_device()
        self.output_device = management.intermediate_device()
        # Of what core hands over; encoder and decoder cast it to theirs.
        self.vae_dtype = torch.float32
        self.working_dtypes = [torch.float32]
        # Looked up here, because core swaps the class when it starts.
        patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        self.patcher = patcher(
            self.first_stage_model, load_device=self.device, offload_device=management.vae_offload_device()
        )

    def decode(self, samples_in: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Decode LATENT samples (T, 4, h, w) to an IMAGE, in the released chunks.

        The temporal decoder mixes the frames that it gets together. Core cuts a batch to what fits into the free
        memory, so a chunk may be cut further where 8 frames do not fit; the frames at such a cut, and with tiles all
        frames, then differ a little from the release's.
        """
        if not len(samples_in):
            raise ConfigurationError("samples holds no frame; check the node before it.")
        chunks = samples_in.split(SamplingConfig.decode_chunk_size)
        first = super().decode(chunks[0], *args, **kwargs)
        image = first.new_empty((len(samples_in), *first.shape[1:]))
        image[: len(first)] = first
        for i, chunk in enumerate(chunks[1:], 1):
            start = i * len(first)
            image[start : start + len(chunk)] = super().decode(chunk, *args, **kwargs)
        return image


class _FirstStage(nn.Module):
    """The network as core calls it, with its keys."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder, self.decoder, self.quant_conv = network.encoder, network.decoder, network.quant_conv
        self._network = (network,)  # Not a submodule a second time.

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, 4, H/8, W/8)."""
        return encode_image(self._network[0], x)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(T, 4, h, w), not scaled, to (T, 3, H, W)."""
        weight = self.decoder.conv_in.weight
        return self._network[0].decode(z.to(weight), num_frames=len(z)).sample.float()


def portrait_vae(path: Path, dtype: torch.dtype) -> PortraitVAE:
    """Load the released VAE.

    Args:
        dtype: Of the decoder. Release: the encoder computes in float32 always.

    Raises:
        WeightsError: If the file is missing, damaged, or not SVD's VAE in the diffusers format.
    """
    if _ORIGINAL_KEY in read_shapes(path):
        raise WeightsError(
            f"{path} is SVD's VAE in the format of its original checkpoint: load it with ComfyUI's 'Load VAE', and "
            "connect that in the place of this node."
        )
    network = load_network("vae", path, dtype=torch.float32)
    network.decoder.to(dtype)
    return PortraitVAE(network)


class _CoreTemporalVAE:
    """Core's own VAE of an SVD checkpoint with the interface of diffusers' class, as far as ``models.vae`` uses it.

    It has one dtype for encoder and decoder, the one that ComfyUI chose: in half precision its reference latents
    differ from the release's, which encodes in float32.
    """

    def __init__(self, vae: comfy.sd.VAE) -> None:
        self._model = vae.first_stage_model
        self._device = vae.device
        self.encoder, self.decoder = self._model.encoder, self._model.decoder
        self.config = SimpleNamespace(scaling_factor=comfy.latent_formats.SD15().scale_factor)

    def encode(self, x: torch.Tensor) -> SimpleNamespace:
        # Its weights may lie in main memory until a layer needs them, so they do not tell the device.
        latents = self._model.encode(x.to(self._device))  # The mean: core's regulariser does not sample.
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, z: torch.Tensor, num_frames: int) -> SimpleNamespace:
        # Core's decoder takes the whole batch as one video.
        return SimpleNamespace(sample=self._model.decode(z.to(self._device)))


def temporal_vae(vae: object) -> Any:
    """Get what ``models.vae.encode_image`` and ``decode_frames`` drive from what arrived at a VAE socket.

    Raises:
        ConfigurationError: If it is not SVD's VAE; says what to connect.
    """
    if isinstance(vae, PortraitVAE):
        return vae.network
    first_stage_model = getattr(vae, "first_stage_model", None)
    if isinstance(vae, comfy.sd.VAE) and isinstance(getattr(first_stage_model, "decoder", None), VideoDecoder):
        return _CoreTemporalVAE(vae)
    found = type(vae).__name__ if not isinstance(vae, comfy.sd.VAE) else f"VAE ({type(first_stage_model).__name__})"
    raise ConfigurationError(
        f"vae must be the VAE of Stable Video Diffusion; got a {found}. Connect 'Load HunyuanPortrait VAE', or the VAE "
        "of an SVD checkpoint."
    )


def load_vae(vae: comfy.sd.VAE, activations: float = 0) -> None:
    """Bring a VAE to its device; ComfyUI makes room for it.

    Args:
        activations: Bytes that it needs on top of its weights while it runs.
    """
    management.load_models_gpu([vae.patcher], memory_required=activations, force_full_load=True)


@contextmanager
def _no_weights_expected() -> Iterator[None]:
    def is_other(record: logging.LogRecord) -> bool:
        return "No VAE weights" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)
