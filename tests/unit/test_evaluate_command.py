"""``hunyuan-portrait evaluate`` on drawn faces and an untrained model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from metric_networks import write_clip_features, write_frame_features, write_lpips
from PIL import Image

from hunyuan_core.cli import main
from hunyuan_core.demo import FACE_BOX, draw_driver, draw_portrait
from hunyuan_core.video import write_video

SIDE = 128
BOX = ",".join(str(value / 4) for value in FACE_BOX)
FACES = ["--portrait-box", BOX, "--driving-box", BOX]
MODEL = ["--weights", "untrained-tiny", "--size", "64", "--num-inference-steps", "1", "--num-padding-frames", "1"]


def small(frame: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize((SIDE, SIDE)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait, a driver, and the stand-ins of all networks."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(small(draw_portrait())).save(folder / "portrait.png")
    write_video(folder / "a.mp4", map(small, draw_driver(12)), 25)
    write_video(
        folder / "noisy.mp4", (np.clip(small(f) + np.int16(9), 0, 255).astype(np.uint8) for f in draw_driver(12)), 25
    )
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:2000])
    write_lpips(folder / "metrics" / "lpips.onnx")
    write_frame_features(folder / "metrics" / "inception.onnx")
    write_clip_features(folder / "metrics" / "i3d.onnx")
    return folder


def run(folder: Path, out: Path, *arguments: object) -> int:
    shared = ["--metrics", folder / "metrics", "--models", folder / "models", "--out", out]
    return main(["evaluate", *map(str, (*arguments, *shared))])


def test_a_list_of_pairs_and_its_bad_ones(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = folder / "pairs.csv"
    lines = ["driving,portrait,truth", "a.mp4,,", "a.mp4,portrait.png,", "broken.mp4,,", "a.mp4,portrait.png,gone.mp4"]
    pairs.write_text("\n".join(lines))

    status = run(
        folder,
        tmp_path / "out",
        "--pairs",
        pairs,
        "--num-frames",
        5,
        "--samples",
        1,
        "--ablate",
        "intensity",
        *MODEL,
        *FACES,
    )

    assert status == 1
    captured = capsys.readouterr()
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    full, ablated = content["rows"]
    assert (full["title"], ablated["title"]) == ("HunyuanPortrait", "- IAME")
    own, cross, broken, gone = full["pairs"]
    assert (own["kind"], cross["kind"], own["error"], cross["error"]) == ("self", "cross", None, None)
    assert own["report"]["num_frames"] == 5
    # By hand no landmarks, and the untrained model has no ArcFace.
    unmeasured = {"landmark_distance", "normalised_landmark_distance", "identity_similarity"}
    assert set(own["report"]["not_measured"]) == unmeasured
    assert set(cross["report"]["metrics"]) == {"motion_error", "rotation_error", "translation_error"}
    assert {"fid_vid", "psnr", "lpips"} <= set(full["kinds"]["self"]["metrics"])
    assert "at least two clips of 4 frames" in full["kinds"]["self"]["not_measured"]["fvd"]
    assert "broken.mp4" in broken["error"]
    assert "gone.mp4 does not exist" in gone["error"]
    assert "motion_error" in ablated["kinds"]["cross"]["metrics"]
    assert captured.err.count("gone.mp4 does not exist") == 2
    assert "Cross-reenactment, 2 pairs" in captured.out
    page = (tmp_path / "out" / "index.html").read_text()
    links = re.findall(r'src="([^"]+)"', page)
    assert "videos/reference/001-a.mp4" in links
    assert "videos/no-intensity/001-a.mp4" in links
    assert all((tmp_path / "out" / link).is_file() for link in links)


def test_two_videos_without_any_weights(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, tmp_path / "out", folder / "noisy.mp4", folder / "a.mp4") == 0

    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    kind = content["rows"][0]["kinds"]["self"]
    assert set(kind["metrics"]) == {"psnr", "ssim", "lpips", "fid_vid", "fvd"}
    assert content["rows"][0]["pairs"][0]["report"]["metrics"]["psnr"]["mean"] > 20
    reasons = kind["not_measured"]
    assert "No face detector is there" in reasons["motion_error"]
    assert "LMD, Identity, AED, APD not measured" in capsys.readouterr().out
    assert content["settings"]["networks"]["lpips"]["name"] == "lpips.onnx"
    assert "<video" not in (tmp_path / "out" / "index.html").read_text()


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to measure"),
        (["a.mp4"], "Give RESULT and TRUTH"),
        (["a.mp4", "a.mp4", "--pairs", "pairs.csv"], "Give RESULT and TRUTH, or --pairs"),
        (["a.mp4", "a.mp4", "--ablate", "identity"], "--ablate is for --pairs"),
        (["a.mp4", "a.mp4", "--num-frames", "3"], "--num-frames is for --pairs"),
        (["--pairs", "pairs.csv", "--num-frames", "0"], "--num-frames must be at least 1"),
        (["--pairs", "pairs.csv", "--ablate", "mouth"], "--ablate takes each of memory-bank, intensity"),
        (["--pairs", "pairs.csv", "--portrait", "p.png"], "--portrait is for RESULT TRUTH"),
        (["--pairs", "no.csv", *MODEL], "no.csv cannot be read"),
        (["no.mp4", "no.mp4"], "no.mp4 does not exist"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(folder, tmp_path / "out", *arguments) == 2

    assert message in complaint(capsys)


def test_videos_of_other_lengths_and_parts_that_are_not_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "short.mp4", map(small, draw_driver(5)), 25)
    (tmp_path / "pairs.csv").write_text("driving\na.mp4\n")

    assert run(folder, tmp_path / "out", tmp_path / "short.mp4", folder / "a.mp4") == 2
    assert "The reference has 12 frames but the result 5" in complaint(capsys)
    assert run(folder, tmp_path / "o", "--pairs", tmp_path / "pairs.csv", "--ablate", "identity", *MODEL, *FACES) == 2
    assert "no identity to switch off" in complaint(capsys)
