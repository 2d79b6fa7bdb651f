"""Appearance: what the portrait contributes."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..hunyuan_core.appearance import (
    Reference,
    check_size,
    cut_reference,
    encode_identity,
    encode_image_latents,
    encode_image_tokens,
)
from ..hunyuan_core.config import SamplingConfig
from ..hunyuan_core.data import Appearance, Face, FaceTrack
from ..hunyuan_core.errors import ConfigurationError
from ..hunyuan_core.faces.identity import ArcFace
from ..hunyuan_core.faces.manual import has_guessed_landmarks
from . import types as sockets
from .checking import blaming, checked
from .comfy_bridge import images, memory, progress
from .comfy_bridge import vae as vaes
from .comfy_bridge.guider import PADDING_KEY

DEFAULTS = SamplingConfig()
TOKEN_ACTIVATIONS = 64 * 2**20
# 2560 bytes for each pixel are alive at most in float32; the rest is for what the kernels take.
LATENT_ACTIVATIONS_PER_PIXEL = 4000


class HunyuanPortraitEncodeAppearance(io.ComfyNode):
    """Encode a portrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitEncodeAppearance",
            display_name="HunyuanPortrait Appearance (IMAdapter)",
            category="HunyuanPortrait/Appearance",
            description=(
                "Cut the square around the portrait's face and encode who it shows and how it looks. Without ArcFace "
                "the identity is left out, as is right for drawings and animals."
            ),
            inputs=[
                sockets.ImageEncoder.Input("image_encoder", tooltip="From 'Load HunyuanPortrait Image Encoder'."),
                io.Vae.Input(
                    "vae", tooltip="From 'Load HunyuanPortrait VAE', or the VAE of a Stable Video Diffusion checkpoint."
                ),
                io.Image.Input("portrait", tooltip="One picture of the face that is animated."),
                sockets.FaceTrack.Input(
                    "track", tooltip="The face in this picture, from 'HunyuanPortrait Detect Faces'."
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Side of the animated square in pixels, a multiple of 8; released: 512. Memory and time "
                    "grow with its square.",
                ),
                io.Float.Input(
                    "identity_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Strength of ArcFace's identity; 1 as released, 0 leaves it out.",
                ),
                io.Float.Input(
                    "noise_aug_strength",
                    default=DEFAULTS.noise_aug_strength,
                    min=0.0,
                    max=100.0,
                    step=0.01,
                    tooltip="Noise added to the portrait before the VAE; 0 as released. Set the sampler's to the same.",
                    extra_dict={"advanced": True},
                ),
                io.Int.Input(
                    "seed",
                    default=DEFAULTS.seed,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Of that noise; without it, it has no effect.",
                    extra_dict={"advanced": True},
                ),
                sockets.ArcFace.Input(
                    "arcface",
                    optional=True,
                    tooltip="From 'Load HunyuanPortrait ArcFace'; leave it out for drawings and animals.",
                ),
            ],
            outputs=[
                sockets.Appearance.Output(display_name="appearance", tooltip="For the sampler, with any motion."),
                io.BoundingBox.Output(
                    display_name="square", tooltip="Where the square lies in the portrait, in pixels; for Paste Back."
                ),
                io.Image.Output(display_name="crop", tooltip="The square that is animated, in its size."),
                io.Latent.Output(
                    display_name="reference_latents", tooltip="The crop as the VAE encodes it, of one frame."
                ),
                io.String.Output(
                    display_name="report", tooltip="Place and size of the square, the identity, and warnings."
                ),
            ],
            **sockets.supported(search_aliases=["imadapter", "identity", "reference image", "encode portrait"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        image_encoder: Any,
        vae: Any,
        portrait: Any,
        track: Any,
        size: int,
        identity_strength: float,
        noise_aug_strength: float,
        seed: int,
        arcface: Any = None,
    ) -> io.NodeOutput:
        """Encode."""
        encoder = sockets.expect(
            image_encoder, memory.ImageEncoder, "image_encoder", "Load HunyuanPortrait Image Encoder"
        )
        autoencoder = vaes.temporal_vae(vae)
        config = SamplingConfig(noise_aug_strength=noise_aug_strength, seed=seed)
        face = _only_face(sockets.expect(track, FaceTrack, "track", "HunyuanPortrait Detect Faces"))
        picture = images.one_image(portrait, "portrait")
        check_size(size)
        with blaming("track does not fit portrait"):
            reference = cut_reference(picture, face, size)

        id_embedding = torch.zeros(ArcFace.embedding_dim)
        if arcface is not None:
            network = sockets.expect(arcface, ArcFace, "arcface", "Load HunyuanPortrait ArcFace")
            id_embedding = encode_identity(reference.image, reference.landmarks, network, identity_strength)
        memory.load(encoder.vision, encoder.token_projection, activations=TOKEN_ACTIVATIONS)
        tokens = encode_image_tokens(
            reference.image, id_embedding, encoder.vision.network, encoder.token_projection.network
        )
        progress.check_interrupted()
        vaes.load_vae(vae, LATENT_ACTIVATIONS_PER_PIXEL * size**2)
        latents = encode_image_latents(reference.image, autoencoder, config.noise_aug_strength, config.seed)

        report = "\n".join(
            [
                *_about_square(reference, size),
                *_about_identity(face, arcface is not None, identity_strength),
                *_about_vae(autoencoder),
            ]
        )
        progress.say(report)
        x1, y1, x2, y2 = reference.square
        crop = images.to_image([reference.image])
        return io.NodeOutput(
            Appearance(tokens, latents, id_embedding),
            {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1},
            crop,
            {"samples": latents[None], PADDING_KEY: 0},
            report,
            ui=ui.PreviewImage(crop, cls=cls),
        )


def _only_face(track: FaceTrack) -> Face:
    if len(track) != 1:
        raise ConfigurationError(
            f"track has {len(track)} frames, but portrait is one picture; connect the track of the portrait, not that "
            f"of the driving video."
        )
    return Face(track.boxes[0], track.landmarks[0])


def _about_square(reference: Reference, size: int) -> list[str]:
    x1, y1, x2, y2 = reference.square
    lines = [f"square of {x2 - x1}×{y2 - y1} pixels at ({x1}, {y1}), animated at {size}×{size}"]
    if 2 * (x2 - x1) < size:
        lines.append(
            "Warning: the square is enlarged more than twice, so the result is soft; use a larger portrait or a "
            "smaller size."
        )
    return lines


def _about_identity(face: Face, has_arcface: bool, strength: float) -> list[str]:
    if not has_arcface:
        return ["identity: left out, a zero vector, because there is no arcface"]
    lines = [f"identity: from ArcFace, strength {strength:g}"]
    if has_guessed_landmarks(face):
        lines.append(
            "Warning: the face is a box without landmarks, so its identity is read at guessed places; disconnect "
            "arcface for a drawing or an animal."
        )
    return lines


def _about_vae(vae: Any) -> list[str]:
    dtype = vae.encoder.conv_in.weight.dtype
    if dtype is torch.float32:
        return []
    return [
        f"Warning: this VAE encodes in {str(dtype).removeprefix('torch.')}, the release in float32; use 'Load "
        f"HunyuanPortrait VAE', or start ComfyUI with --fp32-vae."
    ]


NODES = [HunyuanPortraitEncodeAppearance]
