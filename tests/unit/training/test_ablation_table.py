"""The table of models trained without their parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import ROOT
from tiny_models import write_tiny_models
from tiny_training import training_config

from hunyuan_core.errors import ConfigurationError
from hunyuan_core.training.ablations import ROWS, is_clear, run, summary, to_markdown
from hunyuan_core.training.config import DataConfig, TrainingConfig, read_config
from hunyuan_core.training.held_out import pairs, reading_errors
from hunyuan_core.training.loop import build_stage
from hunyuan_core.training.toyworld import MOTION_RANGES, identity_parameters, landmarks
from hunyuan_core.training.toyworld.reader import Reading, standard_looks

PAIRS = 1


def quick(folder: Path, **parts: object) -> TrainingConfig:
    return training_config(folder, output={"sample_steps": 1}, **parts)


def test_every_row_is_trained_and_measured_once(tmp_path: Path) -> None:
    config, said = quick(tmp_path, optimiser={"num_steps": 1}), []
    figures = run(config, [0], tmp_path, PAIRS, None, said.append, ["intensity"])

    assert [line.partition(",")[0] for line in said] == ["HunyuanPortrait", "- IAME"]
    assert figures["whole"][0]["loss"] != figures["intensity"][0]["loss"]

    # What is there stays; what is missing is made again, and the same.
    (tmp_path / "intensity" / "seed_0" / "figures.json").unlink()
    said.clear()
    assert run(config, [0], tmp_path, PAIRS, None, said.append, ["intensity"]) == figures
    assert [line.partition(",")[0] for line in said] == ["- IAME"]
    with pytest.raises(ConfigurationError, match=r"figures\.json is of another configuration or start; name another"):
        run(quick(tmp_path, optimiser={"num_steps": 2}), [0], tmp_path, PAIRS, None, said.append)


def test_rows_of_a_seed_share_their_encoded_clips(tmp_path: Path) -> None:
    data = {"encoded": str(tmp_path / "clips"), "num_encoded": 4}
    config = quick(tmp_path, optimiser={"num_steps": 1}, data=data)
    figures = run(config, [0, 1], tmp_path, PAIRS, None, [].append, ["imadapter"])

    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["seed_0", "seed_1"]
    assert len(list((tmp_path / "clips" / "seed_0").glob("*.safetensors"))) == 4
    assert figures["whole"][0]["loss"] != figures["imadapter"][0]["loss"]


def made_up(**changes: tuple[float, float, float]) -> dict[str, dict[int, dict[str, float]]]:
    rows = dict.fromkeys(ROWS, (20.0, 21.0, 22.0)) | {name.replace("_", "-"): v for name, v in changes.items()}
    return {name: {seed: {"psnr": value} for seed, value in enumerate(values)} for name, values in rows.items()}


def test_differences_are_taken_seed_by_seed() -> None:
    # All three fall by about as much, though less than the seeds differ by.
    figures = made_up(memory_bank=(19.5, 20.4, 21.5), identity=(22.0, 21.0, 20.0))
    rows = summary(figures)
    metric = rows["memory-bank"]["metrics"]["psnr"]

    assert metric["mean"] == pytest.approx(61.4 / 3)
    assert metric["deviation"] == pytest.approx(1.0017, abs=1e-4)
    assert metric["difference"]["mean"] == pytest.approx(-1.6 / 3)
    assert metric["difference"]["deviation"] == pytest.approx(0.0577, abs=1e-4)
    assert is_clear(metric["difference"])
    assert not is_clear(rows["identity"]["metrics"]["psnr"]["difference"])
    assert not is_clear(rows["whole"]["metrics"]["psnr"]["difference"])

    lines = to_markdown(figures).splitlines()
    assert lines[0] == "| Setting | PSNR ↑ |"
    assert lines[2:5] == [
        "| HunyuanPortrait | 21.00 ± 1.00 |",
        "| - Memory Bank | **20.47 ± 1.00** |",
        "| - IAME | 21.00 ± 1.00 |",
    ]


def test_one_seed_has_no_spread() -> None:
    figures = {name: {0: {"psnr": 20.0}} for name in ROWS}

    assert summary(figures)["identity"]["metrics"]["psnr"]["deviation"] is None
    assert "± " not in to_markdown(figures).splitlines()[2]


def test_pairs_are_of_two_people_and_always_the_same() -> None:
    data = DataConfig(num_frames=3)
    (one, two), again = pairs(2, data), list(pairs(2, data))

    assert one.frames == [0, 4, 8]
    assert one.portrait != one.driver
    assert one.portrait != two.portrait
    assert np.array_equal(again[1].motion, two.motion)


def test_what_is_read_is_compared_with_the_portrait_in_the_drivers_motion() -> None:
    (pair,) = pairs(1, DataConfig())
    rows = pair.motion[:2]
    ranges = np.array(list(MOTION_RANGES.values()))
    truth = Reading(
        torch.from_numpy((rows - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0]) * 2 - 1).float(),
        standard_looks(torch.from_numpy(identity_parameters(pair.portrait)))[None].repeat(2, 1),
        torch.from_numpy(np.stack([landmarks(pair.portrait, row, 128) / 128 for row in rows])),
    )
    for values in reading_errors(truth, pair, rows).values():
        assert values == pytest.approx([0, 0], abs=1e-5)

    off = Reading(truth.motion.clone(), truth.looks + 0.5, truth.landmarks + torch.tensor([0.03, 0.04]))
    off.motion[1, 0] -= 0.3  # of 35 degrees of yaw
    off.motion[1, 9] += 0.6  # of half of the mouth's opening
    errors = reading_errors(off, pair, rows)

    assert errors["lmd"] == pytest.approx([0.05, 0.05], abs=1e-5)
    assert errors["looks"] == pytest.approx([0.5, 0.5])
    assert errors["apd"] == pytest.approx([0, 10.5 / 3], abs=1e-4)
    assert errors["aed"] == pytest.approx([0, 0.6 / 6], abs=1e-5)


def test_the_shipped_configuration_fits_the_carried_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_models(tmp_path)
    for module in ("hunyuan_core.toy", "hunyuan_core.training.loop"):
        monkeypatch.setattr(f"{module}.TOY_FOLDER", tmp_path)
    config = read_config(ROOT / "benchmarks" / "ablations.toml")
    learning = {name for name, parameter in build_stage(config).named_parameters() if parameter.requires_grad}

    networks = {name.removeprefix("networks.").partition(".")[0] for name in learning}
    assert networks == {"refiner", "vision", "token_projection", "unet", "heads"}
    assert all(".attn2." in name for name in learning if ".unet." in name)
