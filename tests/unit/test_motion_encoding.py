"""What may be changed while motion is encoded: the intensities; and what may be watched: the crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hunyuan_core.data import FaceTrack, Motion
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.faces.crops import motion_crop
from hunyuan_core.motion import INTENSITY_CHUNK, encode_motion
from hunyuan_core.pipeline import Pipeline

T = INTENSITY_CHUNK + 2
BOX = np.array([30.0, 20, 60, 55])
LANDMARKS = np.array([[37.0, 30], [53, 30], [45, 38], [39, 46], [51, 46]])
FRAMES = np.random.default_rng(0).integers(0, 256, (T, 80, 96, 3), dtype=np.uint8)
STEPS = 0.2 * np.arange(T)[:, None]
TRACK = FaceTrack(BOX + STEPS, LANDMARKS + STEPS[:, None], np.ones(T, bool))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.untrained_tiny(device="cpu")


def encoded(pipeline: Pipeline, **options) -> Motion:
    with torch.inference_mode():
        return encode_motion(FRAMES, TRACK, pipeline.expression, pipeline.head_pose, pipeline.refiner, **options)


@pytest.fixture(scope="module")
def measured(pipeline: Pipeline) -> Motion:
    return encoded(pipeline)


@pytest.mark.parametrize("name", ["head_intensity", "expression_intensity"])
def test_a_given_intensity_takes_the_place_of_the_measured_one(pipeline: Pipeline, measured: Motion, name: str) -> None:
    other = {"head_intensity": "expression_intensity", "expression_intensity": "head_intensity"}[name]

    given = encoded(pipeline, **{name: 127})

    assert getattr(given, name) == (127, 127) != getattr(measured, name)
    assert getattr(given, other) == getattr(measured, other)
    assert torch.equal(given.rotation, measured.rotation)
    assert (given.tokens - measured.tokens)[..., :-6].abs().amax(dim=(1, 2)).min() > 1e-3


def test_giving_what_would_be_measured_changes_no_bit(pipeline: Pipeline) -> None:
    still = FaceTrack(np.stack([BOX] * T), np.stack([LANDMARKS] * T), np.ones(T, bool))
    networks = pipeline.expression, pipeline.head_pose, pipeline.refiner
    with torch.inference_mode():
        measured = encode_motion(FRAMES, still, *networks)
        given = encode_motion(FRAMES, still, *networks, head_intensity=0, expression_intensity=0)

    assert measured.head_intensity == (0, 0)
    assert torch.equal(given.tokens, measured.tokens)


@pytest.mark.parametrize("level", [-1, 128])
@pytest.mark.parametrize("name", ["head_intensity", "expression_intensity"])
def test_an_intensity_that_the_refiner_does_not_know(pipeline: Pipeline, name: str, level: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be from 0 to 127, or left out .* got {level}"):
        encoded(pipeline, **{name: level})


def test_the_crops_are_handed_out_in_order_and_change_nothing(pipeline: Pipeline, measured: Motion) -> None:
    seen = []

    watched = encoded(pipeline, on_crop=lambda number, crop: seen.append((number, crop)))

    assert [number for number, _ in seen] == list(range(T))
    for number in (0, INTENSITY_CHUNK, T - 1):
        assert np.array_equal(seen[number][1], motion_crop(FRAMES[number], TRACK.landmarks[number], TRACK.boxes[0]))
    assert torch.equal(watched.tokens, measured.tokens)
