"""Clips that are encoded once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_training import training_config

from hunyuan_core.errors import ConfigurationError, MediaError
from hunyuan_core.training.config import TrainingConfig
from hunyuan_core.training.encoded_clips import fill
from hunyuan_core.training.loop import build_stage, open_dataset, train
from hunyuan_core.training.stages import JointStage
from hunyuan_core.training.toy_data import Clip, ToyClips

NUM_CLIPS = 3


def config_of(folder: Path, **parts: object) -> TrainingConfig:
    data = {"encoded": str(folder / "clips"), "num_encoded": NUM_CLIPS, **parts.pop("data", {})}  # pyright: ignore
    return training_config(folder, data=data, **parts)


def stage_of(config: TrainingConfig) -> JointStage:
    stage = build_stage(config)
    assert isinstance(stage, JointStage)
    return stage


@pytest.fixture
def filled(tmp_path: Path) -> tuple[TrainingConfig, JointStage]:
    config = config_of(tmp_path)
    stage = stage_of(config)
    for rank in range(2):
        fill(config, stage.encode_pictures, rank, 2)
    return config, stage


def test_an_encoded_clip_trains_as_the_clip_itself(filled: tuple[TrainingConfig, JointStage]) -> None:
    config, stage = filled
    drawn = ToyClips(config.model, config.data, config.seed, NUM_CLIPS)
    encoded, join = open_dataset(config, NUM_CLIPS)
    clips = [encoded[i] for i in range(NUM_CLIPS)]
    first = next(i for i in range(NUM_CLIPS) if torch.equal(drawn[i].motion_crops, clips[0].motion_crops))
    drawn_first = Clip.stack([drawn[first]])
    drawn_first.seed = clips[0].seed[None]

    expected, actual = stage(drawn_first, 0), stage(join(clips[:1]), 0)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, atol=2e-3, rtol=2e-3)  # what is kept is in half precision


def test_every_round_has_all_clips_in_another_order_with_other_noise(
    filled: tuple[TrainingConfig, JointStage],
) -> None:
    dataset, _ = open_dataset(filled[0], 4 * NUM_CLIPS)
    looks = [dataset[i].looks.sum().item() for i in range(4 * NUM_CLIPS)]
    rounds = [looks[i : i + NUM_CLIPS] for i in range(0, len(looks), NUM_CLIPS)]

    assert all(sorted(one) == sorted(rounds[0]) and len(set(one)) == NUM_CLIPS for one in rounds)
    assert any(one != rounds[0] for one in rounds)
    assert len({int(dataset[i].seed) for i in range(len(looks))}) == len(looks)
    assert torch.equal(dataset[5].seed, dataset[5].seed)


def test_a_long_clip_gives_other_frames_each_time(tmp_path: Path) -> None:
    config = config_of(tmp_path, data={"num_frames": 3, "encoded_frames": 5, "num_encoded": 1})
    stage = stage_of(config)
    fill(config, stage.encode_pictures, 0, 1)
    long = ToyClips(config.model, dataclasses.replace(config.data, num_frames=5), config.seed, 1)[0]
    latents = stage.encode_pictures(long.target)
    dataset, _ = open_dataset(config, 30)

    starts = set()
    for clip in map(dataset.__getitem__, range(30)):
        first = next(i for i in range(3) if torch.equal(clip.motion_crops, long.motion_crops[i : i + 3]))
        starts.add(first)
        torch.testing.assert_close(clip.motion, long.motion[first : first + 3], atol=1e-3, rtol=0)
        torch.testing.assert_close(clip.target_latents, latents[first : first + 3], atol=1e-2, rtol=1e-2)
    assert starts == {0, 1, 2}
    with pytest.raises(ConfigurationError, match=r"encoded_frames \(2\) is for data.encoded, and at least"):
        config_of(tmp_path, data={"num_frames": 3, "encoded_frames": 2})


def test_a_run_makes_what_is_missing_and_no_more(tmp_path: Path) -> None:
    config = config_of(tmp_path, optimiser={"num_steps": 2})
    clips = tmp_path / "clips"
    train(config)
    times = {path.name: path.stat().st_mtime_ns for path in clips.glob("*.safetensors")}
    assert len(times) == NUM_CLIPS
    (clips / "0000001.safetensors").unlink()

    train(config_of(tmp_path, optimiser={"num_steps": 2}, output={"folder": str(tmp_path / "again")}))
    again = {path.name: path.stat().st_mtime_ns for path in clips.glob("*.safetensors")}
    assert set(again) == set(times)
    assert [name for name in times if times[name] != again[name]] == ["0000001.safetensors"]


def test_the_warm_start_needs_no_latents(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage="motion", trainable=("refiner",), optimiser={"num_steps": 2})
    train(config)

    clip = open_dataset(config, 1)[0][0]
    assert clip.target_latents.numel() == clip.target.numel() == 0
    assert clip.motion_crops.numel() > 0


def test_clips_of_something_else_are_refused(filled: tuple[TrainingConfig, JointStage], tmp_path: Path) -> None:
    _, stage = filled
    for other in (config_of(tmp_path, seed=7), config_of(tmp_path, data={"max_stride": 1})):
        with pytest.raises(ConfigurationError, match=r"another configuration or VAE; remove the folder, or name"):
            fill(other, stage.encode_pictures, 0, 1)
    with pytest.raises(ConfigurationError, match=r"go together, for stages motion and joint"):
        config_of(tmp_path, data={"num_encoded": 0})


def test_a_vae_is_known_by_its_latents(filled: tuple[TrainingConfig, JointStage]) -> None:
    config, stage = filled
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fill(config, stage.encode_pictures, 0, 1)

    for other in (lambda x: stage.encode_pictures(x) + 0.1, None):
        with pytest.raises(ConfigurationError, match="another configuration or VAE"):
            fill(config, other, 0, 1)


def test_a_damaged_clip_is_named(filled: tuple[TrainingConfig, JointStage]) -> None:
    config, _ = filled
    path = Path(config.data.encoded) / "0000000.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    dataset, _ = open_dataset(config, NUM_CLIPS)

    with pytest.raises(MediaError, match=r"0000000.safetensors cannot be read .*; remove it, and train again"):
        list(map(dataset.__getitem__, range(NUM_CLIPS)))
