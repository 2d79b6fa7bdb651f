"""From a portrait to what the UNet needs to know of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .data import Appearance
from .faces.crops import arcface_crop, image_encoder_input
from .faces.identity import ArcFace
from .models.vae import encode_image
from .models.vision import TokenProjection, VisionEncoder
from .sampling import initial_noise


def encode_identity(reference: np.ndarray, landmarks: np.ndarray, arcface: ArcFace) -> torch.Tensor:
    """Embed the identity of the face.

    Args:
        reference: (S, S, 3) uint8 RGB of ``faces.crops.reference_crop``.
        landmarks: (5, 2) in pixels of the reference.
        arcface: The recognition network.

    Returns:
        (512,) float32 of norm 1.
    """
    return torch.from_numpy(arcface.embed(arcface_crop(reference, landmarks)))


def encode_appearance(
    reference: np.ndarray,
    id_embedding: torch.Tensor | None,
    vision: VisionEncoder,
    token_projection: TokenProjection,
    vae: Any,
    noise_aug_strength: float = 0.0,
    seed: int = 0,
) -> Appearance:
    """Encode the square crop of a portrait.

    Args:
        reference: (S, S, 3) uint8 RGB, S a multiple of 8.
        id_embedding: (512,) of norm 1; None where ArcFace has no face to look at (drawings, animals).
        vision: Runs in its own dtype on its own device, like the other two.
        vae: Release: encodes in float32.
        noise_aug_strength: Deviation of the noise that is added to the reference before the VAE, as in SVD.
        seed: Of the run; that of the noise is derived from it.
    """
    weight = vision.patch_embed.proj.weight
    if id_embedding is None:
        id_embedding = torch.zeros(vision.config.id_embedding_dim)
    image = image_encoder_input(reference, vision.config.image_size).to(weight)
    tokens = token_projection(vision(image, id_embedding[None].to(weight)))

    pixels = torch.from_numpy(reference.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    if noise_aug_strength:
        # Another seed than the sampler's, or both would start with the same numbers.
        pixels = pixels + noise_aug_strength * initial_noise(tuple(pixels.shape), seed ^ 1)
    return Appearance(tokens[0].float().cpu(), encode_image(vae, pixels)[0].cpu(), id_embedding.float().cpu())
