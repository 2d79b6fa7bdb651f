"""The parts that the appearance of a portrait is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hunyuan_core.appearance import (
    check_size,
    cut_reference,
    encode_appearance,
    encode_identity,
    encode_image_latents,
    encode_image_tokens,
)
from hunyuan_core.data import Face
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.faces.crops import reference_crop, square_box, to_crop
from hunyuan_core.faces.identity import ArcFace
from hunyuan_core.pipeline import Pipeline

SIZE = 64
FACE = Face(np.array([30.0, 20, 60, 55]), np.array([[37.0, 30], [53, 30], [45, 38], [39, 46], [51, 46]]))
PORTRAIT = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)


class Colours(ArcFace):
    """Recognises people by the colours of their aligned face; the real network is tested with its file."""

    def __init__(self) -> None:
        pass

    def embed(self, crop: np.ndarray) -> np.ndarray:
        embedding = np.zeros(512, np.float32)
        embedding[:3] = crop.mean(axis=(0, 1))
        return embedding / np.linalg.norm(embedding)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.untrained_tiny(device="cpu")


def identity(**options: float) -> torch.Tensor:
    reference = cut_reference(PORTRAIT, FACE, SIZE)
    return encode_identity(reference.image, reference.landmarks, Colours(), **options)


def test_the_reference_is_the_square_around_the_face() -> None:
    reference = cut_reference(PORTRAIT, FACE, SIZE)

    assert reference.square == square_box(FACE.box, 80, 96)
    assert np.array_equal(reference.image, reference_crop(PORTRAIT, FACE.box, SIZE))
    assert np.array_equal(reference.landmarks, to_crop(FACE.landmarks, reference.square, SIZE))


@pytest.mark.parametrize("size", [56, 60, 4104])
def test_a_size_that_the_networks_cannot_compute(size: int) -> None:
    for refuse in (check_size, lambda size: cut_reference(PORTRAIT, FACE, size)):
        with pytest.raises(ConfigurationError, match=f"multiple of 8 from 64 to 4096; got {size}"):
            refuse(size)


def test_the_strength_scales_the_identity() -> None:
    released = identity()

    assert released.norm() == pytest.approx(1)
    assert torch.equal(identity(identity_strength=1.0), released)
    assert torch.equal(identity(identity_strength=0.5), released / 2)
    assert identity(identity_strength=0).count_nonzero() == 0


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan")])
def test_a_strength_out_of_range(strength: float) -> None:
    with pytest.raises(ConfigurationError, match="identity_strength must be from 0 to 2"):
        identity(identity_strength=strength)


@torch.inference_mode()
def test_the_parts_make_up_the_whole(pipeline: Pipeline) -> None:
    reference = cut_reference(PORTRAIT, FACE, SIZE)
    vision = pipeline.vision, pipeline.token_projection

    whole = encode_appearance(reference.image, identity(), *vision, pipeline.vae, 0.1, 7)
    tokens = encode_image_tokens(reference.image, identity(), *vision)
    latents = encode_image_latents(reference.image, pipeline.vae, 0.1, 7)

    assert torch.equal(whole.image_tokens, tokens)
    assert torch.equal(whole.image_latents, latents)
    assert torch.equal(whole.id_embedding, identity())
    assert not torch.equal(latents, encode_image_latents(reference.image, pipeline.vae))
    assert not torch.equal(tokens, encode_image_tokens(reference.image, identity() * 2, *vision))


@torch.inference_mode()
def test_strength_0_is_no_identity(pipeline: Pipeline) -> None:
    reference = cut_reference(PORTRAIT, FACE, SIZE).image
    networks = pipeline.vision, pipeline.token_projection, pipeline.vae

    without, muted, full = (
        encode_appearance(reference, embedding, *networks)
        for embedding in (None, identity(identity_strength=0), identity())
    )

    assert torch.equal(without.image_tokens, muted.image_tokens)
    assert torch.equal(without.id_embedding, muted.id_embedding)
    assert not torch.equal(without.image_tokens, full.image_tokens)


@torch.inference_mode()
def test_the_pipeline_looks_at_the_same_face(pipeline: Pipeline) -> None:
    appearance = replace(pipeline, arcface=Colours()).encode_appearance(PORTRAIT, FACE, size=SIZE)

    assert torch.equal(appearance.id_embedding, identity())
