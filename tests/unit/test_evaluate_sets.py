"""FID-VID, FVD, LPIPS and the exact forms: against hand-worked cases and torchmetrics, and in the right order."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from metric_networks import CLIP_LENGTH, GRID, SIDE, write_clip_features, write_frame_features, write_lpips

from hunyuan_core.errors import MediaError, MissingDependencyError, ShapeError, WeightsError
from hunyuan_core.evaluation.features import OnnxFeatures
from hunyuan_core.evaluation.frechet import FrechetFrameDistance, FrechetVideoDistance, frechet_distance
from hunyuan_core.evaluation.parameters import parameter_correlation, parameter_distance
from hunyuan_core.evaluation.perceptual import load_lpips, open_lpips
from hunyuan_core.evaluation.pictures import psnr

RANDOM = np.random.default_rng(0)
NUM_FRAMES = 24


def moving(num_frames: int = NUM_FRAMES, side: int = 32) -> list[np.ndarray]:
    """A bright square that goes around on a dark ground."""
    frames = []
    for i in range(num_frames):
        frame = np.full((side, side, 3), 40, np.uint8)
        phase = 2 * math.pi * i / num_frames
        x, y = (round(side * (0.35 + 0.3 * f(phase))) for f in (math.cos, math.sin))
        frame[y : y + side // 4, x : x + side // 4] = 220, 180, 140
        frames.append(frame)
    return frames


def noisy(frames: list[np.ndarray], deviation: float) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [np.clip(f + deviation * random.normal(size=(*f.shape[:2], 1)), 0, 255).astype(np.uint8) for f in frames]


@pytest.fixture(scope="module")
def frame_features(tmp_path_factory: pytest.TempPathFactory) -> OnnxFeatures:
    return OnnxFeatures(
        write_frame_features(tmp_path_factory.mktemp("fid") / "inception.onnx"), "FID-VID", is_of_clips=False
    )


@pytest.fixture(scope="module")
def clip_features(tmp_path_factory: pytest.TempPathFactory) -> OnnxFeatures:
    return OnnxFeatures(write_clip_features(tmp_path_factory.mktemp("fvd") / "i3d.onnx"), "FVD", is_of_clips=True)


def test_frechet_distance_of_gaussians_on_a_line() -> None:
    # (m1 - m2)² + (s1 - s2)²; the samples have mean 1 and deviation 2, mean 4 and deviation 6.
    first, second = np.array([[-1.0], [1.0], [3.0]]), np.array([[-2.0], [4.0], [10.0]])

    assert frechet_distance(first, second) == pytest.approx(9 + 16, rel=1e-12)


def test_frechet_distance_of_axis_aligned_gaussians() -> None:
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], float)
    moved = corners * (3, 0.5) + (2, -1)

    # The variance of ±1 over four samples is 4/3.
    expected = 4 + 1 + 4 / 3 * ((3 - 1) ** 2 + (1 - 0.5) ** 2)
    assert frechet_distance(corners, moved) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 5), (6, 9, 20)])
def test_frechet_distance_against_the_root_of_the_product(n: int, m: int, d: int) -> None:
    mixing = RANDOM.normal(size=(d, d))
    first, second = RANDOM.normal(size=(n, d)), RANDOM.normal(size=(m, d)) @ mixing + 0.3
    covariances = np.cov(first.T), np.cov(second.T)

    # Independent of what is tested: the trace of the root from the eigenvalues of the product.
    roots = np.real(np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex))).sum()
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    expected = shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_of_a_sample_to_itself_is_none() -> None:
    sample = RANDOM.normal(size=(10, 50))

    assert frechet_distance(sample, sample[::-1]) == pytest.approx(0, abs=1e-10)


def test_frechet_distance_refuses_what_has_none() -> None:
    sample = RANDOM.normal(size=(4, 3))

    with pytest.raises(ShapeError, match=r"at least two samples; got 4 .* and 1 "):
        frechet_distance(sample, sample[:1])
    with pytest.raises(ShapeError, match=r"got \(4, 3\) and \(4, 2\)"):
        frechet_distance(sample, sample[:, :2])
    with pytest.raises(MediaError, match="not finite"):
        frechet_distance(sample, np.where(sample > 0, np.nan, sample))


def test_features_are_what_the_network_was_meant_to_see(
    frame_features: OnnxFeatures, clip_features: OnnxFeatures
) -> None:
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    frame[: SIDE // 2, SIDE // 2 :, 1] = 255

    answer = frame_features.features(frame[None, None])
    clip = clip_features.features(np.stack([frame] * (CLIP_LENGTH - 1) + [255 - frame])[None])

    # Red, green, blue; of each the cells from the upper left.
    expected = np.full((3, GRID, GRID), -1.0)
    expected[1, 0, 1] = 1
    np.testing.assert_allclose(answer, expected.reshape(1, -1), atol=1e-6)
    signs = np.array([1, 1, 1, -1])[None, :, None, None]
    np.testing.assert_allclose(clip, (expected[:, None] * signs).reshape(1, -1), atol=1e-6)


def test_fid_vid_equals_our_own_distance_of_the_same_features(frame_features: OnnxFeatures) -> None:
    reference, result = moving(), noisy(moving(), 30)
    distance = FrechetFrameDistance(frame_features)
    distance.add(reference, result)

    samples = [frame_features.features(np.stack(video)[:, None]) for video in (reference, result)]
    assert distance.measure() == pytest.approx(frechet_distance(*samples), rel=1e-4)


@pytest.mark.parametrize("kind", ["frames", "clips"])
def test_sets_are_ordered_by_noise(frame_features: OnnxFeatures, clip_features: OnnxFeatures, kind: str) -> None:
    def measure(result: list[np.ndarray]) -> float:
        distance = FrechetFrameDistance(frame_features) if kind == "frames" else FrechetVideoDistance(clip_features, 2)
        distance.add(moving(), result)
        return distance.measure()

    itself, little, much = (measure(noisy(moving(), deviation)) for deviation in (0, 20, 80))
    unrelated = measure([RANDOM.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(NUM_FRAMES)])
    held = measure([moving()[0]] * NUM_FRAMES)

    assert itself == pytest.approx(0, abs=1e-6)
    assert itself < little < much < unrelated
    assert held > much


def test_shuffled_frames_change_the_clips_and_not_the_frames(
    frame_features: OnnxFeatures, clip_features: OnnxFeatures
) -> None:
    video = moving()
    shuffled = [video[i] for i in np.random.default_rng(2).permutation(len(video))]
    frames, clips = FrechetFrameDistance(frame_features), FrechetVideoDistance(clip_features, 2)
    for distance in (frames, clips):
        distance.add(video, shuffled)

    assert frames.measure() == pytest.approx(0, abs=1e-6)
    assert clips.measure() > 0.1


@pytest.mark.parametrize("stride", [1, 3, CLIP_LENGTH, CLIP_LENGTH + 2])
def test_clips_begin_a_stride_apart(stride: int) -> None:
    class Numbers:
        clip_length = CLIP_LENGTH
        seen: list[list[int]]

        def features(self, clips: np.ndarray) -> np.ndarray:
            self.seen.append(clips[0, :, 0, 0, 0].tolist())
            return clips[:, :, 0, 0, 0]

    extractor = Numbers()
    extractor.seen = []
    frames = [np.full((1, 1, 3), i, np.uint8) for i in range(15)]

    FrechetVideoDistance(extractor, stride).add(frames, [])

    starts = range(0, 15 - CLIP_LENGTH + 1, stride)
    assert extractor.seen == [list(range(start, start + CLIP_LENGTH)) for start in starts]


def test_too_few_frames_or_clips_have_no_distance(frame_features: OnnxFeatures, clip_features: OnnxFeatures) -> None:
    frames, clips = FrechetFrameDistance(frame_features), FrechetVideoDistance(clip_features, 2)
    frames.add(moving()[:1], moving()[:1])
    clips.add(moving()[:5], moving()[:5])

    with pytest.raises(MediaError, match="at least two frames of each video; got 1"):
        frames.measure()
    with pytest.raises(MediaError, match=r"at least two clips of 4 frames, 2 apart; got 1\. Give videos of at least 6"):
        clips.measure()


def test_several_videos_are_pooled(clip_features: OnnxFeatures) -> None:
    distance = FrechetVideoDistance(clip_features, CLIP_LENGTH)
    for start in (0, 4, 8):
        distance.add(moving()[start : start + 4], noisy(moving(), 40)[start : start + 4])
    whole = FrechetVideoDistance(clip_features, CLIP_LENGTH)
    whole.add(moving()[:12], noisy(moving(), 40)[:12])

    assert distance.measure() == pytest.approx(whole.measure(), rel=1e-9)


def test_lpips_file_sees_both_pictures(tmp_path: Path) -> None:
    lpips = open_lpips(write_lpips(tmp_path / "lpips.onnx"))
    black, grey = np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 51, np.uint8)

    # 51 of 255 is 0.4 of the range from -1 to 1.
    assert lpips(black, grey) == pytest.approx(0.16, rel=1e-4)
    assert lpips(grey, grey) == 0


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_frame_features, open_lpips),
        (write_lpips, lambda path: OnnxFeatures(path, "FID-VID", is_of_clips=False)),
        (write_frame_features, lambda path: OnnxFeatures(path, "FVD", is_of_clips=True)),
    ],
)
def test_another_network_is_refused(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    other = write(tmp_path / "x.onnx")

    with pytest.raises(WeightsError, match=r"x\.onnx, needed for .* must have .* float input"):
        read(other)


def test_lpips_without_torchvision_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)

    with pytest.raises(MissingDependencyError, match=r"'torchvision' is needed for LPIPS.*pip install torchmetrics"):
        load_lpips(tmp_path / "alexnet.pth")


def test_a_network_of_one_clip_at_a_time_is_asked_one_by_one(tmp_path: Path, clip_features: OnnxFeatures) -> None:
    model = onnx.load(str(write_clip_features(tmp_path / "one.onnx")))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, str(tmp_path / "three.onnx"))
    clips = RANDOM.integers(0, 256, (4, CLIP_LENGTH, 20, 24, 3)).astype(np.uint8)

    answer = OnnxFeatures(tmp_path / "three.onnx", "FVD", is_of_clips=True).features(clips)

    np.testing.assert_allclose(answer, clip_features.features(clips), atol=1e-6)


def test_psnr_in_a_mask() -> None:
    reference, result = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)
    result[1, 2] = 10, 20, 30
    mask = np.zeros((4, 5), bool)
    mask[1, 1:3] = True

    # Two pixels, one of them off by a mean square of 1400 / 3.
    assert psnr(reference, result, mask) == pytest.approx(10 * math.log10(255**2 / (1400 / 6)))
    assert psnr(reference, result, ~mask) == math.inf
    with pytest.raises(ShapeError, match=r"5×4 .* with a pixel that is True; got shape \(4, 5\) with 0"):
        psnr(reference, result, np.zeros((4, 5), bool))


def test_parameter_distance_is_the_mean_absolute_difference() -> None:
    reference = np.array([[0.0, 1.0], [2.0, 179.0]])
    result = np.array([[0.5, 0.0], [2.0, -179.0]])

    np.testing.assert_allclose(parameter_distance(reference, result), [0.75, 179])
    np.testing.assert_allclose(parameter_distance(reference, result, period=360), [0.75, 1])
    with pytest.raises(ShapeError, match=r"got \(2, 2\) and \(2, 1\)"):
        parameter_distance(reference, result[:, :1])


def test_parameter_correlation_against_numpy() -> None:
    reference, result = RANDOM.normal(size=(30, 3)), RANDOM.normal(size=(30, 3))
    result[:, 0] = 5 - 2 * reference[:, 0]
    result[:, 2] = 7

    correlation = parameter_correlation(reference, result)

    assert correlation[0] == pytest.approx(-1)
    assert correlation[1] == pytest.approx(np.corrcoef(reference[:, 1], result[:, 1])[0, 1])
    assert math.isnan(correlation[2])


def test_identical_noisy_and_shuffled_motions_are_in_order() -> None:
    random = np.random.default_rng(8)  # its own: the orders below are of these numbers
    motion = np.cumsum(random.normal(size=(60, 4)), axis=0)
    noise = random.normal(size=motion.shape)
    others = [motion, motion + 0.3 * noise, motion + 2 * noise, random.permutation(motion)]

    distances = [parameter_distance(motion, other).mean() for other in others]
    correlations = [parameter_correlation(motion, other).mean() for other in others]

    assert distances[0] == 0
    assert correlations[0] == pytest.approx(1)
    assert sorted(distances) == distances
    assert sorted(correlations, reverse=True) == correlations
    assert abs(correlations[-1]) < 0.3  # another order of frames is another motion
    assert distances[1] == pytest.approx(0.3 * np.abs(noise).mean())
