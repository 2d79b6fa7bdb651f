"""The table of weight files and the search for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hunyuan_core.checkpoints import FILES, convert, default_folder, download, find_models, verify
from hunyuan_core.checkpoints.files import recognise
from hunyuan_core.errors import WeightsError


def fill(folder: Path, *, without: tuple[str, ...] = ()) -> None:
    for file in FILES:
        if file.name not in without:
            path = folder / file.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")


@pytest.mark.parametrize("inside", ["", "pretrained_weights"])
def test_all_files_are_found_in_the_releases_layout(tmp_path: Path, inside: str):
    fill(tmp_path / inside)
    models = find_models(tmp_path)
    assert set(models.paths) == {file.name for file in FILES}
    assert models.path("unet") == tmp_path / inside / "hyportrait" / "unet.pth"


def test_a_converted_file_comes_before_its_original(tmp_path: Path):
    fill(tmp_path)
    (tmp_path / "hyportrait" / "unet.safetensors").write_bytes(b"x")
    models = find_models(tmp_path)
    assert models.path("unet").name == "unet.safetensors"
    assert models.path("vision").name == "dino.pth"


def test_the_full_precision_vae_is_accepted(tmp_path: Path):
    fill(tmp_path, without=("vae",))
    vae = tmp_path / "stable-video-diffusion-img2vid-xt" / "vae" / "diffusion_pytorch_model.safetensors"
    vae.write_bytes(b"x")
    assert find_models(tmp_path).path("vae") == vae


def test_all_missing_files_are_listed_with_the_folder_and_the_remedy(tmp_path: Path):
    fill(tmp_path, without=("unet", "refiner", "arcface"))
    with pytest.raises(WeightsError) as caught:
        find_models(tmp_path)
    message = str(caught.value)
    assert "hyportrait/unet.pth, hyportrait/motion_proj.pth not found" in message
    assert "arcface" not in message
    assert str(tmp_path) in message
    assert "`hunyuan-portrait download`" in message
    assert "HUNYUAN_PORTRAIT_MODELS" in message


def test_a_folder_that_does_not_exist_is_said_to(tmp_path: Path):
    with pytest.raises(WeightsError, match="none, which does not exist"):
        find_models(tmp_path / "none")


@pytest.mark.parametrize(
    "use",
    [find_models, verify, convert, lambda folder=None: download(lambda text: True, folder)],
    ids=["find_models", "verify", "convert", "download"],
)
def test_a_file_is_not_taken_for_a_folder(use: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "unet.pth"
    file.write_bytes(b"x")
    monkeypatch.setenv("HUNYUAN_PORTRAIT_MODELS", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    for arguments in ((), (file,), (str(file),), ("~/unet.pth",), (Path("~/unet.pth"),)):
        with pytest.raises(WeightsError, match=rf"{file} is a file; give a folder") as caught:
            use(*arguments)
        assert "\n" not in str(caught.value)


def test_the_home_folder_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HUNYUAN_PORTRAIT_MODELS", "~/weights")
    fill(tmp_path / "weights")
    for folder in (None, "~/weights", Path("~/weights")):
        assert find_models(folder).folder == tmp_path / "weights"
    assert {report.path for report in convert("~/weights")} >= {tmp_path / "weights/hyportrait/unet.pth"}
    assert verify("~/weights")[0].path == tmp_path / "weights/hyportrait/unet.pth"
    assert {report.status for report in download(lambda text: False, "~/weights")} == {"present"}


def test_nobodys_home_folder():
    with pytest.raises(WeightsError, match=r"models folder is unknown \(.*\); write its path in full"):
        find_models("~nobody-of-this-name/weights")


def test_an_optional_file_is_missed_when_it_is_asked_for(tmp_path: Path):
    fill(tmp_path, without=("arcface",))
    models = find_models(tmp_path)
    assert "arcface" not in models.paths
    with pytest.raises(WeightsError, match=r"arcface\.onnx not found.*hunyuan-portrait download"):
        models.path("arcface")


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HUNYUAN_PORTRAIT_MODELS", raising=False)
    assert default_folder() == tmp_path / "cache" / "hunyuan-portrait"
    monkeypatch.setenv("HUNYUAN_PORTRAIT_MODELS", str(tmp_path / "weights"))
    fill(tmp_path / "weights")
    assert find_models().folder == tmp_path / "weights"


def test_names_are_unique():
    assert len({file.name for file in FILES}) == len(FILES) == len({file.filename for file in FILES})


def test_each_released_layout_is_recognised_as_its_own(golden_dir: Path):
    layouts = {path.name: json.loads(path.read_text()) for path in (golden_dir / "layout").iterdir()}
    by_name = {file.name: file for file in FILES}
    released = {file.name: layouts.get(f"{Path(file.filename).name}.json") for file in FILES if file.is_network}
    assert {name for name, layout in released.items() if layout is None} == {"vae"}
    for name, layout in (released | {"vae": layouts["vae_tiny.json"]}).items():
        assert recognise(layout) is by_name[name]


def test_other_state_dicts_are_not_recognised():
    assert recognise({"conv.weight", "conv.bias"}) is None
    assert recognise({"weight", "bias", "other"}) is None
