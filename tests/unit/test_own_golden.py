"""This project's own golden tensors: a change of what is computed is seen without the released model's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_cases import ROOT, case_files, load_case
from golden_runs import (
    NETWORK_TOLERANCE,
    check_case,
    compute,
    run_appearance_encoder,
    run_expression_encoder,
    run_headpose_encoder,
    run_motion_padding,
    run_motion_refiner,
    run_pipeline,
    run_plain_pipeline,
    run_plain_unet,
    run_pose_guider,
    run_unet,
)
from own_faces import run_faces

OWN_GOLDEN = ROOT / "tests/golden"
RUNS = {
    "appearance_encoder": [run_appearance_encoder],
    "expression_encoder": [run_expression_encoder],
    "headpose_encoder": [run_headpose_encoder],
    "motion_padding": [run_motion_padding],
    "motion_refiner": [run_motion_refiner],
    "pipeline": [run_pipeline, run_plain_pipeline],
    "pose_guider": [run_pose_guider],
    "unet": [run_unet, run_plain_unet],
}


NETWORKS = [case for case in case_files("", OWN_GOLDEN) if case.id != "faces_small"]


@pytest.mark.parametrize("path", NETWORKS)
def test_outputs_are_as_they_were(path: Path) -> None:
    for run in RUNS[path.stem.removesuffix("_small")]:
        check_case(path, run, NETWORK_TOLERANCE)


def test_crops_and_intensities_are_as_they_were() -> None:
    case = load_case(OWN_GOLDEN / "cases/faces_small.safetensors")
    for name, actual in compute(case, run_faces).items():
        # Pillow rounds to whole grey levels, and versions may differ by one.
        tolerance = {"intensities": 0.0, "image_encoder_input": 2 / 255 / 0.225}.get(name, 1.01)
        torch.testing.assert_close(
            actual, case.tensors[name], rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_no_case_is_missing() -> None:
    names = {path.stem.removesuffix("_small") for path in (OWN_GOLDEN / "cases").iterdir()}
    assert names == {*RUNS, "faces"}
