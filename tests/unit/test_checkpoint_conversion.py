"""Conversion of .pth files to safetensors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hunyuan_core.checkpoints import convert, find_models, read_state_dict
from hunyuan_core.checkpoints.conversion import convert_file
from hunyuan_core.checkpoints.integrity import sha256_of
from hunyuan_core.errors import WeightsError


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / "hyportrait" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def statuses(folder: Path) -> dict[str, str]:
    return {report.file.name: report.status for report in convert(folder)}


def test_each_file_is_converted_once(tmp_path: Path):
    source = write(tmp_path, "unet.pth", {"a": torch.randn(3, 2), "b": torch.arange(3)})
    write(tmp_path, "dino.pth", {"c": torch.randn(4).half()})
    original = source.read_bytes()
    seen: list[tuple[str, int, int]] = []
    first = {r.file.name: r.status for r in convert(tmp_path, lambda *step: seen.append(step))}
    assert first["unet"] == first["vision"] == "converted"
    assert first["expression"] == "missing"
    assert source.read_bytes() == original
    assert seen[0] == ("hyportrait/unet.pth", 0, 7)
    assert seen[-1][1:] == (7, 7)

    target = source.with_suffix(".safetensors")
    written = target.stat().st_mtime_ns
    assert statuses(tmp_path)["unet"] == "present"
    assert target.stat().st_mtime_ns == written
    assert not list(tmp_path.rglob("*.part*"))


def test_the_same_tensors_and_their_origin_are_stored(tmp_path: Path):
    shared = torch.randn(4, 6)
    content = {
        "shared": shared,
        "also_shared": shared,
        "part": shared[1:3],
        "transposed": shared.t(),
        "nan": torch.tensor([float("nan"), 1.0]),
        "half": torch.randn(3).bfloat16(),
        "empty": torch.zeros(0, 3),
        "count": torch.tensor(5),
        "mask": torch.tensor([True, False]),
    }
    source = write(tmp_path, "unet.pth", content)
    assert statuses(tmp_path)["unet"] == "converted"
    target = source.with_suffix(".safetensors")
    converted = read_state_dict(target)
    assert set(converted) == set(content)
    for key, tensor in content.items():
        torch.testing.assert_close(converted[key], tensor, rtol=0, atol=0, equal_nan=True)
    with safe_open(target, "pt") as file:
        metadata = file.metadata()
    assert metadata["source"] == "unet.pth"
    assert metadata["source_sha256"] == sha256_of(source)
    assert metadata["converted_by"].startswith("hunyuan-portrait ")


def test_a_changed_original_and_a_damaged_target_are_converted_again(tmp_path: Path):
    source = write(tmp_path, "unet.pth", {"a": torch.zeros(2)})
    convert(tmp_path)
    target = source.with_suffix(".safetensors")

    write(tmp_path, "unet.pth", {"a": torch.ones(2)})
    os.utime(source, (target.stat().st_mtime + 10,) * 2)
    assert statuses(tmp_path)["unet"] == "converted"
    assert read_state_dict(target)["a"].tolist() == [1, 1]

    os.truncate(target, 20)
    assert statuses(tmp_path)["unet"] == "converted"
    assert read_state_dict(target)["a"].tolist() == [1, 1]


def test_a_safetensors_file_of_other_origin_is_left_alone(tmp_path: Path):
    source = write(tmp_path, "unet.pth", {"a": torch.zeros(2)})
    target = source.with_suffix(".safetensors")
    save_file({"a": torch.ones(2)}, target)
    assert statuses(tmp_path)["unet"] == "present"
    assert read_state_dict(target)["a"].tolist() == [1, 1]


def test_a_damaged_file_is_reported_and_the_others_converted(tmp_path: Path):
    source = write(tmp_path, "unet.pth", {"a": torch.zeros(2)})
    source.write_bytes(source.read_bytes()[:100])
    write(tmp_path, "dino.pth", {"a": torch.zeros(2)})
    reports = {report.file.name: report for report in convert(tmp_path)}
    assert reports["unet"].status == "failed"
    assert "cut short" in reports["unet"].message
    assert not source.with_suffix(".safetensors").exists()
    assert reports["vision"].status == "converted"


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    """A limit on the size of files stands for the full disk: writing fails half way."""
    resource = pytest.importorskip("resource")
    source = write(tmp_path, "unet.pth", {"a": torch.zeros(100_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(WeightsError, match=r"unet\.safetensors cannot be written .*free space") as caught:
            convert_file(source, source.with_suffix(".safetensors"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert [path.name for path in source.parent.iterdir()] == ["unet.pth"]


def test_converted_files_are_what_is_found(tmp_path: Path):
    for name in ("unet", "dino", "image_proj", "expression", "headpose", "motion_proj", "pose_guider"):
        write(tmp_path, f"{name}.pth", {"a": torch.zeros(1)})
    vae = tmp_path / "stable-video-diffusion-img2vid-xt/vae/diffusion_pytorch_model.fp16.safetensors"
    vae.parent.mkdir(parents=True)
    vae.write_bytes(b"x")
    convert(tmp_path)
    assert {path.suffix for path in find_models(tmp_path).paths.values()} == {".safetensors"}
