"""The warm start's tokens are as loud as an untrained UNet listens for, and say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_training import training_config

from hunyuan_core.training.config import TrainingConfig
from hunyuan_core.training.loop import build_stage
from hunyuan_core.training.stages import MotionStage
from hunyuan_core.training.toy_data import Clip, ToyClips
from hunyuan_core.training.weights import export, start_from


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return training_config(tmp_path, stage="motion", trainable=("refiner",), data={"num_frames": 3})


def stages_of(config: TrainingConfig, folder: Path) -> tuple[MotionStage, MotionStage]:
    """One whose tokens are quiet beside a constant, and one that starts from its export."""
    quiet, loud = build_stage(config), build_stage(config)
    assert isinstance(quiet, MotionStage)
    assert isinstance(loud, MotionStage)
    with torch.no_grad():
        quiet.network("refiner").connector.proj_out[1].weight *= 0.01
        quiet.network("refiner").connector.proj_out[1].bias += 3.0
        quiet.network("token_projection").weight *= 0.01
        for parameter in quiet.heads.parameters():
            torch.nn.init.normal_(parameter)
    export(quiet, config, folder)
    start_from(loud, [folder])
    return quiet, loud


@torch.no_grad()
def test_exported_tokens_differ_by_one_between_clips(config: TrainingConfig, tmp_path: Path) -> None:
    quiet, loud = stages_of(config, tmp_path / "weights")
    clips = ToyClips(config.model, config.data, config.seed + 1, 64)
    image, motion, _ = loud.encode(Clip.stack([clips[i] for i in range(64)]))
    refined = motion[..., : config.model.refiner.out_features].flatten(0, 1)

    spread = (refined - refined.mean(0)).std((0, 1))
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0.01, atol=0)
    torch.testing.assert_close(refined.mean((0, 1)), torch.zeros_like(spread), rtol=0, atol=1e-2)
    assert (image - image.mean(0)).std().item() == pytest.approx(1, rel=0.01)
    assert quiet.network("refiner").connector.proj_out[1].bias.mean() > 2, "the trained networks stay as they are"


@torch.no_grad()
def test_heads_read_the_same_off_them(config: TrainingConfig, tmp_path: Path) -> None:
    clips = ToyClips(config.model, config.data, 5, 2)
    clip = Clip.stack([clips[i] for i in range(2)])
    (_, _, expected), (_, _, actual) = (stage.encode(clip) for stage in stages_of(config, tmp_path / "weights"))

    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)
