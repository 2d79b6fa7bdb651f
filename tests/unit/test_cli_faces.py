"""The command line with a detector that really looks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip
from PIL import Image

from hunyuan_core.cli import main
from hunyuan_core.video import write_video

QUICK = ["--weights", "untrained-tiny", "--num-inference-steps", "1", "--num-padding-frames", "0", "--size", "64"]


@pytest.fixture
def detection(face_landmarker: Path) -> list[str]:
    return ["--detector", "mediapipe", "--detector-model", str(face_landmarker)]


def animate(portrait: Path, driving: Path, out: Path, *more: str) -> int:
    inputs = ["--portrait", str(portrait), "--driving", str(driving), "--out", str(out)]
    return main(["animate", *inputs, *QUICK, *more])


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "warning: "))]


def test_a_portrait_without_a_face_is_one_error(detection, tmp_path, capsys):
    portrait, driving = tmp_path / "grey.png", make_clip(tmp_path / "driving.mp4", num_frames=3)
    Image.new("RGB", (200, 200), "grey").save(portrait)

    assert animate(portrait, driving, tmp_path / "out.mp4", *detection) == 2

    (message,) = errors(capsys)
    assert "No face was found" in message
    assert not (tmp_path / "out.mp4").exists()


def test_a_video_without_a_face_is_one_error(detection, tmp_path, capsys, data_dir):
    driving, out = make_clip(tmp_path / "driving.mp4", num_frames=3), tmp_path / "out.mp4"

    assert animate(data_dir / "source_image.png", driving, out, *detection) == 2

    (message,) = errors(capsys)
    assert "any of the 3 frames" in message
    assert not out.exists()


def test_frames_without_a_face_are_filled_and_reported(detection, tmp_path, capsys, data_dir):
    face = np.asarray(Image.open(data_dir / "source_image.png").convert("RGB").resize((256, 256)))
    nothing = np.full_like(face, 90)
    driving, out = tmp_path / "driving.mp4", tmp_path / "out.mp4"
    write_video(driving, [face, face, nothing, face, nothing], Fraction(25))

    assert animate(data_dir / "source_image.png", driving, out, *detection) == 0

    assert any("2 of 5 frames show no face" in line and line.endswith("2, 4") for line in errors(capsys))
    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) == 5
