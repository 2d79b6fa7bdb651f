"""Clips of the drawn world, and what is done to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import MODEL, training_config

from hunyuan_core.config import RefinerConfig
from hunyuan_core.faces.intensity import motion_intensity
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.training.config import DataConfig
from hunyuan_core.training.loop import build_stage
from hunyuan_core.training.toy_data import Clip, Frames, ToyClips, ToyFrames, find_features, jitter
from hunyuan_core.training.toyworld import (
    LANDMARK_GROUPS,
    Painter,
    face_track,
    landmarks,
    random_identity,
    random_motion,
)
from hunyuan_core.training.weights import export

DATA = DataConfig(image_size=64, num_frames=3, num_workers=0, colour_jitter=0.0)


def clips(seed: int = 0, **changes: object) -> ToyClips:
    return ToyClips(MODEL, dataclasses.replace(DATA, **changes), seed, 8)  # pyright: ignore[reportArgumentType]


def same(a: Clip | Frames, b: Clip | Frames) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))


def test_a_clip_is_a_function_of_seed_and_index() -> None:
    assert same(clips()[3], clips()[3])
    assert same(ToyFrames(DATA, 0, 8)[3], ToyFrames(DATA, 0, 8)[3])
    for other in (clips()[4], clips(seed=1)[3]):
        assert not same(clips()[3], other)


def test_another_driver_changes_what_is_known_of_the_motion_and_not_the_truth() -> None:
    alone, other = clips(other_driver_share=0.0)[5], clips(other_driver_share=1.0)[5]

    assert not torch.equal(alone.motion_crops, other.motion_crops)
    assert other.target.shape == (3, 3, 64, 64)
    assert other.motion.abs().max() <= 1


PAPER = dataclasses.replace(
    MODEL.refiner, num_intensity_levels=64, combine_intensities="concat", intensity_statistic="rms"
)


@pytest.mark.parametrize("refiner", [MODEL.refiner, PAPER], ids=["released", "paper"])
def test_crops_and_tokens_are_those_of_inference(refiner: RefinerConfig, tmp_path: Path) -> None:
    model = dataclasses.replace(MODEL, refiner=refiner)
    config = training_config(tmp_path, model=model, loss={"auxiliary_weight": 0.0})
    stage = build_stage(config)
    export(stage, config, tmp_path)
    exported = Pipeline.from_pretrained(tmp_path, device="cpu")
    rng = np.random.default_rng([0, 2])
    clip = ToyClips(model, dataclasses.replace(DATA, other_driver_share=0.0), 0, 3)[2]
    # Drawn as ToyClips draws it.
    person = random_identity(rng)
    rng.random()
    motion = random_motion(rng, 25)
    rows = [int(np.abs((motion - row).sum(1)).argmin()) for row in _to_units(clip.motion.numpy())]
    frames = [Painter(person, 64).draw(row) for row in motion]
    assert [frames[i].tolist() for i in rows] == clip.target.permute(0, 2, 3, 1).tolist()

    track = face_track(person, motion, 64)
    options = {"levels": 64, "statistic": "rms"} if refiner is PAPER else {}
    assert clip.intensity.tolist() == list(motion_intensity(track.landmarks, **options))
    expected = exported.encode_motion(frames, track)
    assert (*expected.head_intensity, *expected.expression_intensity) == tuple(clip.intensity.tolist())
    with torch.inference_mode():
        _, tokens, _ = stage.encode(Clip.stack([clip]))  # pyright: ignore[reportCallIssue]
    assert torch.allclose(tokens[0], expected.tokens[rows], atol=1e-4)


def _to_units(motion: np.ndarray) -> np.ndarray:
    from hunyuan_core.training.toyworld import MOTION_RANGES

    low, high = np.array(list(MOTION_RANGES.values())).T
    return (motion + 1) / 2 * (high - low) + low


def test_colour_jitter_changes_colours_alike_in_all_frames() -> None:
    frames = torch.stack([torch.full((3, 4, 4), 100, dtype=torch.uint8)] * 2)
    frames[:, 0] = 160
    changed = jitter(frames, 0.3, np.random.default_rng(0))

    assert torch.equal(jitter(frames, 0.0, np.random.default_rng(0)), frames)
    assert not torch.equal(changed, frames)
    assert torch.equal(changed[0], changed[1])
    assert changed.dtype == torch.uint8


def test_features_are_where_eyes_brows_and_mouth_are_drawn() -> None:
    person, rows = random_identity(np.random.default_rng(0)), random_motion(np.random.default_rng(1), 20)
    for row in rows:
        tiles, points = find_features(person, row, 128), landmarks(person, row, 128)
        parts = [
            points[LANDMARK_GROUPS[name]] for name in ("left_eye", "right_eye", "left_brow", "right_brow", "mouth")
        ]
        x, y = (np.concatenate(parts) // 8).astype(int).T
        assert (tiles[y, x] == 1).all()
        x, y = (points[LANDMARK_GROUPS["jaw"]] // 8).astype(int).T
        assert tiles[y[4], x[4]] == 0  # the chin
        assert 0.03 < tiles.mean() < 0.3


def test_the_vae_may_learn_from_parts_of_pictures() -> None:
    whole = ToyFrames(DataConfig(image_size=64, num_frames=2, num_workers=0), 3, 1)[0]
    part = ToyFrames(DataConfig(image_size=64, crop_size=32, num_frames=2, num_workers=0), 3, 1)[0]
    places = [
        (y, x)
        for y in range(5)
        for x in range(5)
        if torch.equal(whole.frames[..., 8 * y : 8 * y + 32, 8 * x : 8 * x + 32], part.frames)
    ]
    assert len(places) == 1
    ((y, x),) = places
    assert torch.equal(whole.features[:, y : y + 4, x : x + 4], part.features)
