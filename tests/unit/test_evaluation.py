"""All metrics together, on drawn faces, with tiny untrained networks."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_faces import SHADES, RectangleDetector, face, picture
from metric_networks import write_lpips
from torch import nn

from hunyuan_core.config import ModelConfig
from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.evaluation import METRICS, Evaluators, Report, evaluate
from hunyuan_core.evaluation.face_metrics import embed_identity
from hunyuan_core.evaluation.perceptual import open_lpips
from hunyuan_core.faces.crops import arcface_crop
from hunyuan_core.faces.detection import FaceChoice
from hunyuan_core.faces.identity import ArcFace
from hunyuan_core.faces.manual import ManualDetector
from hunyuan_core.faces.tracking import track_faces
from hunyuan_core.models import ExpressionEncoder, HeadPoseEncoder, MotionRefiner, build
from hunyuan_core.motion import encode_motion

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torchmetrics")

T, HEIGHT, WIDTH = 6, 60, 100
PICTURE_METRICS = {"psnr", "ssim", "lpips"}
FACE_METRICS = set(METRICS) - PICTURE_METRICS


def frame(number: int, *, shift: int = 0, tint: tuple[int, int] = (120, 200), deviation: float = 0) -> np.ndarray:
    """A face that walks and opens its mouth; its shade, by which it is found, stays in the first channel."""
    left, top = 20 + 6 * number + shift, 15 + shift
    image = picture((left, top, left + 24, top + 30), size=(HEIGHT, WIDTH))
    image[top : top + 30, left : left + 24, 1:] = tint
    image[top + 22 : top + 23 + number, left + 6 : left + 18, 1:] = 0
    random = np.random.default_rng(number).normal(0, 1, (HEIGHT, WIDTH, 2))
    image[..., 1:] = np.clip(image[..., 1:] + deviation * random, 0, 255)
    return image


VIDEO = [frame(number) for number in range(T)]
NO_FACE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def arcface(tmp_path_factory: pytest.TempPathFactory) -> ArcFace:
    """A network that answers with the mean colour, red once, green twice, blue three times."""
    weights = np.zeros((3, 512), np.float32)
    weights[[0, 1, 2], [0, 1, 2]] = 1, 2, 3
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
    ]
    sizes = {"data": (1, 3, 112, 112), "embedding": (1, 512)}
    data, embedding = (onnx.helper.make_tensor_value_info(name, 1, size) for name, size in sizes.items())
    graph = onnx.helper.make_graph(
        nodes, "arcface", [data], [embedding], [onnx.numpy_helper.from_array(weights, "weights")]
    )
    path = tmp_path_factory.mktemp("arcface") / "arcface.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(path))
    return ArcFace(path)


@pytest.fixture(scope="module")
def evaluators(arcface: ArcFace, tmp_path_factory: pytest.TempPathFactory) -> Evaluators:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expression, head_pose = (build(name, ModelConfig.tiny()).eval() for name in ("expression", "head_pose"))
    assert isinstance(expression, ExpressionEncoder)
    assert isinstance(head_pose, HeadPoseEncoder)
    lpips = open_lpips(write_lpips(tmp_path_factory.mktemp("lpips") / "lpips.onnx"))
    return Evaluators(RectangleDetector(), None, arcface, expression, head_pose, lpips)


# In frame 1 the face is one pixel further right and down.
NOISY = [frame(number, shift=int(number == 1), deviation=2) for number in range(T)]


@pytest.fixture(scope="module")
def noisy(evaluators: Evaluators) -> Report:
    return evaluate(VIDEO, NOISY, evaluators)


def values(report: Report, name: str) -> tuple[float | None, ...]:
    return report.measurements[name].values


def test_identical_videos_have_the_best_numbers(evaluators: Evaluators) -> None:
    report = evaluate(np.stack(VIDEO), VIDEO, evaluators)

    assert (report.num_frames, report.height, report.width) == (T, HEIGHT, WIDTH)
    assert list(report.measurements) == list(METRICS)
    assert report.not_measured == {}
    for name, metric in METRICS.items():
        best = math.inf if name == "psnr" else float(metric.is_higher_better)
        assert values(report, name) == pytest.approx((best,) * T, abs=1e-6)


def test_shuffled_frames_are_worse_than_noisy_ones(evaluators: Evaluators, noisy: Report) -> None:
    shuffled = evaluate(VIDEO, VIDEO[3:] + VIDEO[:3], evaluators)

    # The identity of a shuffled video stays.
    for name in set(METRICS) - {"identity_similarity"}:
        sign = 1 if METRICS[name].is_higher_better else -1
        best = {"psnr": math.inf, "ssim": 1}.get(name, 0)
        assert sign * shuffled.measurements[name].mean < sign * noisy.measurements[name].mean < best
    assert 0.9 < noisy.measurements["identity_similarity"].mean < 1


def test_landmarks_of_a_known_shift(noisy: Report) -> None:
    expected = np.array([0, 1, 0, 0, 0, 0]) * math.sqrt(2)

    assert values(noisy, "landmark_distance") == pytest.approx(expected.tolist())
    # The eyes lie 0.4 of 24 pixels apart.
    assert values(noisy, "normalised_landmark_distance") == pytest.approx((expected / (0.4 * 24)).tolist())
    assert noisy.measurements["landmark_distance"].worst_frame == 1


def test_landmark_distances_are_in_eye_distances_of_the_reference() -> None:
    report = evaluate([picture((20, 10, 40, 40))], [picture((20, 10, 60, 40))], Evaluators(RectangleDetector()))

    # Each x grows by its share of the face's width, 20 pixels; the reference's eyes lie 0.4 of 20 pixels apart.
    distance = 20 * np.mean([0.3, 0.7, 0.5, 0.35, 0.65])
    assert values(report, "landmark_distance") == pytest.approx((distance,))
    assert values(report, "normalised_landmark_distance") == pytest.approx((distance / 8,))


@torch.inference_mode()
def test_motion_and_pose_are_read_as_from_a_driving_video(evaluators: Evaluators, noisy: Report) -> None:
    assert evaluators.expression is not None
    assert evaluators.head_pose is not None
    refiner = build("refiner", ModelConfig.tiny())
    assert isinstance(refiner, MotionRefiner)
    # The refiner is left out of the comparison: what it is fed is what is measured.
    features: list[torch.Tensor] = []
    refiner.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))

    motions = [
        encode_motion(
            video, track_faces(video, RectangleDetector()), evaluators.expression, evaluators.head_pose, refiner
        )
        for video in (VIDEO, NOISY)
    ]

    expected = {
        "motion_error": features[0] - features[1],
        "rotation_error": motions[0].rotation - motions[1].rotation,
        "translation_error": motions[0].translation - motions[1].translation,
    }
    for name, difference in expected.items():
        assert values(noisy, name) == pytest.approx(difference.abs().mean(dim=1).tolist(), rel=1e-3, abs=1e-6)


def plain_face(tint: tuple[int, int]) -> np.ndarray:
    image = picture((40, 15, 64, 45), size=(HEIGHT, WIDTH))
    image[15:45, 40:64, 1:] = tint
    return image


def test_identity_is_the_cosine_of_each_frame_with_its_reference_or_the_portrait(evaluators: Evaluators) -> None:
    red, white = plain_face((0, 0)), plain_face((250, 250))
    portrait = np.zeros((200, 300, 3), np.uint8)
    portrait[60:160, 100:180] = SHADES[0], SHADES[0], 0  # (1, 2, 0) to the network

    own = evaluate([red, red], [red, white], evaluators)
    cross = evaluate([red, red], [red, white], evaluators, portrait=portrait)

    assert values(own, "identity_similarity") == pytest.approx((1, 1 / math.sqrt(14)), abs=1e-6)
    assert values(cross, "identity_similarity") == pytest.approx((1 / math.sqrt(5), 5 / math.sqrt(70)), abs=1e-6)
    assert values(own, "landmark_distance") == values(cross, "landmark_distance") == (0, 0)


def test_identity_is_read_from_the_aligned_face(arcface: ArcFace) -> None:
    rows, columns = np.mgrid[0:480, 0:640] / 4
    ramps = np.stack([columns, 2 * rows, 255 - columns], axis=-1).astype(np.uint8)
    shown = face(80, 120, 240, 360)

    embedding = embed_identity(ramps, shown, arcface)

    # Without the resized square between, which blurs but does not move.
    np.testing.assert_allclose(embedding, arcface.embed(arcface_crop(ramps, shown.landmarks)), rtol=0, atol=1e-3)


def test_a_frame_without_a_face_has_no_number(evaluators: Evaluators) -> None:
    reference, result = list(VIDEO), list(VIDEO)
    reference[1] = result[3] = result[4] = NO_FACE

    report = evaluate(reference, result, evaluators)
    with_portrait = evaluate(reference, result, evaluators, portrait=VIDEO[0])

    for name in FACE_METRICS:
        assert [i for i, value in enumerate(values(report, name)) if value is None] == [1, 3, 4]
    assert None not in values(report, "psnr")
    assert report.frames_without_face == {"reference": (1,), "result": (3, 4)}
    # The portrait does not miss the reference's face.
    identity = values(with_portrait, "identity_similarity")
    assert [i for i, value in enumerate(identity) if value is None] == [3, 4]


def test_a_video_without_any_face(evaluators: Evaluators) -> None:
    report = evaluate(VIDEO, [NO_FACE] * T, evaluators)

    assert set(report.measurements) == PICTURE_METRICS
    assert set(report.not_measured) == FACE_METRICS
    assert all(reason.startswith("result: No face was found") for reason in report.not_measured.values())
    assert report.frames_without_face == {"reference": (), "result": tuple(range(T))}


def test_faces_that_never_show_together(evaluators: Evaluators) -> None:
    report = evaluate([VIDEO[0], NO_FACE], [NO_FACE, VIDEO[1]], evaluators)

    assert set(report.not_measured) == FACE_METRICS
    assert all("no frame shows a face in both" in reason for reason in report.not_measured.values())


def test_a_portrait_without_a_face(evaluators: Evaluators) -> None:
    report = evaluate(VIDEO, VIDEO, evaluators, portrait=NO_FACE)

    assert list(report.not_measured) == ["identity_similarity"]
    assert report.not_measured["identity_similarity"].startswith("portrait: No face was found in the picture")


def test_without_evaluators_the_faces_are_not_measured() -> None:
    report = evaluate(VIDEO, VIDEO)

    assert set(report.measurements) == {"psnr", "ssim"}
    assert set(report.not_measured) == FACE_METRICS | {"lpips"}
    assert "its network" in report.not_measured["lpips"]
    assert all("face detector" in report.not_measured[name] for name in FACE_METRICS)
    assert report.frames_without_face == {}


@pytest.mark.parametrize(
    ("absent", "missing"),
    [
        ("arcface", {"identity_similarity"}),
        ("lpips", {"lpips"}),
        ("expression", {"motion_error"}),
        ("head_pose", {"rotation_error", "translation_error"}),
    ],
)
def test_an_absent_network_takes_its_own_metrics_alone(
    evaluators: Evaluators, noisy: Report, absent: str, missing: set[str]
) -> None:
    report = evaluate(VIDEO, NOISY, replace(evaluators, **{absent: None}, reasons={absent: "Fetch it."}))

    assert report.not_measured == dict.fromkeys(missing, "Fetch it.")
    assert report.measurements == {name: m for name, m in noisy.measurements.items() if name not in missing}


def test_a_driver_is_no_truth(evaluators: Evaluators, noisy: Report) -> None:
    report = evaluate(VIDEO, NOISY, evaluators, portrait=VIDEO[0], is_truth=False)
    without_portrait = evaluate(VIDEO, NOISY, evaluators, is_truth=False)

    motion = {"motion_error", "rotation_error", "translation_error"}
    assert set(report.measurements) == {*motion, "identity_similarity"}
    assert all(report.measurements[name] == noisy.measurements[name] for name in motion)
    assert all("the result should equal" in reason for reason in report.not_measured.values())
    assert set(without_portrait.measurements) == motion
    assert "needs the portrait" in without_portrait.not_measured["identity_similarity"]


def test_lpips_of_small_pictures_is_left_out(evaluators: Evaluators) -> None:
    small = [image[:31] for image in VIDEO]

    assert "at least 32×32 pixels; got 100×31" in evaluate(small, small, evaluators).not_measured["lpips"]


def test_a_face_given_by_hand_has_no_landmark_distance(evaluators: Evaluators) -> None:
    by_hand = replace(evaluators, detector=ManualDetector(box=(20, 15, 60, 50)))

    report = evaluate(VIDEO, VIDEO[1:] + VIDEO[:1], by_hand)

    assert set(report.not_measured) == {"landmark_distance", "normalised_landmark_distance"}
    assert all("by hand" in reason for reason in report.not_measured.values())
    assert report.measurements["motion_error"].mean > 0


def test_the_chosen_face_is_measured(evaluators: Evaluators) -> None:
    # The larger face moves, the smaller one, on the left, stays.
    reference = [picture((60, 10, 80, 40), (5, 10, 15, 25))] * 2
    result = [picture((60 + 4, 10, 80 + 4, 40), (5, 10, 15, 25))] * 2
    largest, leftmost = Evaluators(RectangleDetector()), Evaluators(RectangleDetector(), FaceChoice(index=0))

    assert values(evaluate(reference, result, largest), "landmark_distance") == pytest.approx((4, 4))
    assert values(evaluate(reference, result, leftmost), "landmark_distance") == (0, 0)


def test_a_network_that_overflows_is_not_a_number(evaluators: Evaluators) -> None:
    assert evaluators.head_pose is not None
    broken = build("head_pose", ModelConfig.tiny())
    assert isinstance(broken, HeadPoseEncoder)
    broken.load_state_dict(evaluators.head_pose.state_dict())
    nn.init.constant_(broken.head_pose_net.fc.bias, math.nan)

    report = evaluate(VIDEO, VIDEO, replace(evaluators, head_pose=broken))

    assert set(report.not_measured) == {"rotation_error", "translation_error"}
    assert "frame 0 is not finite" in report.not_measured["rotation_error"]
    assert report.measurements["motion_error"].mean == 0


class Source:
    """Frames that are made when they are read; remembers how many of them were ever alive at once."""

    def __init__(self) -> None:
        self.most = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        alive: list[weakref.ref[np.ndarray]] = []
        for number in range(2 * T):
            image = frame(number % T)
            alive = [reference for reference in alive if reference() is not None] + [weakref.ref(image)]
            self.most = max(self.most, len(alive))
            yield image


def test_frames_are_not_held(evaluators: Evaluators) -> None:
    source, result = Source(), Source()

    assert evaluate(source, result, evaluators).num_frames == 2 * T
    assert max(source.most, result.most) <= 3


@pytest.mark.parametrize("has_networks", [True, False])
def test_progress_counts_every_frame_of_every_stage(evaluators: Evaluators, has_networks: bool) -> None:
    told: list[tuple[str, int]] = []
    if not has_networks:
        evaluators = Evaluators(RectangleDetector())

    evaluate(VIDEO, VIDEO, evaluators, on_frame=lambda stage, number: told.append((stage, number)))

    assert told == [(stage, number) for stage in evaluators.stages for number in range(T)]
    assert ("networks" in evaluators.stages) is has_networks


def test_an_iterator_is_refused_before_it_is_read() -> None:
    frames = iter(VIDEO)

    with pytest.raises(ConfigurationError, match=r"result frames are an iterator.*give a list"):
        evaluate(VIDEO, frames)
    assert len(list(frames)) == T


def test_videos_that_do_not_fit(evaluators: Evaluators) -> None:
    with pytest.raises(ShapeError, match="reference has 6 frames but the result 5"):
        evaluate(VIDEO, VIDEO[1:], evaluators)
    with pytest.raises(ShapeError, match="result is 50×30 but the reference begins with 100×60"):
        evaluate(VIDEO, [image[::2, ::2] for image in VIDEO], evaluators)
