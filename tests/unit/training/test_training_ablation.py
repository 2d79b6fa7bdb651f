"""Training without a part of the model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_training import training_config

from hunyuan_core.ablation import ABLATIONS, Reenactor, ablate
from hunyuan_core.config import SamplingConfig
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.training.config import DataConfig, TrainingConfig
from hunyuan_core.training.loop import build_stage, open_dataset, train
from hunyuan_core.training.toyworld import face, face_track, random_identity, random_motion, render
from hunyuan_core.training.weights import export

TRAINABLE = (*TrainingConfig().trainable, "vision", "head_pose", "arcface")


def config_of(folder: Path, part: str | None) -> TrainingConfig:
    parts = () if part is None else (part,)
    return training_config(
        folder, ablate=parts, trainable=TRAINABLE, loss={"drop_all": 0.0, "drop_motion": 0.0}, seed=3
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The model that all the others are taken from, untrained."""
    folder = tmp_path_factory.mktemp("whole")
    config = config_of(folder, None)
    export(build_stage(config), config, folder)
    return Pipeline.from_pretrained(folder, device="cpu")


def animate(model: Reenactor) -> np.ndarray:
    rng = np.random.default_rng(0)
    portrait, driver, motion = random_identity(rng), random_identity(rng), random_motion(rng, 2)
    frames = model.animate(
        render(portrait, motion[0], 64),
        face(portrait, motion[0], 64),
        [render(driver, row, 64) for row in motion],
        face_track(driver, motion, 64),
        size=64,
        config=SamplingConfig(num_inference_steps=2, num_padding_frames=0, context_window=2, context_overlap=0),
    )
    return np.stack(frames)


@pytest.mark.parametrize("part", ABLATIONS)
def test_a_model_without_a_part_starts_where_the_switch_leads(part: str, whole: Pipeline, tmp_path: Path) -> None:
    config = config_of(tmp_path, part)
    export(build_stage(config), config, tmp_path)
    without = Reenactor(Pipeline.from_pretrained(tmp_path, device="cpu"))

    frames = animate(without)
    np.testing.assert_array_equal(frames, animate(ablate(whole, part)))
    assert not np.array_equal(frames, animate(Reenactor(whole)))


@pytest.mark.parametrize("part", ABLATIONS)
def test_what_was_trained_without_a_part_needs_no_switch(part: str, tmp_path: Path) -> None:
    trained = Pipeline.from_pretrained(train(config_of(tmp_path, part)).weights, device="cpu")

    frames = animate(Reenactor(trained))
    np.testing.assert_array_equal(frames, animate(ablate(trained, part)))


FROZEN = {
    "memory-bank": "connector.latents",
    "intensity": "position_",
    "identity": "id_proj.weight",
    "imadapter": "adapter",
}


@pytest.mark.parametrize("part", ABLATIONS)
def test_what_is_left_learns_and_the_part_does_not(part: str, tmp_path: Path) -> None:
    # A black pose image gives the first convolution of the pose guider no gradient.
    config = dataclasses.replace(
        config_of(tmp_path, part), data=DataConfig(image_size=64, num_frames=2, pose_images="skeleton")
    )
    stage = build_stage(config)
    dataset, join = open_dataset(config, 2)
    stage(join([dataset[0], dataset[1]]), 0)["total"].backward()
    learning = {name: parameter for name, parameter in stage.named_parameters() if parameter.requires_grad}

    assert [name for name in learning if FROZEN[part] in name] == []
    idle = {name for name, parameter in learning.items() if parameter.grad is None or not parameter.grad.any()}
    # As in the whole model, these make the query of an attention with one key.
    assert {name for name in idle if "adapter.branch" not in name and "image_proj" not in name} == {
        "networks.vision.mask_token"
    }
