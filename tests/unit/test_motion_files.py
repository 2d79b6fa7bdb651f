from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from own_motions import is_same, random_motion
from safetensors.torch import load_file, save_file

from hunyuan_core.errors import ConfigurationError, HunyuanPortraitError, MediaError, ShapeError
from hunyuan_core.motion_editing import reverse, trim
from hunyuan_core.motion_files import load_motion, read_motion_note, save_motion

MOTION = random_motion(60)
KEY = "hunyuan_portrait_motion"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "wink.safetensors"
    save_motion(MOTION, path, {"video": "wink.mp4", "frames": [0, 60]})
    return path


def rewrite(path: Path, header: object = None, **tensors: torch.Tensor | None) -> None:
    """Write the file again with other tensors, None for none, or another header."""
    changed = {name: tensor for name, tensor in (load_file(path) | tensors).items() if tensor is not None}
    text = json.dumps({"version": 1, "width": 14, "note": {}} if header is None else header)
    save_file(changed, path, {KEY: text})


def test_a_motion_comes_back_to_the_last_bit(path: Path) -> None:
    assert is_same(load_motion(path), MOTION)
    assert load_motion(str(path)).tokens.dtype == torch.float32
    assert read_motion_note(path) == {"video": "wink.mp4", "frames": [0, 60]}
    assert [file.name for file in path.parent.iterdir()] == ["wink.safetensors"]


def test_tensors_that_are_views_or_share_memory_are_written(path: Path) -> None:
    pose = torch.randn(60, 6)
    shared = replace(MOTION, rotation=pose[:, :3], translation=pose[:, 3:], tokens=MOTION.tokens.flip(0)[:, ::2])

    save_motion(shared, path)

    assert is_same(load_motion(path), shared)
    assert read_motion_note(path) == {}


@pytest.mark.parametrize("num_frames", [1, 25, 26])
def test_lengths_around_a_chunk(tmp_path: Path, num_frames: int) -> None:
    motion = trim(MOTION, 0, num_frames - 1)
    save_motion(motion, tmp_path / "a.safetensors")

    assert is_same(load_motion(tmp_path / "a.safetensors"), motion)


def test_the_same_motion_makes_the_same_file(path: Path, tmp_path: Path) -> None:
    save_motion(load_motion(path), tmp_path / "again.safetensors", read_motion_note(path))

    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_loaded_motion_outlives_its_file(path: Path) -> None:
    loaded = load_motion(path)
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))

    assert is_same(loaded, MOTION)


def test_a_note_that_json_cannot_hold_leaves_the_old_file(path: Path) -> None:
    for note in ({"path": path}, {"a": {1, 2}}):
        with pytest.raises(ConfigurationError, match="note must hold nothing but what JSON can hold"):
            save_motion(reverse(MOTION), path, note)

    assert is_same(load_motion(path), MOTION)


def test_a_motion_whose_parts_disagree_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="rotation"):
        save_motion(replace(MOTION, rotation=torch.zeros(5, 3)), tmp_path / "a.safetensors")

    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ends in \.safetensors; got 'motion\.pt'"):
        save_motion(MOTION, tmp_path / "motion.pt")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="choose an output folder that exists"):
        save_motion(MOTION, tmp_path / "none" / "a.safetensors")


def test_a_disk_without_room_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(MediaError, match=r"a\.safetensors"):
            save_motion(MOTION, tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert list(tmp_path.iterdir()) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def video(path: Path) -> None:
    path.write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(1000))


def weights(path: Path) -> None:
    save_file({"conv_in.weight": torch.zeros(4)}, path, {"format": "pt"})


def header_that_is_not_json(path: Path) -> None:
    save_file(load_file(path), path, {KEY: "{"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "There is no motion file at .*; check the name, or encode a video"),
        (cut, "is cut short or not a motion file .*; give a file that was saved as motion"),
        (empty, "is cut short or not a motion file"),
        (video, "is cut short or not a motion file"),
        (weights, "is a safetensors file but holds no motion"),
        (header_that_is_not_json, "is a damaged motion file .its header is not JSON"),
        (lambda path: rewrite(path, {"version": 2}), "is a motion file of version 2 and this program reads version 1"),
        (lambda path: rewrite(path, []), "is a motion file of version None"),
        (lambda path: rewrite(path, {"version": 1, "note": {}}), "its header lacks the width or the note"),
        (lambda path: rewrite(path, {"version": 1, "width": 14, "note": "x"}), "lacks the width or the note"),
    ],
)
@pytest.mark.parametrize("read", [load_motion, read_motion_note])
def test_what_is_no_motion_file_is_told_apart(
    path: Path, damage: Callable[[Path], None], message: str, read: Callable[[Path], object]
) -> None:
    damage(path)

    with pytest.raises(MediaError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"rotation": None}, "it holds expression_intensity, head_intensity, tokens, translation"),
        ({"more": torch.zeros(1)}, "it holds .*, more, "),
        ({"rotation": torch.zeros(5, 3)}, r"has a rotation of \(60, 3\); got \(5, 3\)"),
        ({"tokens": MOTION.tokens.half()}, "tokens is float32; got torch.float16"),
        ({"tokens": torch.zeros(60, 3, 20)}, "its tokens have 20 channels where it announces 14"),
        ({"head_intensity": torch.zeros(3)}, "its intensities are not rows of whole numbers"),
        ({"head_intensity": torch.tensor(3)}, "its intensities are not rows of whole numbers"),
        ({"head_intensity": torch.tensor([1])}, "3 values of head_intensity"),
    ],
)
def test_a_damaged_motion_file_says_what_is_wrong(
    path: Path, tensors: dict[str, torch.Tensor | None], message: str
) -> None:
    rewrite(path, **tensors)

    with pytest.raises(MediaError, match=rf"is a damaged motion file \(.*{message}.*\); encode and save"):
        load_motion(path)


def test_every_truncation_is_an_error_of_ours(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(HunyuanPortraitError):
            load_motion(path)
