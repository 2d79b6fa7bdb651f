from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from hunyuan_core.errors import WeightsError
from hunyuan_core.faces.detection import FaceDetector, create_detector
from hunyuan_core.faces.mediapipe_backend import face_from_mesh
from hunyuan_core.faces.tracking import track_faces


@pytest.fixture(scope="module")
def detector(face_landmarker: Path) -> FaceDetector:
    return create_detector("mediapipe", model_path=face_landmarker)


@pytest.fixture(scope="module")
def portrait(data_dir: Path) -> np.ndarray:
    return np.array(Image.open(data_dir / "source_image.png").convert("RGB"))


def test_the_landmarks_of_a_real_portrait(detector: FaceDetector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait)

    # Placed by hand. The box has no exact edge; its sides are within a tenth of the face.
    by_hand = [[158, 230], [330, 228], [245, 335], [205, 405], [305, 405]]
    assert np.abs(face.landmarks - by_hand).max() < 12
    assert np.abs(face.box - [100, 60, 420, 480]).max() < 32


def test_two_faces_come_largest_first_in_their_own_pixels(detector: FaceDetector, portrait: np.ndarray) -> None:
    small = np.array(Image.fromarray(portrait).resize((320, 320)))
    picture = np.zeros((600, 1000, 3), np.uint8)
    picture[150:470, 20:340] = small
    picture[50:562, 400:912] = portrait
    (alone,) = detector.detect(portrait)

    first, second = detector.detect(picture)

    assert np.abs(first.landmarks - np.add(alone.landmarks, (400, 50))).max() < 6
    assert np.abs(second.landmarks - np.add(alone.landmarks * 0.625, (20, 150))).max() < 6


def test_a_mirrored_portrait_keeps_left_left(detector: FaceDetector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait[:, ::-1])

    assert face.landmarks[0, 0] < face.landmarks[2, 0] < face.landmarks[1, 0]
    assert face.landmarks[3, 0] < face.landmarks[4, 0]


def test_every_frame_of_a_real_video_has_a_face(detector: FaceDetector, data_dir: Path) -> None:
    with av.open(str(data_dir / "driving_video.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]

    track = track_faces(frames[::10], detector)

    assert track.filled_frames == []
    assert np.abs(track.landmarks[0] - [[175, 232], [290, 230], [232, 295], [203, 340], [275, 338]]).max() < 12
    # A face moves less than a tenth of its size in a third of a second of this clip.
    assert np.abs(np.diff(track.landmarks, axis=0)).max() < 27


def test_no_face(detector: FaceDetector) -> None:
    assert detector.detect(np.zeros((8, 8, 3), np.uint8)) == []


def test_a_damaged_model(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"no archive")

    with pytest.raises(WeightsError, match=r"face_landmarker\.task.*download") as caught:
        create_detector("mediapipe", model_path=path)

    assert "\n" not in str(caught.value)


def test_the_interpreter_ends_quietly(face_landmarker: Path) -> None:
    script = (
        "from hunyuan_core.faces.detection import create_detector\n"
        f"detector = create_detector('mediapipe', model_path={str(face_landmarker)!r})\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)  # noqa: S603

    assert result.returncode == 0
    assert "Traceback" not in result.stderr


def test_a_mesh_becomes_five_points_and_a_box() -> None:
    mesh = np.full((478, 2), 50.0)
    mesh[10], mesh[152], mesh[234], mesh[454] = (50, 20), (50, 120), (10, 60), (90, 60)
    mesh[[33, 133, 159, 145]] = [[20, 40], [40, 40], [30, 36], [30, 48]]
    mesh[[362, 263, 386, 374]] = [[60, 40], [80, 40], [70, 36], [70, 44]]
    mesh[4], mesh[61], mesh[291] = (51, 65), (35, 90), (65, 91)

    face = face_from_mesh(mesh)

    assert face.landmarks.tolist() == [[30, 41], [70, 40], [51, 65], [35, 90], [65, 91]]
    assert face.box.tolist() == [10, 9, 90, 120]
    assert face.score == 1
