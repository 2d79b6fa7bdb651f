"""The stand-ins for the released weights that tests and trials use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden_cases import ROOT
from numpy.typing import ArrayLike
from skin_detector import write_skin_detector

from hunyuan_core.checkpoints import verify
from hunyuan_core.demo import EXAMPLE_SEED, SIZE, Scene
from hunyuan_core.errors import WeightsError
from hunyuan_core.faces.detection import create_detector, select_face
from hunyuan_core.faces.identity import ArcFace
from hunyuan_core.faces.tracking import track_faces
from hunyuan_core.faces.yoloface import YoloFaceDetector
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.training.toyworld import face, face_track
from hunyuan_core.video import open_video, read_image

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written as a developer does it."""
    folder = tmp_path_factory.mktemp("models")
    program = ROOT / "tests" / "support" / "tiny_models.py"
    subprocess.run([sys.executable, str(program), str(folder)], check=True, cwd=folder)  # noqa: S603 - own program
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> YoloFaceDetector:
    path = tmp_path_factory.mktemp("detector") / "yoloface_v5m.pt"
    return YoloFaceDetector(path, sha256=write_skin_detector(path))


def test_a_folder_from_the_command_line(folder: Path) -> None:
    assert [str(report) for report in verify(folder) if not report.is_ok] == []
    assert Pipeline.from_pretrained(folder, device="cpu").arcface is not None


def test_the_identity_follows_the_picture(folder: Path) -> None:
    arcface = ArcFace(folder / "arcface.onnx")
    pictures = np.random.default_rng(0).random((2, 112, 112, 3), np.float32)
    first, second = (arcface.embed(picture) for picture in pictures)
    assert np.linalg.norm(first) == pytest.approx(1)
    assert not np.allclose(first, second, atol=1e-3)


def overlap(box: ArrayLike, other: ArrayLike) -> float:
    """Intersection over union."""
    first, second = np.asarray(box), np.asarray(other)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - shared)


def test_the_drawn_faces_are_found(detector: YoloFaceDetector) -> None:
    scene = Scene.draw(EXAMPLE_SEED, 25, SIZE)
    found, drawn = select_face(detector.detect(scene.portrait())), face(scene.person, scene.pose, SIZE)
    assert overlap(found.box, drawn.box) > 0.75
    assert np.abs(found.landmarks - drawn.landmarks).max() < 35

    track, truth = track_faces(scene.driver(), detector), face_track(scene.performer, scene.motion, SIZE)
    assert track.filled_frames == []
    centres = [boxes[:, [0, 2]].mean(axis=1) for boxes in (track.boxes, truth.boxes)]
    assert np.corrcoef(*centres)[0, 1] > 0.9


def test_the_real_faces_are_found(detector: YoloFaceDetector, data_dir: Path) -> None:
    portrait = select_face(detector.detect(read_image(data_dir / "source_image.png")))
    track = track_faces(open_video(data_dir / "driving_video.mp4"), detector)
    assert (len(track), track.filled_frames) == (120, [])
    # The boxes that mediapipe finds there.
    assert overlap(portrait.box, (90, 64, 423, 489)) > 0.6
    assert overlap(track.boxes[0], (127, 117, 353, 388)) > 0.6


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 255])
def test_no_face_without_skin(detector: YoloFaceDetector, grey: int) -> None:
    assert detector.detect(np.full((300, 400, 3), grey, np.uint8)) == []


def test_no_face_in_specks_of_skin(detector: YoloFaceDetector) -> None:
    image = np.zeros((416, 416, 3), np.uint8)
    image[8:40, 8:16] = image[360:400, 392:400] = (236, 196, 164)
    assert detector.detect(image) == []


def test_without_its_checksum_it_is_never_run(tmp_path: Path) -> None:
    write_skin_detector(tmp_path / "yoloface_v5m.pt")
    with pytest.raises(WeightsError, match="not opened"):
        create_detector("yoloface", model_path=tmp_path / "yoloface_v5m.pt")
