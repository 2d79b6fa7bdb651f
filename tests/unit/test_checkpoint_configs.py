"""Weight files that carry their network's configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import write_tiny_models

from hunyuan_core.checkpoints import load_network, read_config, save_network, verify
from hunyuan_core.checkpoints.loading import CONFIG_KEY
from hunyuan_core.config import ModelConfig, PoseGuiderConfig
from hunyuan_core.errors import WeightsError
from hunyuan_core.models import NETWORKS, build
from hunyuan_core.pipeline import Pipeline

SMALL = replace(ModelConfig(), pose_guider=PoseGuiderConfig(block_out_channels=(4, 8, 8, 8), out_channels=16))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_models(folder)
    return folder


def test_a_folder_of_another_size_loads_like_the_released_one(tiny_folder: Path) -> None:
    loaded = Pipeline.from_pretrained(tiny_folder, device="cpu", has_identity=False)
    expected = Pipeline.untrained_tiny(device="cpu")
    for name in NETWORKS:
        ours, theirs = getattr(loaded, name).state_dict(), getattr(expected, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


def test_verify_goes_by_the_size_that_a_file_says(tiny_folder: Path) -> None:
    reports = {report.file.name: report for report in verify(tiny_folder)}
    assert {reports[name].status for name in NETWORKS} == {"present"}


def test_name_and_suffix_do_not_matter(tmp_path: Path) -> None:
    network = build("pose_guider", SMALL)
    save_network("pose_guider", network, SMALL, tmp_path / "renamed.bin")
    loaded = load_network("pose_guider", tmp_path / "renamed.bin")
    assert torch.equal(loaded.conv_in.weight, network.get_parameter("conv_in.weight"))
    assert read_config("pose_guider", tmp_path / "renamed.bin") == SMALL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "list"),
        (json.dumps({"block_out_channels": [4], "out_channels": 16, "more": 1}), "more"),
        (json.dumps({"out_channels": 16}), "block_out_channels"),
        (json.dumps({"block_out_channels": [4, "8"], "out_channels": 16}), "block_out_channels"),
        (json.dumps({"block_out_channels": [], "out_channels": 16}), "block_out_channels"),
        (json.dumps({"block_out_channels": [4], "out_channels": "16"}), "out_channels"),
    ],
)
def test_a_bad_configuration_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pose_guider.pth"
    save_file(build("pose_guider", SMALL).state_dict(), path, metadata={CONFIG_KEY: text})
    with pytest.raises(WeightsError, match=f"{path.name} .*{message}"):
        load_network("pose_guider", path)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot be written"):
        save_network("pose_guider", build("pose_guider", SMALL), SMALL, tmp_path / "file" / "model.safetensors")
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
