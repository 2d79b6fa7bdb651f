from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from hunyuan_core.errors import WeightsError
from hunyuan_core.faces.detection import create_detector
from hunyuan_core.faces.yoloface import YoloFaceDetector, cell_grids, faces_from_output, input_size

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class BrightSpot(torch.nn.Module):
    """A detector of one bright rectangle: its face is where the red channel exceeds a half, in cells of stride 8."""

    def forward(self, image: torch.Tensor, grids: list[torch.Tensor]) -> torch.Tensor:
        height, width = image.shape[2], image.shape[3]
        for i in range(3):
            stride = [8, 16, 32][i]
            assert grids[i].shape == [1, 1, height // stride, width // stride, 2]
        cells = torch.nn.functional.max_pool2d(image[:, :1], 8)[0, 0] > 0.5
        found = grids[0][0, 0][cells] * 8
        low, high = found.min(dim=0)[0], found.max(dim=0)[0] + 8
        size, centre = high - low, (low + high) / 2
        eyes = torch.cat([centre - size / 4, centre + size / 4])
        row = torch.cat([centre, size, torch.tensor([0.9]), eyes, centre, low, high, torch.tensor([0.8])])
        # Green and blue must be dark: the channels are RGB.
        assert image[:, 1:].max() == 0
        return row[None, None]


class OtherNetwork(torch.nn.Module):
    def forward(self, image: torch.Tensor, grids: list[torch.Tensor]) -> torch.Tensor:
        return image


def save(module: torch.nn.Module, path: Path) -> str:
    torch.jit.script(module).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (1080, 1920), (416, 416), (100, 60)])
def test_from_pixels_to_a_face_in_pixels(height: int, width: int, tmp_path: Path) -> None:
    path = tmp_path / "spot.pt"
    detector = YoloFaceDetector(path, sha256=save(BrightSpot(), path))
    image = np.zeros((height, width, 3), np.uint8)
    box = np.array([0.25 * width, 0.5 * height, 0.5 * width, 0.75 * height])
    x1, y1, x2, y2 = box.astype(int)
    image[y1:y2, x1:x2, 0] = 255

    (face,) = detector.detect(image)

    net_height, net_width = input_size(height, width)
    cell = 8 * np.array([width / net_width, height / net_height])
    assert np.abs(face.box - box).max() <= 1.05 * cell.max()
    assert face.score == pytest.approx(0.72)
    size, centre = face.box[2:] - face.box[:2], (face.box[:2] + face.box[2:]) / 2
    expected = [centre - size / 4, centre + size / 4, centre, face.box[:2], face.box[2:]]
    np.testing.assert_allclose(face.landmarks, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (416, 416)),
        ((1080, 1920), (416, 768)),
        ((1920, 1080), (768, 416)),
        ((480, 640), (416, 576)),
        ((1080, 1080), (416, 416)),
        ((8, 8), (416, 416)),
    ],
)
def test_input_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert input_size(*size) == expected


def test_the_short_side_is_416_for_every_size() -> None:
    assert all(input_size(short, 2 * short) == (416, 832) for short in range(1, 3000))


def test_grids_number_the_cells() -> None:
    grids = cell_grids(64, 96)

    assert [tuple(grid.shape) for grid in grids] == [(1, 1, 8, 12, 2), (1, 1, 4, 6, 2), (1, 1, 2, 3, 2)]
    assert grids[2][0, 0].tolist() == [[[0, 0], [1, 0], [2, 0]], [[0, 1], [1, 1], [2, 1]]]


def row(centre: tuple[float, float], side: float, objectness: float, score: float) -> list[float]:
    return [*centre, side, side, objectness, *range(10), score]


def test_unsure_and_overlapping_answers_are_dropped() -> None:
    output = np.array(
        [
            row((20, 20), 10, 0.9, 0.8),
            row((21, 20), 10, 0.95, 0.9),  # overlaps the first and is surer
            row((60, 60), 30, 0.8, 0.8),
            row((90, 20), 10, 0.5, 1.0),  # a half is not enough
            row((90, 60), 10, 0.7, 0.7),  # 0.49
        ]
    )

    faces = faces_from_output(output, np.array([2.0, 3.0]))

    assert [face.box.tolist() for face in faces] == [[90, 135, 150, 225], [32, 45, 52, 75]]
    assert [face.score for face in faces] == pytest.approx([0.64, 0.855])
    assert faces[0].landmarks.tolist() == [[0, 3], [4, 9], [8, 15], [12, 21], [16, 27]]


def test_no_answer_is_no_face() -> None:
    assert faces_from_output(np.zeros((0, 16)), np.ones(2)) == []


def test_another_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "yoloface_v5m.pt"
    save(BrightSpot(), path)

    with pytest.raises(WeightsError, match=r"sha256 5ef5928d.*not opened.*download"):
        create_detector("yoloface", model_path=path)


def test_a_file_that_is_no_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "text.pt"
    path.write_bytes(b"text")

    with pytest.raises(WeightsError, match="cannot be opened") as caught:
        YoloFaceDetector(path, sha256=hashlib.sha256(b"text").hexdigest())

    assert "\n" not in str(caught.value)


def test_a_network_that_answers_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    detector = YoloFaceDetector(path, sha256=save(OtherNetwork(), path))

    with pytest.raises(WeightsError, match=r"\(1, 3, 416, 416\), expected \(1, N, 16\)"):
        detector.detect(np.zeros((20, 20, 3), np.uint8))
