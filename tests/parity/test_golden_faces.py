"""Crops and intensities against the release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import Case, case_files, load_case
from golden_networks import CaseReader
from PIL import Image

from hunyuan_core.faces.crops import (
    arcface_crop,
    head_pose_crop,
    image_encoder_input,
    motion_crop,
    reference_crop,
    square_box,
    to_crop,
)
from hunyuan_core.faces.intensity import chunk_intensities, motion_intensity

# Two are floating point; the others are grey levels.
TOLERANCE = {"arcface_crop": 1 / 255, "image_encoder_input": 1 / 255}
ONE_GREY_LEVEL = 1


def channels_first(crop: np.ndarray) -> np.ndarray:
    return crop.transpose(2, 0, 1)


@pytest.mark.parametrize("path", case_files("face_crops"))
def test_crops(path: Path, data_dir: Path) -> None:
    reader = CaseReader(load_case(path))
    take = reader.fields.take
    portrait = np.array(Image.open(data_dir / "source_image.png").convert("RGB"))
    frame = reader.input("frame0").numpy()
    source_box, driving_box = take("source_box"), take("driving_box")
    source_square = square_box(source_box, *portrait.shape[:2])
    driving_square = square_box(driving_box, *frame.shape[:2])
    assert list(source_square) == take("source_square")
    assert list(driving_square) == take("driving_square")
    for case in take("square_box_cases"):
        assert list(square_box(case["box"], case["height"], case["width"])) == case["square"], case

    reference = reference_crop(portrait, source_box)
    crops = {
        "reference_crop": reference,
        "arcface_crop": arcface_crop(reference, to_crop(take("source_landmarks"), source_square)),
        "image_encoder_input": image_encoder_input(reference).numpy(),
        "motion_crop": channels_first(motion_crop(frame, take("driving_landmarks"), driving_box)),
        "pose_crop": channels_first(head_pose_crop(frame, driving_square)),
    }
    if "motion_crop_2" in reader:
        second = take("motion2")
        other = reader.input(f"frame{second['frame']}").numpy()
        crops["motion_crop_2"] = channels_first(motion_crop(other, second["landmarks"], second["box"]))
    reader.finish({name: torch.from_numpy(np.array(crop)) for name, crop in crops.items()})

    for name, crop in crops.items():
        expected = reader.tensors[name].numpy()
        assert crop.shape == expected.shape, name
        worst = np.abs(crop.astype(np.float64) - expected.astype(np.float64)).max()
        assert worst <= TOLERANCE.get(name, ONE_GREY_LEVEL), f"{name} is off by {worst}"


@pytest.mark.parametrize("path", case_files("motion_intensity"))
def test_intensity_buckets(path: Path) -> None:
    check_buckets(load_case(path))


@pytest.mark.parametrize("path", case_files("motion_intensity"))
def test_the_defaults_are_the_released_ones(path: Path) -> None:
    tensors, metadata = load_case(path)
    if (metadata["max"], metadata["scale_head"], metadata["scale_exp"]) != (127, 256, 1024):
        pytest.skip("this case was computed with other settings than the release's")

    for i, buckets in enumerate(metadata["head_exp_buckets"]):
        landmarks = tensors[f"landmarks_{i}"].numpy()
        assert chunk_intensities(landmarks, len(landmarks)) == [tuple(buckets)], f"sequence {i}"


def check_buckets(case: Case) -> None:
    reader = CaseReader(case)
    take = reader.fields.take
    levels, head_scale, expression_scale = take("max") + 1, take("scale_head"), take("scale_exp")
    reader.fields.expect("landmark_order", ["eye_left", "eye_right", "nose", "mouth_left", "mouth_right"])
    expected = take("head_exp_buckets")
    found = [
        motion_intensity(
            reader.input(f"landmarks_{i}").numpy(),
            levels=levels,
            head_range=levels / head_scale,
            expression_range=levels / expression_scale,
        )
        for i in range(len(expected))
    ]
    reader.finish({})

    assert len(found) > 0
    assert [list(buckets) for buckets in found] == expected


@pytest.mark.parametrize(
    ("tensors", "fields", "word"),
    [
        ({"landmarks_1": torch.zeros(1, 5, 2)}, {}, "landmarks_1"),
        ({}, {"smoothing": 3}, "smoothing"),
        ({}, {"landmark_order": ["nose"]}, "landmark_order"),
        ({}, {"head_exp_buckets": [[0, 0], [0, 0]]}, "landmarks_1"),
        ({}, {"head_exp_buckets": [[0, 1]]}, "1"),
    ],
)
def test_a_case_with_more_than_is_known_is_an_error(tensors: dict, fields: dict, word: str) -> None:
    still = torch.arange(10.0, dtype=torch.float64).reshape(1, 5, 2)
    good = {"max": 127, "scale_head": 256, "scale_exp": 1024, "head_exp_buckets": [[0, 0]]}
    check_buckets(Case({"landmarks_0": still}, good))

    with pytest.raises(AssertionError, match=word):
        check_buckets(Case({"landmarks_0": still, **tensors}, {**good, **fields}))
