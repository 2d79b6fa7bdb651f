"""The table of models trained without their parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_training import training_config

from hunyuan_core.errors import ConfigurationError
from hunyuan_core.training.ablations import ROWS, is_clear, run, summary, to_markdown
from hunyuan_core.training.config import TrainingConfig
from hunyuan_core.training.held_out import pairs

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
    with pytest.raises(ConfigurationError, match=r"figures\.json is of another configuration; name another --out"):
        run(quick(tmp_path, optimiser={"num_steps": 2}), [0], tmp_path, PAIRS, None, said.append)


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
    (one, two), again = pairs(2, 3), list(pairs(2, 3))

    assert one.frames == [0, 12, 24]
    assert one.portrait != one.driver
    assert one.portrait != two.portrait
    assert np.array_equal(again[1].motion, two.motion)
