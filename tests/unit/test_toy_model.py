"""The model that the package carries: its files, its card, and that they are installed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from golden_cases import ROOT
from setuptools import Distribution
from setuptools.command.build_py import build_py
from tiny_models import write_tiny_models

from hunyuan_core.checkpoints.integrity import sha256_of
from hunyuan_core.errors import WeightsError
from hunyuan_core.models import NETWORKS
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import context_windows
from hunyuan_core.toy import TOY_FOLDER, TOY_SAMPLING, TOY_SIZE, toy_files, toy_reader_file
from hunyuan_core.training.config import read_config
from hunyuan_core.training.loop import find_starts

CARD = TOY_FOLDER / "README.md"
MOST_BYTES = 40_000_000
RECIPE = sorted((TOY_FOLDER / "recipe").glob("*.toml"))

WEIGHTS = sorted(path for path in TOY_FOLDER.rglob("*") if path.suffix in (".safetensors", ".onnx"))


def listed_files() -> dict[str, tuple[int, str]]:
    rows = re.findall(r"^\| `([^`]+)` \| ([\d ]+) \| `([0-9a-f]{64})` \|$", CARD.read_text(), re.MULTILINE)
    return {name: (int(size.replace(" ", "")), digest) for name, size, digest in rows}


def actual_files() -> dict[str, tuple[int, str]]:
    return {path.relative_to(TOY_FOLDER).as_posix(): (path.stat().st_size, sha256_of(path)) for path in WEIGHTS}


def renew_files() -> None:
    rows = "".join(f"| `{name}` | {size} | `{digest}` |\n" for name, (size, digest) in actual_files().items())
    head = "| file | bytes | SHA-256 |\n| --- | --- | --- |\n"
    before, _, after = CARD.read_text().partition(head)
    CARD.write_text(before + head + rows + "\n" + after[after.index("## Licence") :])


def test_the_card_lists_the_weights_that_are_there():
    # `UPDATE_CARD=1` with this file renews the list.
    if os.environ.get("UPDATE_CARD"):
        renew_files()

    assert listed_files() == actual_files()


def test_the_folder_is_small():
    assert sum(path.stat().st_size for path in TOY_FOLDER.rglob("*") if path.is_file()) <= MOST_BYTES


def test_every_file_is_installed(monkeypatch):
    monkeypatch.chdir(ROOT)
    package = Distribution({"packages": ["hunyuan_core"]})
    package.parse_config_files(["pyproject.toml"])
    build = build_py(package)
    build.ensure_finalized()
    carried = {(ROOT / folder / name).resolve() for _, folder, _, names in build.data_files for name in names}

    assert {path for path in TOY_FOLDER.rglob("*") if path.is_file()} <= carried


def test_every_network_loads_in_half_precision():
    pipeline = Pipeline.toy(device="cpu", dtype=torch.float16)

    assert pipeline.unet.conv_in.weight.dtype == torch.float16
    assert set(NETWORKS) <= set(toy_files().paths)
    assert pipeline.arcface is not None


@pytest.mark.parametrize("path", RECIPE, ids=lambda path: path.stem)
def test_the_card_names_every_run_and_its_configuration_is_valid(path):
    config = read_config(path)

    assert f"| `{path.stem}` |" in CARD.read_text()
    assert config.output.folder == f"runs/{path.stem}"


def test_every_run_starts_from_earlier_ones():
    earlier = set()
    for path in RECIPE:
        assert set(find_starts(read_config(path))) <= earlier, path
        earlier.add(Path("runs") / path.stem / "weights")


def test_the_recipe_is_whole():
    assert [path.stem[:2] for path in RECIPE] == [f"{i:02}" for i in range(1, 19)] + ["re", "re"]


def test_its_settings_fit_what_it_was_trained_on():
    windows = context_windows(50, TOY_SAMPLING.context_window, TOY_SAMPLING.context_overlap)

    assert all(len(window) == 5 for window in windows)
    assert TOY_SIZE == 128


def test_a_model_of_the_folder_is_loaded_and_its_identity_is_optional(tmp_path, monkeypatch):
    monkeypatch.setattr("hunyuan_core.toy.TOY_FOLDER", tmp_path)
    write_tiny_models(tmp_path)

    assert Pipeline.toy(device="cpu").arcface is not None
    assert Pipeline.toy(device="cpu", has_identity=False).arcface is None


def test_missing_files_are_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("hunyuan_core.toy.TOY_FOLDER", tmp_path)

    with pytest.raises(
        WeightsError, match=r"model is incomplete: .* lacks hyportrait/unet.*arcface.onnx; install"
    ) as none:
        Pipeline.toy()
    assert "\n" not in str(none.value)
    write_tiny_models(tmp_path)
    (tmp_path / "arcface.onnx").unlink()
    with pytest.raises(WeightsError, match=r"model is incomplete: .* lacks arcface.onnx; install the package"):
        Pipeline.toy()
    with pytest.raises(WeightsError, match=r"lacks reader.safetensors; install the package again"):
        toy_reader_file()
