"""The TOML file of a training run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny_training
from tiny_models import write_tiny_models

from hunyuan_core.cli import main
from hunyuan_core.config import ModelConfig
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.training.config import TrainingConfig, read_config
from hunyuan_core.training.loop import build_stage


def read(folder: Path, text: str) -> TrainingConfig:
    path = folder / "run.toml"
    path.write_text(text)
    return read_config(path)


def test_an_empty_file_is_the_papers_fine_tuning(tmp_path: Path) -> None:
    config = read(tmp_path, "")

    assert config == TrainingConfig()
    assert config.model == ModelConfig()
    assert (config.optimiser.learning_rate, config.optimiser.gradient_clip) == (1e-5, 0.99)
    assert (config.loss.sigma_mean, config.loss.sigma_std) == (0.7, 1.6)


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        'stage = "joint"\ntrainable = ["unet"]\n[model.unet]\nlayers_per_block = 1\n'
        "[optimiser]\nlearning_rate = 1\n[lora]\nrank = 4\ntargets = ['*.to_q']\n",
    )

    assert config.trainable == ("unet",)
    assert config.model.unet.layers_per_block == 1
    assert config.model.vision == ModelConfig().vision
    assert config.optimiser.learning_rate == 1.0
    assert config.lora.targets == ("*.to_q",)


def test_a_model_may_be_named(tmp_path: Path) -> None:
    assert read(tmp_path, 'model = "tiny"').model == ModelConfig.tiny()


def test_the_toy_models_sizes_are_those_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_models(tmp_path / "toy")
    monkeypatch.setattr("hunyuan_core.toy.TOY_FOLDER", tmp_path / "toy")

    assert read(tmp_path, 'model = "toy"').model == ModelConfig.tiny()


def test_sizes_that_do_not_go_together_are_one_line(tmp_path: Path) -> None:
    head_pose = dataclasses.replace(tiny_training.MODEL.head_pose, num_groups=3)
    model = dataclasses.replace(tiny_training.MODEL, head_pose=head_pose)
    with pytest.raises(ConfigurationError, match=r"No networks can be built .*divisible") as caught:
        build_stage(tiny_training.training_config(tmp_path, model=model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage = ", "cannot be read as a TOML file"),
        ("stge = 'vae'", "The configuration has no stge; it has stage, "),
        ("[data]\nsize = 3", r"The configuration has no data\.size; it has data\.videos, "),
        ("[data]\nnum_frames = 2.5", r"data\.num_frames is a int; got 2\.5"),
        ("[output]\nhas_tensorboard = 1", r"output\.has_tensorboard is a bool; got 1"),
        ("data = 3", "data is a table; got 3"),
        ("trainable = 'unet'", "trainable is a list; got 'unet'"),
        ("model = 'huge'", "model is a table of sizes, or one of released, tiny, toy; got 'huge'"),
        ("stage = 'last'", "stage must be one of vae, motion, joint, reader; got 'last'"),
        ("[optimiser]\nprecision = 'fp8'", r"optimiser\.precision must be one of fp32, bf16, fp16; got 'fp8'"),
        ("[data]\npose_images = 'red'", r"data\.pose_images must be one of black, skeleton"),
        ("[optimiser]\nbatch_size = 0", r"optimiser\.batch_size must be from 1 to"),
        ("[optimiser]\nbatch_size = 3\nnum_accumulated = 2", r"batch_size \(3\) must be a multiple of .*accumulated"),
        ("[loss]\ndrop_all = 0.6\ndrop_motion = 0.6", "shares of all clips; lower one"),
        ("[data]\nimage_size = 100", r"data\.image_size must be a multiple of 8"),
        ("[data]\ncrop_size = 136", r"data\.crop_size must be a multiple of 8 up to data\.image_size \(128\)"),
        ("[model.unet]\ncross_attention_dim = 64", r"model\.vision\.embed_dim \(1024\) must be .* \(64\)"),
        ("stage = 'vae'\n[lora]\nrank = 2", "are of the UNet, which stage 'vae' does not have"),
        ("ablate = ['mouth']", "ablate names mouth, .* it may be memory-bank, intensity, identity, imadapter"),
        ("stage = 'vae'\nablate = ['identity']", "ablate names identity, which stage 'vae' does not have"),
        ("[output]\nsample_every = 2", r"output\.sample_every is for stage joint with output\.has_tensorboard"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_the_command_trains_and_says_where_the_weights_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_training.training_config(tmp_path / "run", stage="vae", trainable=("vae",))
    path = tmp_path / "run.toml"
    path.write_text(to_toml(dataclasses.asdict(config)))
    assert read_config(path) == config

    assert main(["train", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / "weights")
    assert main(["train", str(path)]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main(["train", str(path), "--resume"]) == 0


def to_toml(values: dict, prefix: str = "") -> str:
    """Write a configuration; JSON's texts, numbers and lists are TOML's too."""
    import json

    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    tables = [
        f"[{prefix}{key}]\n{to_toml(value, f'{prefix}{key}.')}"
        for key, value in values.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*lines, *tables])
