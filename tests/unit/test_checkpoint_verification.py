"""What `hunyuan-portrait verify` tells of each file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hunyuan_core import models
from hunyuan_core.checkpoints import FILES, FileReport, build_network, convert, find_models, verify
from hunyuan_core.config import ModelConfig

WIDTHS = {file.name: 2 + index for index, file in enumerate(file for file in FILES if file.is_network)}


def build(name: str) -> nn.Module:
    return nn.Linear(WIDTHS[name], 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All networks, sound; no other file."""
    for file in FILES:
        if file.is_network:
            path = tmp_path / file.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            (torch.save if path.suffix == ".pth" else save_file)(build(file.name).state_dict(), path)
    return tmp_path


def report(folder: Path, name: str) -> FileReport:
    return next(report for report in verify(folder, build=build) if report.file.name == name)


def test_a_sound_folder_has_nothing_to_do(folder: Path):
    reports = verify(folder, build=build)
    assert [r.file for r in reports] == list(FILES)
    assert all(r.is_ok for r in reports)
    assert {r.status for r in reports if r.file.is_network} == {"present"}
    assert all("\n" not in str(r) and str(r.path) in str(r) for r in reports)


def test_networks_are_checked_without_memory_for_them(folder: Path):
    devices = []

    def watched(name: str) -> nn.Module:
        module = build(name)
        devices.append(module.weight.device.type)
        return module

    verify(folder, build=watched)
    assert set(devices) == {"meta"}


def test_required_and_optional_files_that_are_missing(folder: Path):
    (folder / "hyportrait/unet.pth").unlink()
    unet, arcface = report(folder, "unet"), report(folder, "arcface")
    assert (unet.status, unet.is_ok) == ("missing", False)
    assert (arcface.status, arcface.is_ok) == ("missing", True)
    assert "optional, for the identity" in arcface.message


def test_damage(folder: Path):
    unet = folder / "hyportrait/unet.pth"
    unet.write_bytes(unet.read_bytes()[:200])
    assert report(folder, "unet").status == "damaged"
    dino = folder / "hyportrait/dino.pth"
    dino.write_bytes(b"<html>Sign in</html>")
    assert "saved web page" in report(folder, "vision").message
    vae = folder / FILES[[file.name for file in FILES].index("vae")].filename
    vae.write_bytes(vae.read_bytes()[:-1])
    assert report(folder, "vae").status == "damaged"


def test_one_wrong_byte_inside_a_tensor(folder: Path):
    path = folder / "hyportrait/expression.pth"
    weight = torch.load(path, weights_only=True)["weight"].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weight) + 1] ^= 1
    path.write_bytes(content)
    found = report(folder, "expression")
    assert found.status == "damaged"
    assert "in its record" in found.message


def test_wrong_layout_names_the_keys(folder: Path):
    torch.save({"weight": torch.zeros(3, WIDTHS["refiner"])}, folder / "hyportrait/motion_proj.pth")
    save_file({"weight": torch.zeros(1, 1), "bias": torch.zeros(3)}, folder / "hyportrait/unet.safetensors")
    refiner, unet = report(folder, "refiner"), report(folder, "unet")
    assert refiner.status == unet.status == "wrong layout"
    assert "1 missing (bias)" in refiner.message
    assert "weight is (1, 1) and not (3, 2)" in unet.message
    assert unet.path.suffix == ".safetensors"


def test_other_files_are_checked_by_checksum_or_size(folder: Path):
    (folder / "yoloface_v5m.pt").write_bytes(b"something else")
    (folder / "arcface.onnx").write_bytes(b"cut short")
    yoloface, arcface = report(folder, "yoloface"), report(folder, "arcface")
    assert yoloface.status == arcface.status == "damaged"
    assert "5ef5928d2ee1350ea7050ad7524b26a2b55e5c69fee49cd499667bde6a215b17 is expected" in yoloface.message
    assert "9 bytes where about 261000000" in arcface.message


def test_progress(folder: Path):
    seen: list[tuple[str, int, int]] = []
    verify(folder, build=build, on_progress=lambda *step: seen.append(step))
    assert [done for _, done, _ in seen] == list(range(len(FILES) + 1))


def test_the_projects_own_networks(tmp_path: Path):
    """Small networks saved, found, verified, converted and loaded; two files exchanged are told apart."""
    tiny = partial(models.build, config=ModelConfig.tiny())
    files = {file.name: tmp_path / file.filename for file in FILES if file.is_network}
    assert set(files) == set(models.NETWORKS)
    for name, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        (torch.save if path.suffix == ".pth" else save_file)(tiny(name).state_dict(), path)
    assert {r.status for r in verify(tmp_path, build=tiny) if r.file.is_network} == {"present"}
    assert {r.status for r in convert(tmp_path)} == {"converted"}
    assert {r.status for r in verify(tmp_path, build=tiny) if r.file.is_network} == {"present"}
    for name, path in find_models(tmp_path).paths.items():
        module = build_network(partial(tiny, name), path)
        assert not any(tensor.is_meta for tensor in module.state_dict().values())

    first, second = (files[name].with_suffix(".safetensors") for name in ("expression", "head_pose"))
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    reports = {r.file.name: r for r in verify(tmp_path, build=tiny)}
    assert "looks like headpose.pth" in reports["expression"].message
    assert "looks like expression.pth" in reports["head_pose"].message


def test_the_released_sizes_are_the_default(folder: Path):
    reports = {r.file.name: r for r in verify(folder)}
    assert {reports[name].status for name in models.NETWORKS} == {"wrong layout"}
    assert "1490 missing" in reports["unet"].message or "1492 missing" in reports["unet"].message
