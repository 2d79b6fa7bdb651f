"""The released files cannot be shipped: small graphs with the same inputs and outputs stand in for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pose_networks import BINS_X, BINS_Y, candidates, save_detector, save_pose

from hunyuan_core.errors import ShapeError, WeightsError
from hunyuan_core.pose.dwpose import (
    DWPose,
    crop_geometry,
    crop_person,
    decode_candidates,
    decode_simcc,
    letterbox,
)


def test_candidates_become_boxes_by_hand() -> None:
    rows = {
        0: (0.5, 0.25, np.log(2), np.log(4), 0.9, 0.5),  # stride 8, cell (0, 0)
        6400 + 40 + 3: (0, 0, 0, 0, 1, 1),  # stride 16, cell (3, 1)
        8000 + 20 * 19 + 19: (0.5, 0.5, np.log(3), 0, 0.5, 0.8),  # stride 32, cell (19, 19)
        7: (0, 0, 0, 0, 0.5, 0.5),  # below the threshold
    }

    boxes, scores = decode_candidates(candidates(rows))

    assert boxes == pytest.approx(np.array([[-4, -14, 12, 18], [40, 8, 56, 24], [576, 608, 672, 640]]), abs=1e-4)
    assert scores == pytest.approx([0.45, 1, 0.4])


def test_other_classes_are_no_people() -> None:
    dog = candidates({5: (0, 0, 0, 0, 1, 0.9)}, person_class=16)
    dog[5, 5] = 0.8

    assert len(decode_candidates(dog)[0]) == 0


@pytest.mark.parametrize(
    ("height", "width", "ratio", "filled"),
    [(320, 160, 2, (640, 320)), (100, 1280, 0.5, (50, 640)), (640, 640, 1, (640, 640))],
)
def test_the_letterbox_fills_the_top_left(height: int, width: int, ratio: float, filled: tuple[int, int]) -> None:
    batch, found = letterbox(np.full((height, width, 3), (10, 20, 30), np.uint8))
    rows, columns = filled

    assert (batch.shape, batch.dtype, found) == ((1, 3, 640, 640), np.float32, ratio)
    assert (batch[0, :, :rows, :columns] == np.array([30, 20, 10]).reshape(3, 1, 1)).all()  # BGR
    assert (batch[0, :, rows:] == 114).all()
    assert (batch[0, :, :, columns:] == 114).all()


def test_a_crop_has_the_networks_shape_around_the_box() -> None:
    wide, tall = crop_geometry(np.array([0.0, 0, 288, 100])), crop_geometry(np.array([10.0, 20, 30, 404]))

    assert (wide[0].tolist(), wide[1]) == ([144, 50], 1.25)
    assert (tall[0].tolist(), tall[1]) == ([20, 212], 1.25)


def test_a_crop_is_normalised_and_black_outside() -> None:
    image = np.full((768, 576, 3), (255, 0, 128), np.uint8)

    crop = crop_person(image, np.array([288.0, 0.0]), 2.0)

    black = -np.array([123.675, 116.28, 103.53]) / (58.395, 57.12, 57.375)
    inside = (np.array([255, 0, 128]) - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)
    assert (crop.shape, crop.dtype) == ((1, 3, 384, 288), np.float32)
    assert crop[0, :, 100, 100] == pytest.approx(black, abs=1e-5)
    assert crop[0, :, 300, 100] == pytest.approx(inside, abs=1e-5)


def test_a_pixel_of_the_crop_comes_from_where_its_point_is_put_back() -> None:
    image = np.zeros((400, 300, 3), np.uint8)
    image[201:204, 81:84] = 255
    centre, scale = np.array([100.0, 180.0]), 0.5

    bright = crop_person(image, centre, scale)[0, 0]
    y, x = np.argwhere(bright == bright.max()).mean(axis=0)

    assert (np.array([x, y]) - (144, 192)) * scale + centre == pytest.approx([82, 202], abs=0.3)


def test_points_are_read_off_the_highest_bins() -> None:
    x, y = np.zeros((133, 576)), np.zeros((133, 768))
    x[np.arange(133), BINS_X], y[np.arange(133), BINS_Y] = 0.7, np.linspace(0.1, 0.9, 133)

    points, scores = decode_simcc(x, y)

    assert (points == np.stack([BINS_X / 2, BINS_Y / 2], axis=1)).all()
    assert scores == pytest.approx(np.minimum(0.7, np.linspace(0.1, 0.9, 133)))


def test_without_a_detector_the_image_is_the_box(tmp_path: Path) -> None:
    (person,) = DWPose(save_pose(tmp_path / "pose.onnx")).detect(np.zeros((512, 512, 3), np.uint8))

    # The box of 512 grows to 640 wide: 640 / 288 of its pixels per pixel of the crop, centred on (256, 256).
    expected = (np.stack([BINS_X, BINS_Y], axis=1) / 2 - (144, 192)) * (640 / 288) + 256
    assert person.points == pytest.approx(expected)
    assert person.scores == pytest.approx(np.full(133, 0.8))
    assert person.is_seen.all()


def test_points_below_the_threshold_are_not_seen(tmp_path: Path) -> None:
    (person,) = DWPose(save_pose(tmp_path / "pose.onnx", score=0.2)).detect(np.zeros((64, 64, 3), np.uint8))

    assert not person.is_seen.any()


def test_each_person_is_cropped_and_the_largest_comes_first(tmp_path: Path) -> None:
    small = (0, 0, np.log(2), np.log(2), 1, 1)  # stride 8, 16 pixels
    large = (0, 0, np.log(4), np.log(4), 0.9, 0.9)  # stride 32 at cell (10, 10), 128 pixels
    again = (0, 0, np.log(4.1), np.log(4.1), 0.8, 0.9)  # the same person, less sure
    raw = candidates({80 * 2 + 2: small, 8000 + 20 * 10 + 10: large, 8000 + 20 * 10 + 11: again})
    raw[8000 + 20 * 10 + 11, 0] = -1
    pose = DWPose(save_pose(tmp_path / "pose.onnx"), save_detector(tmp_path / "yolox.onnx", raw))
    image = np.full((320, 320, 3), (0, 0, 255), np.uint8)  # blue comes first in BGR

    people = pose.detect(image)

    # The letterbox doubles the image: the centres lie at half the square's (320, 320) and (16, 16).
    assert len(people) == 2
    for person, centre, side in zip(people, (160, 8), (64, 8), strict=True):
        offsets = (np.stack([BINS_X, BINS_Y], axis=1) / 2 - (144, 192)) * (1.25 * side / 288)
        assert person.points == pytest.approx(offsets + centre, abs=1e-3)


def test_nobody_is_an_empty_list(tmp_path: Path) -> None:
    raw = candidates({0: (0, 0, 0, 0, 1, 1)})
    pose = DWPose(save_pose(tmp_path / "pose.onnx"), save_detector(tmp_path / "yolox.onnx", raw))

    assert pose.detect(np.full((64, 64, 3), (255, 0, 0), np.uint8)) == []  # red only: the graph answers zeros


def test_swapped_files_are_a_weights_error(tmp_path: Path) -> None:
    detector = save_detector(tmp_path / "yolox.onnx", candidates({}))
    pose = save_pose(tmp_path / "pose.onnx")

    with pytest.raises(WeightsError, match=r"yolox\.onnx is another network.*384, 288.*download"):
        DWPose(detector)
    with pytest.raises(WeightsError, match=r"pose\.onnx is another network.*8400, 85"):
        DWPose(pose, pose)


def test_a_network_of_another_format_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"133.*17"):
        DWPose(save_pose(tmp_path / "coco17.onnx", points=17))


def test_a_damaged_file_is_a_weights_error(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x00" * 1000)

    with pytest.raises(WeightsError, match=r"broken\.onnx.*DWPose"):
        DWPose(tmp_path / "broken.onnx")


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)],
)
def test_another_image_format_is_a_shape_error(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="uint8 RGB"):
        DWPose(save_pose(tmp_path / "pose.onnx")).detect(image)
