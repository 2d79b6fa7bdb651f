from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import audio_packets, make_clip
from PIL import Image
from pose_networks import save_pose
from safetensors.torch import save_file

from hunyuan_core.checkpoints import FILES
from hunyuan_core.cli import main
from hunyuan_core.demo import FACE_BOX, draw_portrait

BOX = ",".join(str(value / 4) for value in FACE_BOX)
QUICK = ["--weights", "untrained-tiny", "--num-inference-steps", "1", "--num-padding-frames", "2", "--size", "64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def portrait(folder):
    path = folder / "portrait.png"
    Image.fromarray(draw_portrait()).resize((128, 128)).save(path)
    return path


@pytest.fixture(scope="module")
def driving(folder):
    return make_clip(folder / "driving.mp4", num_frames=7, rate=Fraction(30000, 1001), audio_codec="aac")


def arguments(portrait, driving, out, *more, boxes=True):
    faces = ["--portrait-box", BOX, "--driving-box", "20,20,80,80"] if boxes else []
    return ["animate", "--portrait", str(portrait), "--driving", str(driving), "--out", str(out), *QUICK, *faces, *more]


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def complaint(capsys) -> str:
    """The one line of the error."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_animates(portrait, driving, tmp_path, capsys):
    out = tmp_path / "out.mp4"

    assert main(arguments(portrait, driving, out, "--seed", "7")) == 0

    frames = frames_of(out)
    assert len(frames) == 7
    assert frames[0].shape == (64, 64, 3)
    assert np.std(frames[3]) > 5
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
        assert container.metadata["comment"].startswith("Synthetic video")
    assert audio_packets(out) == audio_packets(driving)
    captured = capsys.readouterr()
    assert "THE PICTURE IS NOISE" in captured.err
    assert captured.out == f"{out}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_video_says_how_to_make_it_again(portrait, driving, tmp_path):
    first, again = tmp_path / "first.mp4", tmp_path / "again.mp4"
    unusual = ["--seed", "7", "--no-identity", "--smooth-track", "3", "--image-guidance-scale", "1.5", "2.5"]
    assert main(arguments(portrait, driving, first, *unusual, "--full-resolution", "--crf", "20")) == 0

    with av.open(str(first)) as container:
        record = json.loads(container.metadata["hunyuan_portrait"])
    assert record["portrait"] == {"name": portrait.name, "sha256": hashlib.sha256(portrait.read_bytes()).hexdigest()}
    assert record["driving"]["name"] == driving.name
    assert (record["computed_on"], record["computed_in"]) == ("cpu", "float32")
    rebuilt = ["animate", "--portrait", str(portrait), "--driving", str(driving), "--out", str(again)]
    for name, value in record["options"].items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            rebuilt += [flag] * value
        elif value is not None:
            rebuilt += [flag, *(map(str, value) if isinstance(value, list) else [str(value)])]

    assert main(rebuilt) == 0
    assert first.read_bytes() == again.read_bytes()


def test_a_quick_look_and_then_the_vae(portrait, driving, tmp_path, capsys):
    quick, full = tmp_path / "quick.mp4", tmp_path / "full.mp4"
    job = ["--job", str(tmp_path / "job")]
    assert main(arguments(portrait, driving, quick, *job, "--decoder", "linear")) == 0
    assert main(arguments(portrait, driving, full, *job)) == 0

    assert "all 1 steps are done" in capsys.readouterr().err
    look, frames = np.stack(frames_of(quick)), np.stack(frames_of(full))
    assert look.shape == frames.shape
    assert np.abs(look.astype(int) - frames).mean() > 1


def test_a_missing_small_decoder_is_told_before_the_work(portrait, driving, tmp_path, capsys):
    out, models = tmp_path / "out.mp4", ["--models", str(tmp_path)]
    assert main(arguments(portrait, driving, out, *models, "--decoder", "tiny")) == 2
    assert "download --preview-decoder" in complaint(capsys)


def test_same_seed_same_video(portrait, driving, tmp_path):
    paths = [tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4")]
    for path, seed in zip(paths, ("1", "1", "2"), strict=True):
        torch.randn(5)
        assert main(arguments(portrait, driving, path, "--seed", seed)) == 0

    first, second, other = (np.stack(frames_of(path)) for path in paths)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first.astype(int) - other).mean() > 1


def test_pastes_back_into_the_whole_portrait(portrait, driving, tmp_path):
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[40:168, 100:228] = np.asarray(Image.open(portrait))
    large = tmp_path / "large.png"
    Image.fromarray(picture).save(large)
    out = tmp_path / "out.mp4"
    box = ["--portrait-box", "140,75,190,140", "--driving-box", "20,20,80,80"]

    assert main(arguments(large, driving, out, "--full-resolution", *box, boxes=False)) == 0

    frame = frames_of(out)[0]
    assert frame.shape == picture.shape
    assert np.abs(frame[:, :60].astype(int) - picture[:, :60]).max() <= 3
    assert np.std(frame[90:120, 150:180].astype(int) - picture[90:120, 150:180]) > 5


def grey(image):
    return image.convert("L")


def rgba(image):
    image = image.convert("RGBA")
    image.putalpha(200)
    return image


def grey16(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def megapixels100(image):
    return image.resize((10_000, 10_000), Image.Resampling.NEAREST)


@pytest.mark.parametrize("change", [grey, rgba, grey16, megapixels100])
def test_unusual_portraits_work(change, portrait, driving, tmp_path):
    path = tmp_path / "unusual.png"
    image = change(Image.open(portrait))
    image.save(path, compress_level=1)
    box = ",".join(str(value / 512 * image.width) for value in FACE_BOX)

    out = tmp_path / "out.mp4"
    assert main(arguments(path, driving, out, "--portrait-box", box, "--driving-box", "20,20,80,80", boxes=False)) == 0
    assert len(frames_of(out)) == 7


def test_a_still_picture_drives_with_a_warning(portrait, tmp_path, capsys):
    out = tmp_path / "out.mp4"

    assert main(arguments(portrait, portrait, out)) == 0

    assert len(frames_of(out)) == 25
    assert "the model knows motion only" in capsys.readouterr().err.lower()


class Broken:
    """Makes one broken input; each gives the arguments that name it."""

    @staticmethod
    def missing_portrait(folder, portrait, driving):
        return folder / "none.png", driving, [], "none.png"

    @staticmethod
    def missing_driving(folder, portrait, driving):
        return portrait, folder / "none.mp4", [], "none.mp4"

    @staticmethod
    def unreadable_portrait(folder, portrait, driving):
        path = folder / "text.png"
        path.write_text("not a picture")
        return path, driving, [], "text.png"

    @staticmethod
    def tiny_portrait(folder, portrait, driving):
        path = folder / "tiny.png"
        Image.new("RGB", (8, 8)).save(path)
        return path, driving, ["--portrait-box", "1,1,7,7"], "8x8"

    @staticmethod
    def unreadable_driving(folder, portrait, driving):
        path = folder / "text.mp4"
        path.write_text("not a video")
        return portrait, path, [], "text.mp4"

    @staticmethod
    def empty_driving(folder, portrait, driving):
        path = folder / "empty.mp4"
        path.touch()
        return portrait, path, [], "empty"

    @staticmethod
    def truncated_driving(folder, portrait, driving):
        path = folder / "cut.mp4"
        path.write_bytes(driving.read_bytes()[: driving.stat().st_size // 2])
        return portrait, path, [], "cut.mp4"

    @staticmethod
    def portrait_box_outside(folder, portrait, driving):
        return portrait, driving, ["--portrait-box", "900,900,950,950"], "128×128"

    @staticmethod
    def driving_box_outside(folder, portrait, driving):
        return portrait, driving, ["--driving-box", "900,900,950,950"], "128×96"

    @staticmethod
    def malformed_box(folder, portrait, driving):
        return portrait, driving, ["--portrait-box", "1,2,3"], "--portrait-box takes 4 numbers"

    @staticmethod
    def overlap_of_the_window(folder, portrait, driving):
        return portrait, driving, ["--context-window", "8", "--context-overlap", "8"], "lower context_overlap"

    @staticmethod
    def odd_size(folder, portrait, driving):
        return portrait, driving, ["--size", "100"], "multiple of 8"

    @staticmethod
    def no_weights(folder, portrait, driving):
        return portrait, driving, ["--weights", "released", "--models", str(folder)], "hunyuan-portrait download"

    @staticmethod
    def output_over_an_input(folder, portrait, driving):
        return portrait, driving, ["--out", str(driving)], "also an input"

    @staticmethod
    def unknown_device(folder, portrait, driving):
        return portrait, driving, ["--device", "abacus"], "--device abacus"

    @staticmethod
    def absent_device(folder, portrait, driving):
        return portrait, driving, ["--device", "cuda:99"], "--device cuda:99"

    @staticmethod
    def skeleton_without_dwpose(folder, portrait, driving):
        return portrait, driving, ["--pose", "skeleton"], "--dwpose"

    @staticmethod
    def huge_seed(folder, portrait, driving):
        return portrait, driving, ["--seed", "99999999999999999999"], "seed must be"

    @staticmethod
    def not_a_number(folder, portrait, driving):
        return portrait, driving, ["--fps", "nan"], "fps must be"

    @staticmethod
    def infinite_guidance(folder, portrait, driving):
        return portrait, driving, ["--motion-guidance-scale", "inf"], "motion_guidance_scale must be"

    @staticmethod
    def huge_size(folder, portrait, driving):
        return portrait, driving, ["--size", "100000"], "from 64 to 4096"

    @staticmethod
    def crf_out_of_range(folder, portrait, driving):
        return portrait, driving, ["--crf", "99"], "crf"

    @staticmethod
    def negative_face(folder, portrait, driving):
        more = ["--portrait-face=-1", "--models", str(folder)]
        return portrait, driving, more, "leave it out where one is given"

    @staticmethod
    def even_smoothing(folder, portrait, driving):
        return portrait, driving, ["--smooth-track", "2"], "--smooth-track"

    @staticmethod
    def detector_without_use(folder, portrait, driving):
        return portrait, driving, ["--detector", "mediapipe"], "leave it out"

    @staticmethod
    def meta_device(folder, portrait, driving):
        return portrait, driving, ["--device", "meta"], "--device meta"

    @staticmethod
    def inside_out_box(folder, portrait, driving):
        return portrait, driving, ["--driving-box", "80,80,20,20"], "80"

    @staticmethod
    def same_person_without_skeleton(folder, portrait, driving):
        return portrait, driving, ["--same-person"], "--pose skeleton"

    @staticmethod
    def three_guidance_scales(folder, portrait, driving):
        return portrait, driving, ["--image-guidance-scale", "1", "2", "3"], "--image-guidance-scale"


@pytest.mark.parametrize("broken", [name for name in vars(Broken) if not name.startswith("_")])
def test_bad_input_is_one_line_and_nothing_is_written(broken, portrait, driving, tmp_path, capsys):
    folder, target = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    target.mkdir()
    bad_portrait, bad_driving, more, word = getattr(Broken, broken)(folder, portrait, driving)

    assert main(arguments(bad_portrait, bad_driving, target / "out.mp4", *more)) == 2

    assert word in complaint(capsys)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("more", [["--seed", "1.5"], ["--por", "x"], ["--unknown"], []])
def test_wrong_usage_is_one_line_too(more, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["animate", *more])

    assert re.fullmatch(r"error: .*; see hunyuan-portrait animate --help\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "command", [["demo", "--out", "FILE"], ["inspect", "IMAGE", "--out", "IMAGE"], ["inspect", "."]]
)
def test_other_commands_refuse_too(command, portrait, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, before = tmp_path / "file", portrait.read_bytes()
    file.touch()
    command = [{"FILE": str(file), "IMAGE": str(portrait)}.get(word, word) for word in command]

    assert main([*command, *(["--driving-box", "20,20,80,80"] if command[0] == "inspect" else [])]) == 2

    complaint(capsys)
    assert portrait.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_detector_says_how_to_get_one(portrait, driving, tmp_path, capsys):
    assert main(arguments(portrait, driving, tmp_path / "o.mp4", "--models", str(tmp_path), boxes=False)) == 2

    assert "--portrait-box" in complaint(capsys)


@pytest.mark.parametrize(
    ("out", "word"),
    [("missing/out.mp4", "missing"), ("file.txt/out.mp4", "file.txt"), ("out.avi", ".mp4")],
)
def test_an_output_that_cannot_be_written_fails_at_once(out, word, portrait, driving, tmp_path, capsys):
    (tmp_path / "file.txt").touch()

    assert main(arguments(portrait, driving, tmp_path / out)) == 2

    assert word in complaint(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


class RunsCode:
    """Pickles to a call that would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("kind", ["truncated", "of another model", "malicious"])
def test_a_bad_checkpoint_is_named(kind, portrait, driving, tmp_path, capsys):
    models, trace = tmp_path / "models", tmp_path / "trace"
    for file in FILES:
        path = models / file.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":  # its header is asked for the network's size, for the memory's plan
            save_file({"never read": torch.zeros(1)}, path)
        else:
            path.write_bytes(b"never read")
    unet = models / "hyportrait/unet.pth"
    if kind == "malicious":
        torch.save({"conv_in.weight": RunsCode(trace)}, unet)
    else:
        torch.save({"resnet50.conv1.weight": torch.zeros(64, 3, 7, 7)}, unet)
    if kind == "truncated":
        unet.write_bytes(unet.read_bytes()[:-500])
    out = tmp_path / "out.mp4"

    more = ["--weights", "released", "--models", str(models), "--no-identity"]
    assert main(arguments(portrait, driving, out, *more)) == 2

    assert "unet.pth" in complaint(capsys)
    assert not trace.exists()
    assert not out.exists()


def test_a_skeleton_can_be_the_pose(portrait, driving, tmp_path, capsys):
    out, dwpose = tmp_path / "out.mp4", tmp_path / "dwpose"
    dwpose.mkdir()
    save_pose(dwpose / "dw-ll_ucoco_384.onnx")

    assert main(arguments(portrait, driving, out, "--pose", "skeleton", "--dwpose", str(dwpose), "--same-person")) == 0

    assert "Detecting poses: 100%" in capsys.readouterr().err
    assert len(frames_of(out)) == 7


def test_a_skeleton_of_nobody_is_one_error(portrait, driving, tmp_path, capsys):
    save_pose(tmp_path / "dw-ll_ucoco_384.onnx", score=0.1)

    assert main(arguments(portrait, driving, tmp_path / "o.mp4", "--pose", "skeleton", "--dwpose", str(tmp_path))) == 2

    assert "black pose images" in complaint(capsys)
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_leaves_nothing_behind(stop, portrait, driving, tmp_path):
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-c", "import sys; from hunyuan_core.cli import main; sys.exit(main())"]
    many_steps = ["--num-inference-steps", "5000"]
    process = subprocess.Popen(  # noqa: S603
        [*command, *arguments(portrait, driving, out, *many_steps)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    seen = ""
    while "Sampling" not in seen and process.poll() is None:
        seen += process.stderr.read(1)
    time.sleep(0.5)
    process.send_signal(stop)

    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing was written" in errors
    assert list(tmp_path.iterdir()) == []


def test_runs_without_a_standard_error(portrait, driving, tmp_path):
    out = tmp_path / "out.mp4"
    code = "import sys; from hunyuan_core.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments(portrait, driving, out)]

    subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], check=True)  # noqa: S603, S607

    assert len(frames_of(out)) == 7


def test_inspect_draws_a_contact_sheet(driving, tmp_path, capsys):
    out = tmp_path / "sheet.png"

    assert main(["inspect", str(driving), "--out", str(out), "--driving-box", "20,20,80,80"]) == 0

    sheet = np.asarray(Image.open(out))
    assert sheet.shape[0] == 208
    assert (sheet == (80, 220, 100)).all(axis=-1).any()
    assert capsys.readouterr().out == f"{out}\n"


def test_verify_reports_what_is_missing(tmp_path, capsys):
    assert main(["verify", "--models", str(tmp_path)]) == 1

    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("missing")]) == len(FILES)


def test_download_needs_the_licences_accepted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115

    assert main(["download", "--models", str(tmp_path)]) == 2

    captured = capsys.readouterr()
    assert "non-commercial" in captured.out
    assert "--accept-licences" in captured.err
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])

    text = capsys.readouterr().out
    assert all(name in text for name in ("animate", "inspect", "download", "convert", "verify", "demo"))
