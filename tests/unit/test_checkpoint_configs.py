"""Weight files that carry their network's configuration."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import write_tiny_models
from torch import nn

from hunyuan_core.checkpoints import (
    FileReport,
    convert,
    find_models,
    load_network,
    read_config,
    save_network,
    verify,
)
from hunyuan_core.checkpoints.loading import CONFIG_KEY, FORMAT_KEY
from hunyuan_core.config import NETWORK_CONFIGS, ModelConfig, PoseGuiderConfig, VAEConfig, config_to_json
from hunyuan_core.errors import WeightsError
from hunyuan_core.models import NETWORKS, build
from hunyuan_core.models.attention import scaled_dot_product
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
    assert all(report.is_ok for report in reports.values())


def test_an_arcface_of_another_size_must_open_as_one(tiny_folder: Path, tmp_path: Path) -> None:
    def arcface(folder: Path) -> FileReport:
        return next(report for report in verify(folder) if report.file.name == "arcface")

    sound = arcface(tiny_folder)
    assert (sound.status, "not the published file" in sound.message) == ("present", True)
    (tmp_path / "arcface.onnx").write_bytes((tiny_folder / "arcface.onnx").read_bytes()[:-100])
    assert arcface(tmp_path).status == "damaged"


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
        (json.dumps({"block_out_channels": [4], "out_channels": "16"}), "out_channels .*'16'; it must be like 320"),
        (json.dumps({"block_out_channels": [4], "out_channels": True}), "out_channels"),
        (json.dumps({"block_out_channels": [], "out_channels": 16}), "no pose_guider can be built"),
        (json.dumps({"block_out_channels": [4, -8], "out_channels": 16}), "no pose_guider can be built"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_configuration_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pose_guider.pth"
    save_file(build("pose_guider", SMALL).state_dict(), path, metadata={CONFIG_KEY: text})
    with pytest.raises(WeightsError, match=f"{path.name} .*{message}"):
        load_network("pose_guider", path)


def test_a_file_of_an_earlier_version_has_the_defaults_of_later_fields(tmp_path: Path) -> None:
    config = ModelConfig.tiny()
    values = asdict(config.refiner)
    del values["intensity_statistic"]
    path = tmp_path / "motion_proj.safetensors"
    save_file(build("refiner", config).state_dict(), path, metadata={CONFIG_KEY: json.dumps(values), FORMAT_KEY: "1"})

    assert load_network("refiner", path).config == config.refiner


def test_infinity_is_no_size(tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    text = json.dumps({**asdict(VAEConfig()), "scaling_factor": float("inf")})
    save_file({"x": torch.zeros(1)}, path, metadata={CONFIG_KEY: text})
    with pytest.raises(WeightsError, match=r"vae\.safetensors .*scaling_factor .* inf; it must be like 0\.18215"):
        read_config("vae", path)


def test_a_later_format_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "pose_guider.pth"
    metadata = {CONFIG_KEY: config_to_json("pose_guider", SMALL), FORMAT_KEY: "2"}
    save_file(build("pose_guider", SMALL).state_dict(), path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"pose_guider\.pth .*format 2.*update"):
        load_network("pose_guider", path)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig.tiny()], ids=["released", "tiny"])
def test_every_configuration_is_read_as_it_was_written(name: str, config: ModelConfig, tmp_path: Path) -> None:
    save_network(name, nn.Linear(1, 1), config, tmp_path / "file")
    field = NETWORK_CONFIGS[name]
    assert getattr(read_config(name, tmp_path / "file"), field) == getattr(config, field)


def test_an_image_encoder_without_adapters(tmp_path: Path) -> None:
    config = replace(ModelConfig.tiny(), vision=replace(ModelConfig.tiny().vision, adapter_layers=(), depth=1))
    save_network("vision", build("vision", config), config, tmp_path / "dino.pth")
    assert load_network("vision", tmp_path / "dino.pth").config == config.vision


def test_exchanged_files_of_own_sizes_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "hyportrait" / "expression.pth"
    save_network("head_pose", build("head_pose", ModelConfig.tiny()), ModelConfig.tiny(), path)
    with pytest.raises(WeightsError, match=r"expression\.pth .*out_features.*looks like headpose\.pth"):
        load_network("expression", path)
    report = next(report for report in verify(tmp_path) if report.file.name == "expression")
    assert (report.status, "looks like headpose.pth" in report.message) == ("wrong layout", True)


def test_layers_and_attention_of_a_host(tmp_path: Path) -> None:
    """As ComfyUI gives them; what comes out is the same network."""
    config = ModelConfig.tiny()
    save_network("unet", build("unet", config), config, tmp_path / "unet.pth")
    calls = []

    class Linear(nn.Linear):
        pass

    class Operations(SimpleNamespace):
        def __getattr__(self, name: str) -> object:
            return getattr(nn, name)

    def attention(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return scaled_dot_product(*arguments)

    loaded = load_network("unet", tmp_path / "unet.pth", operations=Operations(Linear=Linear), attention=attention)

    assert {type(module) for module in loaded.modules() if isinstance(module, nn.Linear)} == {Linear}
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 2, 8, 8, 8, generator=generator)
    tokens = torch.randn(1, 1, 4, 64, generator=generator)
    results = []
    # Not the network that was saved: its tensors lie otherwise in memory, on which the last bits depend.
    for unet in (loaded, load_network("unet", tmp_path / "unet.pth")):
        with torch.inference_mode():
            context = unet.project_context(tokens, tokens, 1, 1)
            results.append(unet(sample, torch.zeros(1), torch.zeros(1, 3), context))
    assert calls
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_converted_folder_keeps_its_sizes(tmp_path: Path) -> None:
    write_tiny_models(tmp_path)
    assert {report.status for report in convert(tmp_path)} == {"converted"}
    assert find_models(tmp_path).path("unet").suffix == ".safetensors"
    assert all(report.is_ok for report in verify(tmp_path))
    assert load_network("unet", find_models(tmp_path).path("unet")).config == ModelConfig.tiny().unet


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot be written"):
        save_network("pose_guider", build("pose_guider", SMALL), SMALL, tmp_path / "file" / "model.safetensors")
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
