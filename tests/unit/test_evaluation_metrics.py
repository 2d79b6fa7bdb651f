"""Each metric alone, against a case worked by hand or an implementation of its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hunyuan_core.config import ModelConfig
from hunyuan_core.errors import MediaError, MissingDependencyError, ShapeError
from hunyuan_core.evaluation.face_metrics import (
    BATCH,
    BatchedComparison,
    inter_ocular_distance,
    landmark_distance,
    motion_metric,
    pose_metric,
    wrap_degrees,
)
from hunyuan_core.evaluation.pictures import frame_pairs, load_ssim, picture_metrics, psnr
from hunyuan_core.models import build


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, pixel by pixel in float64."""
    places = np.arange(11) - 5
    line = np.exp(-(places**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            for channel in range(3):
                p, q = (image[y : y + 11, x : x + 11, channel].astype(np.float64) for image in (a, b))
                mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
                var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
                covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
                values.append(
                    (2 * mean_p * mean_q + c1)
                    * (2 * covariance + c2)
                    / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
                )
    return float(np.mean(values))


def test_psnr_of_a_known_offset() -> None:
    grey = np.full((8, 6, 3), 100, np.uint8)
    half = grey.copy()
    half[:4] += 10

    # 20 log10(255 / 5); half of the pixels off by 10 is a mean square of 50.
    assert psnr(grey, grey + 5) == pytest.approx(34.1514, abs=1e-4)
    assert psnr(grey + 5, grey) == psnr(grey, grey + 5)
    assert psnr(grey, half) == pytest.approx(10 * math.log10(65025 / 50))
    assert psnr(np.zeros_like(grey), np.full_like(grey, 255)) == 0
    assert psnr(grey, grey) == math.inf


def test_ssim_equals_its_formula() -> None:
    pytest.importorskip("torchmetrics")
    picture, other = noise(17, 15), noise(17, 15, 1)
    ramp = np.broadcast_to(np.arange(15, dtype=np.uint8)[None, :, None] * 12, (17, 15, 3)).copy()
    ssim = load_ssim()

    # Where it is flat and bright, the variances are small differences of large numbers.
    flat = np.full((17, 15, 3), 250, np.uint8)
    striped = flat.copy()
    striped[::7] += 1
    pairs = [(picture, other), (picture, picture // 2), (ramp, ramp // 2 + 30), (ramp, picture), (flat, flat - 4)]
    for a, b in [*pairs, (flat, striped)]:
        assert ssim(a, b) == pytest.approx(plain_ssim(a, b), abs=1e-9)
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-12)
    assert ssim(picture, 255 - picture) < 0


def test_a_picture_smaller_than_the_window_has_no_ssim() -> None:
    metrics, missing = picture_metrics(10, 64)

    assert set(metrics) == {"psnr"}
    assert "11×11" in missing["ssim"]
    assert "64×10" in missing["ssim"]


def test_without_torchmetrics_only_ssim_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)

    metrics, missing = picture_metrics(64, 64)

    assert set(metrics) == {"psnr"}
    assert "pip install torchmetrics" in missing["ssim"]


def test_torchmetrics_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
        monkeypatch.delitem(sys.modules, module)
    (tmp_path / "torchmetrics.py").write_text('raise RuntimeError("operator torchvision::nms\\ndoes not exist")')
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(MissingDependencyError, match=r"torchvision::nms does not exist.*pip install torchmetrics"):
        load_ssim()


def test_pairs_of_frames() -> None:
    reference, result = noise(4, 6), noise(4, 6, 1)

    ((a, b), (c, d)) = frame_pairs([reference, result], np.stack([result, reference]))

    np.testing.assert_array_equal(np.stack([a, b, c, d]), np.stack([reference, result, result, reference]))


@pytest.mark.parametrize(
    ("num_reference", "num_result", "message"),
    [
        (3, 5, "reference has 3 frames but the result 5; cut"),
        (5, 3, "reference has 5 frames but the result 3; cut"),
        (3, 4, "has 3 frames but the result 4"),
        (1, 0, "has 1 frames but the result 0"),
    ],
)
def test_videos_of_different_length(num_reference: int, num_result: int, message: str) -> None:
    frame = noise(4, 6)

    with pytest.raises(ShapeError, match=message):
        list(frame_pairs([frame] * num_reference, [frame] * num_result))


def test_videos_of_different_size() -> None:
    with pytest.raises(ShapeError, match=r"Frame 0 of the result is 6×4 but the reference begins with 8×4.*scale"):
        list(frame_pairs([noise(4, 8)], [noise(4, 6)]))
    with pytest.raises(ShapeError, match="Frame 1 of the reference is 6×4 but the reference begins with 8×4"):
        list(frame_pairs([noise(4, 8), noise(4, 6)], [noise(4, 8), noise(4, 6)]))


def test_what_is_no_frame() -> None:
    with pytest.raises(ShapeError, match="float64"):
        list(frame_pairs([noise(4, 6)], [noise(4, 6) / 255]))
    with pytest.raises(MediaError, match="no frames"):
        list(frame_pairs([], []))


def test_landmark_distance_of_a_known_shift() -> None:
    landmarks = np.random.default_rng(0).uniform(0, 100, (3, 5, 2))
    shifted = landmarks.copy()
    shifted[0] += (3, 4)  # every point by 5 pixels
    shifted[1, 2, 0] -= 10  # one of five points by 10

    assert landmark_distance(landmarks, shifted).tolist() == pytest.approx([5, 2, 0])


def test_the_eyes_distance_is_that_of_the_whole_video() -> None:
    landmarks = np.zeros((2, 5, 2))
    landmarks[:, 0], landmarks[:, 1] = (10, 10), [(40, 50), (10, 10)]  # 50 pixels, then a profile

    assert inter_ocular_distance(landmarks) == pytest.approx(25)


def test_angles_are_compared_on_the_circle() -> None:
    angles = torch.tensor([0.0, 10, -10, 358, -358, 190])

    assert wrap_degrees(angles).tolist() == pytest.approx([0, 10, -10, -2, 2, -170])


def crops(count: int, seed: int) -> Iterator[np.ndarray]:
    return (noise(64, 64, seed + i) for i in range(count))


def as_input(picture: np.ndarray) -> torch.Tensor:
    return torch.tensor(picture / 255.0, dtype=torch.float32).movedim(-1, 0)[None]


@torch.inference_mode()
def test_motion_and_pose_are_those_of_the_networks_frame_by_frame() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expression, head_pose = (build(name, ModelConfig.tiny()).eval() for name in ("expression", "head_pose"))
    motion, pose = BatchedComparison(motion_metric(expression)), BatchedComparison(pose_metric(head_pose))
    count = BATCH + 3

    for i, (a, b) in enumerate(zip(crops(count, 0), crops(count, 1000), strict=True)):
        motion.add(2 * i, a, b)
        pose.add(2 * i, a, b)
    values = {**motion.finish(), **pose.finish()}

    assert set(values) == {"motion_error", "rotation_error", "translation_error"}
    assert all(list(series) == list(range(0, 2 * count, 2)) for series in values.values())
    for i, (a, b) in enumerate(zip(crops(count, 0), crops(count, 1000), strict=True)):
        features = expression(as_input(a)) - expression(as_input(b))
        (turn, place), (turn_b, place_b) = head_pose(as_input(a) * 2 + 1), head_pose(as_input(b) * 2 + 1)
        expected = {
            "motion_error": features.abs().mean(),
            "rotation_error": (turn - turn_b).abs().mean(),
            "translation_error": (place - place_b).abs().mean(),
        }
        for name, value in expected.items():
            assert value > 0
            assert values[name][2 * i] == pytest.approx(value.item(), rel=1e-3, abs=1e-6)
