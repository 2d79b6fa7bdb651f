"""From a portrait to what the UNet needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .data import Appearance, Face
from .errors import ConfigurationError
from .faces.crops import arcface_crop, image_encoder_input, reference_crop, square_box, to_crop
from .faces.identity import ArcFace
from .models.vae import encode_image
from .models.vision import TokenProjection, VisionEncoder
from .sampling import initial_noise


@dataclass(frozen=True, eq=False)
class Reference:
    """The square of a portrait that is animated.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        square: x1, y1, x2, y2: where it was cut out of the portrait, pixels.
        landmarks: (5, 2) float64, pixels of ``image``.
    """

    image: np.ndarray
    square: tuple[int, int, int, int]
    landmarks: np.ndarray


def cut_reference(portrait: np.ndarray, face: Face, size: int = 512) -> Reference:
    """Cut the portrait to the square around its face.

    Args:
        portrait: (H, W, 3) uint8 RGB.
        face: Its box chooses the square, its landmarks align the crop for ArcFace.
        size: Side of the square that is animated, a multiple of 8 (released: 512).

    Raises:
        ConfigurationError: If the size is not one that the networks can compute, or the box is unusable.
    """
    check_size(size)
    image = reference_crop(portrait, face.box, size)
    square = square_box(face.box, *portrait.shape[:2])
    return Reference(image, square, to_crop(face.landmarks, square, size))


def check_size(size: int) -> None:
    """Refuse a side of the animated square that the networks cannot compute.

    Raises:
        ConfigurationError: If it is not a multiple of 8 from 64 to 4096.
    """
    if size % 8 or not 64 <= size <= 4096:
        raise ConfigurationError(f"size must be a multiple of 8 from 64 to 4096; got {size} (released: 512).")


def encode_identity(
    reference: np.ndarray, landmarks: np.ndarray, arcface: ArcFace, identity_strength: float = 1.0
) -> torch.Tensor:
    """Embed the identity of the face.

    Args:
        reference: (S, S, 3) uint8 RGB of ``faces.crops.reference_crop``.
        landmarks: (5, 2) in pixels of the reference.
        arcface: The recognition network.
        identity_strength: 0 to 2, multiplies the embedding (released: 1); 0 is as without a face.

    Returns:
        (512,) float32, its norm the strength.

    Raises:
        ConfigurationError: If the strength is out of range.
    """
    if not 0 <= identity_strength <= 2:
        raise ConfigurationError(f"identity_strength must be from 0 to 2; got {identity_strength} (released: 1).")
    return torch.from_numpy(arcface.embed(arcface_crop(reference, landmarks))) * identity_strength


def encode_appearance(
    reference: np.ndarray,
    id_embedding: torch.Tensor | None,
    vision: VisionEncoder,
    token_projection: TokenProjection,
    vae: Any,
    noise_aug_strength: float = 0.0,
    seed: int = 0,
) -> Appearance:
    """Encode the square crop of a portrait; see ``encode_image_tokens`` and ``encode_image_latents``."""
    if id_embedding is None:
        id_embedding = torch.zeros(vision.config.id_embedding_dim)
    tokens = encode_image_tokens(reference, id_embedding, vision, token_projection)
    return Appearance(
        tokens, encode_image_latents(reference, vae, noise_aug_strength, seed), id_embedding.float().cpu()
    )


def encode_image_tokens(
    reference: np.ndarray, id_embedding: torch.Tensor, vision: VisionEncoder, token_projection: TokenProjection
) -> torch.Tensor:
    """Encode who and what the portrait shows.

    Args:
        reference: (S, S, 3) uint8 RGB, S a multiple of 8.
        id_embedding: (512,) of ``encode_identity``; zeros where ArcFace has no face to look at (drawings, animals).
        vision: Runs in its own dtype on its own device, like the projection.

    Returns:
        (64, C) float32 on the CPU.
    """
    weight = vision.patch_embed.proj.weight
    image = image_encoder_input(reference, vision.config.image_size).to(weight)
    return token_projection(vision(image, id_embedding[None].to(weight)))[0].float().cpu()


def encode_image_latents(
    reference: np.ndarray, vae: Any, noise_aug_strength: float = 0.0, seed: int = 0
) -> torch.Tensor:
    """Encode the picture that the video starts from.

    Args:
        reference: (S, S, 3) uint8 RGB, S a multiple of 8.
        vae: Runs in its own dtype on its own device. Release: encodes in float32.
        noise_aug_strength: Deviation of the noise that is added to the reference before the VAE, as in SVD.
        seed: Of the run; that of the noise is derived from it.

    Returns:
        (4, S/8, S/8) float32 on the CPU, not multiplied by the scaling factor.
    """
    pixels = torch.from_numpy(reference.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    if noise_aug_strength:
        # Another seed than the sampler's, or both would start with the same numbers.
        pixels = pixels + noise_aug_strength * initial_noise(tuple(pixels.shape), seed ^ 1)
    return encode_image(vae, pixels)[0].cpu()
