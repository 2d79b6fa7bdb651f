"""Each part of the model that can be switched off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hunyuan_core.ablation import ABLATIONS, ablate
from hunyuan_core.appearance import encode_image_tokens
from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Face, FaceTrack
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.faces.identity import ArcFace
from hunyuan_core.faces.manual import ManualDetector
from hunyuan_core.pipeline import Pipeline

BOX = (20, 20, 80, 90)
RANDOM = np.random.default_rng(0)
FRAMES = [RANDOM.integers(0, 256, (96, 100, 3)).astype(np.uint8) for _ in range(3)]


class Constant(ArcFace):
    """An identity without a file."""

    def __init__(self) -> None:
        self.path = ""

    def embed(self, crop: np.ndarray) -> np.ndarray:
        return np.full(512, 512**-0.5, np.float32)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return replace(Pipeline.untrained_tiny(device="cpu"), arcface=Constant())


def face() -> Face:
    return ManualDetector(box=BOX).detect(FRAMES[0])[0]


def track() -> FaceTrack:
    one = face()
    return FaceTrack(np.stack([one.box] * 3), np.stack([one.landmarks] * 3), np.ones(3, bool))


@torch.inference_mode()
def test_without_memories_all_tokens_of_a_frame_are_one(pipeline: Pipeline) -> None:
    features, levels = torch.randn(2, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 90])

    whole = pipeline.refiner(features, levels, levels)
    without = ablate(pipeline, "memory-bank").pipeline.refiner(features, levels, levels)

    assert whole.std(dim=1).max() > 0.1
    torch.testing.assert_close(without, without[:, :1].expand_as(without), rtol=0, atol=1e-5)
    assert (without[0] - without[1]).abs().max() > 1e-3
    # The model itself keeps its memories.
    assert pipeline.refiner.connector.latents.abs().max() > 0


def test_without_intensity_every_chunk_has_the_middle_level(pipeline: Pipeline) -> None:
    ablated = ablate(pipeline, "intensity")

    assert (ablated.intensity, ablated.pipeline) == (64, pipeline)
    assert ablate(pipeline).intensity is None


@torch.inference_mode()
def test_without_imadapter_the_identity_reaches_nothing(pipeline: Pipeline) -> None:
    image = np.ascontiguousarray(FRAMES[0][:96, :96])
    identities = torch.zeros(512), torch.ones(512)

    def tokens(model: Pipeline) -> list[torch.Tensor]:
        return [encode_image_tokens(image, identity, model.vision, model.token_projection) for identity in identities]

    whole, without = tokens(pipeline), tokens(ablate(pipeline, "imadapter").pipeline)
    assert not torch.equal(*whole)
    assert torch.equal(*without)
    assert pipeline.vision.config.adapter_scale == 0.2


def test_without_identity_the_embedding_is_zero(pipeline: Pipeline) -> None:
    without = ablate(pipeline, "identity").pipeline

    assert pipeline.encode_appearance(FRAMES[0], face(), size=64).id_embedding.norm() == pytest.approx(1)
    assert not without.encode_appearance(FRAMES[0], face(), size=64).id_embedding.any()
    with pytest.raises(ConfigurationError, match="no identity to switch off"):
        ablate(without, "identity")


def test_the_whole_model_animates_as_the_pipeline_does(pipeline: Pipeline) -> None:
    config = SamplingConfig(num_inference_steps=1, num_padding_frames=1)
    appearance = pipeline.encode_appearance(FRAMES[0], face(), size=64, config=config)
    latents = pipeline.sample(appearance, pipeline.encode_motion(FRAMES, track()), config)

    frames = ablate(pipeline).animate(FRAMES[0], face(), FRAMES, track(), size=64, config=config)

    np.testing.assert_array_equal(np.stack(frames), np.stack(list(pipeline.decode(latents))))


def test_an_unknown_part_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ConfigurationError, match=f"no part 'mouth'.*{', '.join(ABLATIONS)}"):
        ablate(pipeline, "mouth")
