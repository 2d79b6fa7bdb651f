"""Every network against the release: layouts of the weight files, and outputs within 1e-4 of their deviation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_cases import GOLDEN_DIR, Case, case_files, load_case, load_layout
from golden_networks import CaseReader, unet_config, vae_config
from golden_runs import (
    NETWORK_TOLERANCE,
    Outputs,
    check_case,
    compute,
    run_appearance_encoder,
    run_expression_encoder,
    run_headpose_encoder,
    run_motion_padding,
    run_motion_refiner,
    run_plain_unet,
    run_pose_guider,
    run_unet,
)

from hunyuan_core.config import ModelConfig
from hunyuan_core.models import build
from hunyuan_core.sampling import karras_sigmas

PREFIXES = (
    "appearance_encoder",
    "euler_schedule",
    "expression_encoder",
    "face_crops",
    "headpose_encoder",
    "motion_intensity",
    "motion_padding",
    "motion_refiner",
    "paste_back",
    "pipeline_",
    "pose_guider",
    "unet_",
)
"""Of all cases that some test in this folder runs."""

LAYOUTS = {
    "unet.pth": "unet",
    "dino.pth": "vision",
    "image_proj.pth": "token_projection",
    "expression.pth": "expression",
    "headpose.pth": "head_pose",
    "motion_proj.pth": "refiner",
    "pose_guider.pth": "pose_guider",
}
"""Released file to network; other layouts are of a case's configuration and named after it."""


def test_every_case_is_run_by_some_test(golden_dir: Path) -> None:
    paths = (golden_dir / "cases").glob("*.safetensors")
    unknown = [path.name for path in paths if not path.name.startswith(PREFIXES)]
    assert not unknown, f"no test runs {unknown}; known prefixes: {', '.join(PREFIXES)}"


@pytest.mark.parametrize("path", sorted((GOLDEN_DIR / "layout").glob("*.json")), ids=lambda path: path.stem)
def test_keys_and_shapes_are_those_of_the_file(path: Path) -> None:
    network, config = _of_layout(path.stem)
    with torch.device("meta"):
        found = {key: tuple(tensor.shape) for key, tensor in build(network, config).state_dict().items()}
    expected = load_layout(path)
    assert set(found) - set(expected) == set(), "keys that the file does not have"
    assert set(expected) - set(found) == set(), "keys that the network does not have"
    for key, shape in expected.items():
        assert found[key] == shape, key


def _of_layout(name: str) -> tuple[str, ModelConfig]:
    """Network and size of a layout."""
    config = ModelConfig()
    if name in LAYOUTS:
        return LAYOUTS[name], config
    network, _, suffix = name.partition("_")
    assert network in ("unet", "vae"), f"unknown layout {name}; known: {', '.join(LAYOUTS)}, unet_* and vae_*"
    case = GOLDEN_DIR / "cases" / f"{'unet' if network == 'unet' else 'pipeline'}_{suffix}.safetensors"
    if not case.exists():
        pytest.skip(f"the size of {name} is that of {case}, which is absent")
    metadata = load_case(case).metadata
    if network == "unet":
        return network, replace(config, unet=unet_config(metadata["config"]))
    return network, replace(config, vae=vae_config(metadata["vae"]))


@pytest.mark.parametrize("path", case_files("unet_"))
def test_unet(path: Path) -> None:
    check_case(path, run_unet, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("unet_"))
def test_plain_unet(path: Path) -> None:
    check_case(path, run_plain_unet, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("appearance_encoder"))
def test_appearance_encoder(path: Path) -> None:
    check_case(path, run_appearance_encoder, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("expression_encoder"))
def test_expression_encoder(path: Path) -> None:
    check_case(path, run_expression_encoder, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("headpose_encoder"))
def test_headpose_encoder(path: Path) -> None:
    check_case(path, run_headpose_encoder, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("motion_refiner"))
def test_motion_refiner(path: Path) -> None:
    check_case(path, run_motion_refiner, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("motion_padding"))
def test_motion_padding(path: Path) -> None:
    check_case(path, run_motion_padding, 1e-6)


@pytest.mark.parametrize("path", case_files("pose_guider"))
def test_pose_guider(path: Path) -> None:
    check_case(path, run_pose_guider, NETWORK_TOLERANCE)


@pytest.mark.parametrize("path", case_files("euler_schedule"))
def test_euler_schedule(path: Path) -> None:
    tensors, metadata = load_case(path)
    scheduler = metadata["scheduler_config"]
    assert scheduler["use_karras_sigmas"]
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["timestep_type"] == "continuous"
    counts = [int(name.removeprefix("sigmas_")) for name in tensors if name.startswith("sigmas_")]
    assert set(tensors) == {f"{kind}_{n}" for kind in ("sigmas", "timesteps") for n in counts}
    for n in counts:
        sigmas = karras_sigmas(n, scheduler["sigma_min"], scheduler["sigma_max"])
        torch.testing.assert_close(sigmas, tensors[f"sigmas_{n}"], rtol=1e-5, atol=0)
        torch.testing.assert_close(0.25 * sigmas[:-1].log(), tensors[f"timesteps_{n}"], rtol=1e-5, atol=1e-6)


def test_an_unknown_tensor_or_field_is_an_error() -> None:
    def run(reader: CaseReader) -> Outputs:
        return {"double": reader.input("x") * 2}

    tensors = {"x": torch.ones(1), "double": torch.ones(1)}
    assert compute(Case(tensors, {"note": "fine"}), run)["double"].item() == 2
    with pytest.raises(AssertionError, match="blur"):
        compute(Case(tensors, {"blur": 1}), run)
    with pytest.raises(AssertionError, match="mask"):
        compute(Case({**tensors, "mask": torch.ones(1)}, {}), run)
