"""Checkpoints are read without executing them, and damage is named."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 (to write what must not be read)
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from hunyuan_core.checkpoints import read_shapes, read_state_dict
from hunyuan_core.errors import WeightsError


class RunsCode:
    """Creates the marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3).half(), "n": torch.tensor(7)}


@pytest.mark.parametrize("form", ["zip", "bare", "safetensors", "wrapped"])
def test_tensors_are_read_as_they_are(tmp_path: Path, form: str):
    expected = tensors()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(expected, path)
    else:
        content = {"state_dict": expected} if form == "wrapped" else expected
        torch.save(content, path, _use_new_zipfile_serialization=form != "bare")
    state_dict = read_state_dict(path)
    assert list(state_dict) == list(expected) or form == "safetensors"
    for key, tensor in expected.items():
        torch.testing.assert_close(state_dict[key], tensor, rtol=0, atol=0)
    assert read_shapes(path) == {"a.weight": (3, 4), "a.bias": (3,), "n": ()}


@pytest.mark.parametrize("form", ["zip", "bare"])
def test_a_torch_checkpoint_under_the_name_of_safetensors(tmp_path: Path, form: str):
    path = tmp_path / "w.safetensors"
    torch.save(tensors(), path, _use_new_zipfile_serialization=form == "zip")
    assert read_shapes(path) == {"a.weight": (3, 4), "a.bias": (3,), "n": ()}


def test_safetensors_under_the_name_of_a_torch_checkpoint(tmp_path: Path):
    expected = tensors()
    save_file(expected, tmp_path / "w.pth")
    state_dict = read_state_dict(tmp_path / "w.pth")
    assert all(torch.equal(state_dict[key], tensor) for key, tensor in expected.items())
    assert read_shapes(tmp_path / "w.pth") == {"a.weight": (3, 4), "a.bias": (3,), "n": ()}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_that_looks_like_safetensors_never_runs(tmp_path: Path, suffix: str):
    """A pickle of protocol 0 whose ninth byte is that of a safetensors header."""
    marker, path = tmp_path / "ran", tmp_path / f"w{suffix}"
    code = f"V1234567{{\ncos\nsystem\n(Vtouch {marker}\ntR.".encode()
    assert code[8:9] == b"{"
    path.write_bytes(code)
    with pytest.raises(WeightsError):
        read_state_dict(path)
    assert not marker.exists()
    pickle.loads(code)  # noqa: S301 (the referee: an ordinary unpickling does run it)
    assert marker.exists()


def test_tensors_map_the_file(tmp_path: Path):
    """32 MB in the file appear as mapped, not as allocated, memory."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc to see what is mapped")
    for name, write in (("w.pth", torch.save), ("w.safetensors", save_file)):
        path = tmp_path / name
        write({"x": torch.zeros(8_000_000)}, path)
        state_dict = read_state_dict(path)
        assert str(path) in maps.read_text()
        del state_dict


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "bare", "pickle", "pickle protocol 2"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, form: str):
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"weight": torch.zeros(2), "extra": RunsCode(marker)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif form == "pickle protocol 2":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"evil\.pth .*code.* not opened further") as caught:
        read_state_dict(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


def test_the_code_would_have_run(tmp_path: Path):
    """The referee of the test above: an ordinary unpickling does run it."""
    pickle.loads(pickle.dumps(RunsCode(tmp_path / "ran")))  # noqa: S301
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "saved web page"),
        (b"Invalid credentials in Authorization header", "damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weights_is_named(tmp_path: Path, content: bytes, words: str, suffix: str):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    expected = words if words != "damaged" or suffix == ".pth" else "not a safetensors file"
    with pytest.raises(WeightsError, match=expected) as caught:
        read_state_dict(path)
    assert "hunyuan-portrait download" in str(caught.value)
    with pytest.raises(WeightsError, match=expected):
        read_shapes(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no weight file at .*w\.pth"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, "'state_dict' is a dict"),
        ({"a": torch.zeros(1), "epoch": 3}, "'epoch' is a int"),
        ({1: torch.zeros(1)}, "entry 1 is a Tensor"),
        ([torch.zeros(1)], "holds a list"),
    ],
)
def test_what_is_no_flat_state_dict_is_refused(tmp_path: Path, content: object, words: str):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=words):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:.*TorchScript archive", "ignore:.*is deprecated:DeprecationWarning")
def test_a_torchscript_program_is_named(tmp_path: Path):
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "w.pth"))
    with pytest.raises(WeightsError, match="TorchScript program"):
        read_state_dict(tmp_path / "w.pth")


@given(share=st.floats(0, 0.999), form=st.sampled_from(["zip", "bare", "safetensors"]))
def test_a_file_cut_anywhere_is_a_weights_error(tmp_path_factory: pytest.TempPathFactory, share: float, form: str):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        path.write_bytes(save(tensors()))
    else:
        torch.save(tensors(), path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError):
        read_state_dict(path)
