"""What a run starts from: nothing, a folder, or several."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_training import AT_RELEASED_SCALE, training_config

from hunyuan_core.errors import ConfigurationError, WeightsError
from hunyuan_core.training.config import TrainingConfig, read_config
from hunyuan_core.training.loop import build_stage, find_starts
from hunyuan_core.training.stages import Stage
from hunyuan_core.training.weights import export

MOTION = {"refiner", "expression", "head_pose", "vision", "token_projection", "arcface"}


def config_of(folder: Path, seed: int, stage: str = "joint") -> TrainingConfig:
    trainable = ("refiner",)
    return training_config(folder, model=AT_RELEASED_SCALE, seed=seed, stage=stage, trainable=trainable)


def exported(folder: Path, seed: int, stage: str = "joint") -> Stage:
    config = config_of(folder, seed, stage)
    built = build_stage(config)
    export(built, config, folder)
    return built


def test_a_network_may_start_anew(tmp_path: Path) -> None:
    first, fresh = exported(tmp_path, 3), config_of(tmp_path, 4)
    stage = build_stage(dataclasses.replace(fresh, start_from=str(tmp_path), anew=("refiner", "heads")))

    for name, parameter in build_stage(fresh).named_parameters():
        is_anew = name.startswith(("networks.refiner.", "heads."))
        assert torch.equal(stage.get_parameter(name), parameter if is_anew else first.get_parameter(name)), name
    with pytest.raises(ConfigurationError, match="anew names mouth, which this stage does not have"):
        build_stage(dataclasses.replace(fresh, start_from=str(tmp_path), anew=("mouth",)))


def test_the_first_folder_that_has_a_network_gives_it(tmp_path: Path) -> None:
    exported(tmp_path / "motion", 1, "motion")
    whole, config = exported(tmp_path / "whole", 2), config_of(tmp_path, 3)
    folders = (str(tmp_path / "motion"), str(tmp_path / "whole"))
    stage = build_stage(dataclasses.replace(config, start_from=folders))
    motion = build_stage(dataclasses.replace(config, stage="motion", start_from=folders[0]))

    for name, parameter in stage.named_parameters():
        is_motion = name.split(".")[1] in MOTION or name.startswith("heads.")
        assert torch.equal(parameter, (motion if is_motion else whole).get_parameter(name)), name


def test_a_folder_that_gives_nothing_is_named(tmp_path: Path) -> None:
    exported(tmp_path / "motion", 1, "motion")
    exported(tmp_path / "whole", 2)
    whole, motion = str(tmp_path / "whole"), str(tmp_path / "motion")
    config = config_of(tmp_path, 3)

    with pytest.raises(ConfigurationError, match=r"start_from: .*motion has none of .* the folders before it \(.*vae"):
        build_stage(dataclasses.replace(config, start_from=(whole, motion)))
    with pytest.raises(ConfigurationError, match=r"start_from: .*nowhere has none of .*\(.*unet.*\)\.$"):
        build_stage(dataclasses.replace(config, start_from=str(tmp_path / "nowhere")))


def test_weights_of_another_size_are_named_briefly(tmp_path: Path) -> None:
    exported(tmp_path, 1, "motion")
    config = config_of(tmp_path, 2, "motion")
    refiner = dataclasses.replace(config.model.refiner, num_layers=config.model.refiner.num_layers + 1)
    other = dataclasses.replace(
        config, model=dataclasses.replace(config.model, refiner=refiner), start_from=str(tmp_path)
    )

    with pytest.raises(
        ConfigurationError, match=r"motion_proj.* fit the network: \d+ missing \(.*, …\)\. .* set .*\[model\] to the"
    ):
        build_stage(other)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    exported(tmp_path, 1, "motion")
    heads = tmp_path / "heads.safetensors"
    heads.write_bytes(heads.read_bytes()[:-100])

    with pytest.raises(WeightsError, match=r"heads\.safetensors"):
        build_stage(dataclasses.replace(config_of(tmp_path, 2, "motion"), start_from=str(tmp_path)))


@pytest.mark.parametrize(
    ("written", "folders"),
    [
        ('"runs/a"', [Path("runs/a")]),
        ('["runs/a", "runs/b"]', [Path("runs/a"), Path("runs/b")]),
        ('""', []),
        ("[]", []),
    ],
)
def test_one_folder_or_several_are_written(written: str, folders: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"start_from = {written}")

    assert find_starts(read_config(path)) == folders


def test_what_is_neither_a_folder_nor_a_list_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("start_from = [3]")

    with pytest.raises(ConfigurationError, match="start_from is a str; got 3"):
        read_config(path)
