"""From what the reader reads to the face that the product needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hunyuan_core.errors import WeightsError
from hunyuan_core.toy import toy_reader_file
from hunyuan_core.training.toyworld import (
    MOTION_RANGES,
    face,
    identity_parameters,
    landmarks,
    random_identity,
    random_motion,
    render,
)
from hunyuan_core.training.toyworld.detector import DrawnFaceDetector, face_of
from hunyuan_core.training.toyworld.reader import Reading, standard_looks

LOW, HIGH = np.array(list(MOTION_RANGES.values())).T


def person_and_motion(seed: int):
    rng = np.random.default_rng(seed)
    return random_identity(rng), random_motion(rng, 1)[0]


def perfect_reading(person, motion) -> Reading:
    return Reading(
        torch.from_numpy((motion - LOW) / (HIGH - LOW) * 2 - 1)[None].float(),
        standard_looks(torch.from_numpy(identity_parameters(person)))[None],
        torch.from_numpy(landmarks(person, motion, 1))[None].float(),
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_perfect_reading_gives_the_renderers_own_face(seed):
    person, motion = person_and_motion(seed)

    found, wanted = face_of(perfect_reading(person, motion)), face(person, motion, 1)

    assert found is not None
    np.testing.assert_allclose(found.box, wanted.box, atol=1e-5)
    np.testing.assert_allclose(found.landmarks, wanted.landmarks, atol=1e-5)
    assert found.score > 0.999


def test_where_landmarks_and_parameters_differ_the_face_lies_where_the_landmarks_are():
    person, motion = person_and_motion(3)
    reading, wanted = perfect_reading(person, motion), face(person, motion, 1)
    shift = np.array([0.02, -0.01])
    moved = reading._replace(landmarks=reading.landmarks + torch.tensor(shift).float())

    found = face_of(moved)

    assert found is not None
    np.testing.assert_allclose(found.box, wanted.box + np.tile(shift, 2), atol=1e-5)
    np.testing.assert_allclose(found.landmarks, wanted.landmarks + shift, atol=1e-5)
    assert 0 < found.score < 0.9


def test_a_reading_that_contradicts_itself_is_no_face():
    person, motion = person_and_motion(3)
    reading = perfect_reading(person, motion)

    assert face_of(reading._replace(landmarks=reading.landmarks + 0.3)) is None
    assert face_of(reading._replace(landmarks=reading.landmarks * torch.nan)) is None


@pytest.mark.parametrize(("size", "margin"), [(128, 0), (256, 0), (96, 40)])
def test_finds_the_face_of_a_drawn_picture(size, margin):
    detector = DrawnFaceDetector(toy_reader_file())
    shift, distances = np.array([margin, 0]), []
    for seed in range(1000, 1010):
        person, motion = person_and_motion(seed)
        picture = np.pad(render(person, motion, size), ((0, 0), (margin, margin), (0, 0)))
        (found,), wanted = detector.detect(picture), face(person, motion, size)
        distances.append(np.abs(found.landmarks - wanted.landmarks - shift).mean() / size)
        distances.append(np.abs(found.box - wanted.box - np.tile(shift, 2)).mean() / size)

    assert np.mean(distances) < 0.02


def test_a_picture_without_a_face_has_none():
    detector = DrawnFaceDetector(toy_reader_file())

    assert detector.detect(np.full((128, 128, 3), 128, np.uint8)) == []
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)) == []


def test_another_file_is_refused(tmp_path):
    with pytest.raises(WeightsError):
        DrawnFaceDetector(tmp_path / "reader.safetensors")
