"""What turns the latents of ``animate`` to pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from ..appearance import cut_reference
from ..data import Appearance, Face, VideoLatents
from ..errors import ConfigurationError
from ..pipeline import Pipeline
from ..preview import PreviewDecoder, decode_preview, find_tiny_decoder, fit_preview, load_tiny_decoder
from .model import is_toy


def add_decoder_option(parser: argparse.ArgumentParser) -> None:
    """Offer the decoders for a quick look."""
    parser.add_argument(
        "--decoder",
        choices=("vae", "tiny", "linear"),
        default="vae",
        help="vae, or for a quick look: tiny (a small network, `download --preview-decoder`), linear (blurred colours, "
        "needs no file); with --job, the same command with vae then only decodes",
    )


def check_decoder(options: argparse.Namespace) -> None:
    """Refuse a decoder that does not fit the weights, or whose file is missing.

    Raises:
        ConfigurationError: Says which fit.
        WeightsError: Says how to get it.
    """
    if options.decoder == "tiny" and is_toy(options):
        raise ConfigurationError("--decoder tiny knows the latents of the released VAE only; leave it out.")
    if options.decoder == "tiny":
        find_tiny_decoder(options.models)


def decode(
    options: argparse.Namespace,
    pipeline: Pipeline,
    source: tuple[np.ndarray, Face, Appearance],
    latents: VideoLatents,
    on_progress: Callable[[int], None],
) -> Iterator[np.ndarray]:
    """Decode by what ``--decoder`` names; as ``Pipeline.decode``.

    Args:
        source: The portrait, its face, and what was encoded of them.
    """
    if options.decoder == "vae":
        return pipeline.decode(latents, options.decode_chunk_size, on_progress)
    decoder = _preview_decoder(options, pipeline, source)
    return decode_preview(latents, decoder, options.decode_chunk_size, on_progress)


def _preview_decoder(
    options: argparse.Namespace, pipeline: Pipeline, source: tuple[np.ndarray, Face, Appearance]
) -> PreviewDecoder:
    if options.decoder == "tiny":
        dtype = pipeline.vae.decoder.conv_in.weight.dtype
        return load_tiny_decoder(options.models, device=pipeline.device, dtype=dtype)
    portrait, face, appearance = source
    image = cut_reference(portrait, face, appearance.image_latents.shape[-1] * 8).image
    return fit_preview(appearance.image_latents, image, pipeline.vae.config.scaling_factor)
