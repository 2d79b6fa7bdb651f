from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import boxes_of, face

from hunyuan_core.errors import ConfigurationError, FaceNotFoundError, MissingDependencyError, ShapeError, WeightsError
from hunyuan_core.faces.crops import ARCFACE_TEMPLATE
from hunyuan_core.faces.detection import DETECTORS, FaceChoice, create_detector, select_face
from hunyuan_core.faces.insightface_backend import InsightFaceDetector
from hunyuan_core.faces.manual import ManualDetector, has_guessed_landmarks

LEFT, MIDDLE, RIGHT = face(0, 0, 30, 30), face(40, 0, 90, 50), face(100, 0, 140, 40)
FACES = [MIDDLE, RIGHT, LEFT]
IMAGE = np.zeros((100, 200, 3), np.uint8)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, MIDDLE),
        (FaceChoice(), MIDDLE),
        (FaceChoice(index=0), LEFT),
        (FaceChoice(index=2), RIGHT),
        (FaceChoice(position=(29, 29)), LEFT),
        (FaceChoice(position=(32, 10)), LEFT),
        (FaceChoice(position=(1000, 1000)), RIGHT),
    ],
)
def test_choice(choice: FaceChoice | None, expected: object) -> None:
    assert select_face(FACES, choice) is expected


def test_of_overlapping_boxes_the_one_centred_nearer_is_chosen() -> None:
    small, large = face(30, 30, 50, 50), face(0, 0, 100, 100)

    assert select_face([large, small], FaceChoice(position=(42, 41))) is small
    assert select_face([small, large], FaceChoice(position=(49, 49))) is large


@pytest.mark.parametrize(
    ("faces", "choice", "message"),
    [([], None, "No face"), (FACES, FaceChoice(index=3), r"index 3.*has 3 \(indices 0 to 2")],
)
def test_a_face_that_is_not_there(faces: list, choice: FaceChoice | None, message: str) -> None:
    with pytest.raises(FaceNotFoundError, match=message):
        select_face(faces, choice)


@pytest.mark.parametrize(
    "values",
    [{"index": -1}, {"index": 0, "position": (1, 1)}, {"position": (1,)}, {"position": (float("nan"), 0)}],
)
def test_a_choice_that_makes_no_sense(values: dict) -> None:
    with pytest.raises(ConfigurationError):
        FaceChoice(**values)


def test_detectors_are_made_by_name() -> None:
    detector = create_detector("manual", box=(10, 10, 40, 50))

    assert boxes_of(detector.detect(IMAGE)) == [[10, 10, 40, 50]]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("haar", {}, r"no face detector 'haar'.*yoloface, mediapipe, insightface, manual"),
        ("manual", {}, "needs a face box"),
        ("yoloface", {"box": (0, 0, 1, 1)}, "need the detector 'manual'"),
        ("yoloface", {}, "give model_path"),
        ("mediapipe", {}, "give model_path"),
    ],
)
def test_a_detector_that_lacks_something(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_detector(name, **arguments)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "manual"])
def test_a_missing_model_file_is_named(name: str, tmp_path: Path) -> None:
    if name == "mediapipe":
        pytest.importorskip("mediapipe")

    with pytest.raises(WeightsError, match="absent"):
        create_detector(name, model_path=tmp_path / "absent")


@pytest.mark.parametrize("package", ["mediapipe", "insightface"])
def test_a_missing_package_comes_with_the_line_that_installs_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        create_detector(package, model_path=tmp_path)


def test_landmarks_by_hand_get_a_box() -> None:
    # The template itself, twice as large: its box is three quarters of 224 wide, centred.
    (found,) = ManualDetector(landmarks=ARCFACE_TEMPLATE * 2).detect(np.zeros((300, 300, 3), np.uint8))

    np.testing.assert_allclose(found.box, [28, 0, 196, 224], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.landmarks, ARCFACE_TEMPLATE * 2)
    assert found.score == 1


def test_the_box_around_landmarks_by_hand_is_cut_to_the_image() -> None:
    (found,) = ManualDetector(landmarks=ARCFACE_TEMPLATE).detect(np.zeros((100, 90, 3), np.uint8))

    np.testing.assert_allclose(found.box, [14, 0, 90, 100], rtol=0, atol=1e-9)


def test_a_box_by_hand_gets_landmarks() -> None:
    (found,) = ManualDetector(box=(28, 0, 196, 224)).detect(np.zeros((300, 300, 3), np.uint8))

    np.testing.assert_allclose(found.landmarks, ARCFACE_TEMPLATE * 2, rtol=0, atol=1e-9)
    assert has_guessed_landmarks(found)
    assert not has_guessed_landmarks(LEFT)


def test_box_and_landmarks_by_hand_are_both_kept() -> None:
    (found,) = ManualDetector(box=(5, 5, 90, 90), landmarks=LEFT.landmarks).detect(IMAGE)

    assert found.box.tolist() == [5, 5, 90, 90]
    np.testing.assert_array_equal(found.landmarks, LEFT.landmarks)


@pytest.mark.parametrize("box", [(300, 10, 400, 50), (150, 20, 201, 50), (-1, 0, 50, 50), (0, 50, 10, 101)])
def test_a_box_that_leaves_the_image_is_named_with_the_image(box: tuple) -> None:
    with pytest.raises(ConfigurationError, match=rf"\({', '.join(map(str, box))}\).*200×100 pixels"):
        ManualDetector(box=box).detect(IMAGE)


def test_landmarks_that_leave_the_image_are_named_with_the_image() -> None:
    with pytest.raises(ConfigurationError, match=r"200×100 pixels"):
        ManualDetector(landmarks=RIGHT.landmarks + 80).detect(IMAGE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"box": (10, 10, 10, 20)}, "no area"),
        ({"box": (100, 60, 50, 80)}, "not a corner with width and height"),
        ({"box": (1, 2, 3)}, "four finite numbers"),
        ({"box": (1, 2, 3, float("inf"))}, "four finite numbers"),
        ({"landmarks": np.zeros((4, 2))}, "five finite points"),
        ({"landmarks": np.full((5, 2), np.nan)}, "five finite points"),
        ({"landmarks": np.ones((5, 2))}, "same point"),
    ],
)
def test_a_malformed_face_by_hand(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ManualDetector(**arguments)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=["grey", "rgba", "float", "empty"],
)
def test_only_rgb_frames_are_searched(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"\(H, W, 3\)"):
        ManualDetector(box=(0, 0, 2, 2)).detect(image)


def test_an_empty_folder_of_insightface_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"not a folder with \.onnx files.*buffalo_l\.zip"):
        InsightFaceDetector(tmp_path)


def test_insightface_with_damaged_models(tmp_path: Path) -> None:
    pytest.importorskip("insightface")
    (tmp_path / "damaged.onnx").write_bytes(b"no protobuf" * 50)

    with pytest.raises(WeightsError, match="cannot download or open"):
        InsightFaceDetector(tmp_path)


@pytest.mark.parametrize(
    ("has_folder", "message"), [(True, "finds no detector"), (False, r"cannot download or open.*connection")]
)
def test_insightface_without_its_models(
    has_folder: bool, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("insightface")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    if has_folder:
        (tmp_path / ".insightface/models/buffalo_l").mkdir(parents=True)

    with pytest.raises(WeightsError, match=message) as caught:
        InsightFaceDetector()

    assert "\n" not in str(caught.value)
