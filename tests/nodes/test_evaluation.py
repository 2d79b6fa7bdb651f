"""The evaluation node in a real ComfyUI: the core's numbers, whatever is missing."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from clips import make_clip

T, HEIGHT, WIDTH = 4, 60, 100


@pytest.fixture(autouse=True)
def as_comfyui_runs_nodes() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def core(pack: ModuleType) -> SimpleNamespace:
    """The core as the pack imports it."""
    names = ("data", "errors", "evaluation", "faces.identity", "pipeline", "video")
    modules = {name: importlib.import_module(f"{pack.__name__}.hunyuan_core.{name}") for name in names}
    return SimpleNamespace(**{name.rpartition(".")[2]: module for name, module in modules.items()})


@pytest.fixture(scope="module")
def module(pack: ModuleType) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.nodes.evaluation")


@pytest.fixture(scope="module")
def motion_encoder(pack: ModuleType, core: SimpleNamespace) -> Any:
    memory = importlib.import_module(f"{pack.__name__}.nodes.comfy_bridge.memory")
    pipeline = core.pipeline.Pipeline.untrained_tiny(device="cpu")
    names = ("expression", "head_pose", "refiner")
    return memory.MotionEncoder(*(memory.ManagedNetwork(getattr(pipeline, name)) for name in names))


@pytest.fixture(scope="module")
def detector(core: SimpleNamespace) -> Any:
    class BrightestIsFace:
        """Finds the one bright rectangle of a picture of this file."""

        def detect(self, image: np.ndarray) -> list[Any]:
            rows, columns = np.nonzero(image[..., 0] >= 240)
            if not rows.size:
                return []
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
            points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.5], [0.35, 0.8], [0.65, 0.8]])
            return [core.data.Face(box, box[:2] + points * (box[2:] - box[:2]))]

    return BrightestIsFace()


@pytest.fixture(scope="module")
def arcface(core: SimpleNamespace) -> Any:
    class Colours(core.identity.ArcFace):
        """Recognises people by the colours of their aligned face; the real network needs onnxruntime."""

        def __init__(self) -> None:
            pass

        def embed(self, crop: np.ndarray) -> np.ndarray:
            vector = np.zeros(512, np.float32)
            vector[:3] = crop.mean((0, 1)) + 1
            return vector / np.linalg.norm(vector)

    return Colours()


def video(num_frames: int = T, shift: int = 0, green: int = 150) -> np.ndarray:
    frames = np.zeros((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    for i, frame in enumerate(frames):
        left, top = 20 + 4 * i + shift, 15 + shift
        frame[top : top + 30, left : left + 24] = (250, green, 60)
        frame[top + 20 : top + 22 + i, left + 6 : left + 18, 1:] = 10
    return frames


REFERENCE, RESULT = video(), video(shift=2, green=170)


def image(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).float() / 255


def evaluate(module: ModuleType, reference: Any = None, result: Any = None, **options: Any) -> tuple[str, dict, Any]:
    reference = image(REFERENCE) if reference is None else reference
    result = image(RESULT) if result is None else result
    text, written, plot = module.HunyuanPortraitEvaluate.execute(reference, result, **options).args
    return text, json.loads(written), plot


def test_every_input_and_output_has_a_tooltip(module: ModuleType) -> None:
    for node in module.NODES:
        schema = node.GET_SCHEMA()
        assert schema.node_id == node.__name__
        assert schema.category == "HunyuanPortrait/Evaluation"
        assert [part.id or part.display_name for part in (*schema.inputs, *schema.outputs) if not part.tooltip] == []


@pytest.mark.parametrize("has_portrait", [False, True])
def test_numbers_are_the_cores(
    module: ModuleType, core: SimpleNamespace, detector: Any, arcface: Any, motion_encoder: Any, has_portrait: bool
) -> None:
    portrait = video(1, green=90)[0] if has_portrait else None
    evaluators = core.evaluation.Evaluators(
        detector,
        arcface=arcface,
        expression=motion_encoder.expression.network,
        head_pose=motion_encoder.head_pose.network,
    )
    expected = core.evaluation.evaluate(REFERENCE, RESULT, evaluators, portrait=portrait)

    text, written, plot = evaluate(
        module,
        portrait=None if portrait is None else image(portrait[None]),
        face_detector=detector,
        arcface=arcface,
        motion_encoder=motion_encoder,
    )

    assert text.startswith(expected.to_text())
    assert written == json.loads(expected.to_json())
    assert {*core.evaluation.METRICS} - {"ssim", "lpips"} <= written["metrics"].keys()
    assert plot.ndim == 4
    assert plot.shape[0] == 1
    assert plot.dtype == torch.float32


def test_a_video_is_measured_as_its_frames(module: ModuleType, core: SimpleNamespace, tmp_path: Path) -> None:
    from comfy_api.latest import InputImpl

    clip = make_clip(tmp_path / "clip.mp4", num_frames=5)
    frames = np.stack(list(core.video.open_video(clip)))
    _, written, _ = evaluate(module, InputImpl.VideoFromFile(str(clip)), image(frames))
    assert written["num_frames"] == 5
    assert written["metrics"]["psnr"]["values"] == ["inf"] * 5


def test_one_frame(module: ModuleType, detector: Any, motion_encoder: Any) -> None:
    _, written, plot = evaluate(
        module, image(REFERENCE[:1]), image(RESULT[:1]), face_detector=detector, motion_encoder=motion_encoder
    )
    assert written["num_frames"] == len(written["metrics"]["motion_error"]["values"]) == 1
    assert plot.numel()


def test_what_is_not_connected_is_listed(module: ModuleType, core: SimpleNamespace, detector: Any) -> None:
    text, written, _ = evaluate(module)
    assert written["not_measured"].keys() >= {*core.evaluation.METRICS} - {"psnr", "ssim"}
    assert "needs a face detector" in text

    text, written, _ = evaluate(module, face_detector=detector)
    assert "landmark_distance" in written["metrics"]
    for what in ("ArcFace", "the expression encoder", "the head-pose encoder"):
        assert f"needs {what}" in text


def test_networks_without_a_detector_measure_nothing(module: ModuleType, motion_encoder: Any, arcface: Any) -> None:
    _, written, _ = evaluate(module, motion_encoder=motion_encoder, arcface=arcface)
    assert "needs a face detector" in written["not_measured"]["motion_error"]


def test_a_video_without_faces_is_no_error(module: ModuleType, detector: Any) -> None:
    text, written, _ = evaluate(module, result=torch.zeros(T, HEIGHT, WIDTH, 3), face_detector=detector)
    assert written["frames_without_face"]["result"] == list(range(T))
    assert "Frames of the result without a face: 0-3" in text


@pytest.mark.parametrize("missing", ["torchmetrics.functional.image", "matplotlib.figure"])
def test_missing_packages_take_only_their_part(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    text, written, plot = evaluate(module)
    assert f"pip install {missing.partition('.')[0]}" in text
    assert "psnr" in written["metrics"]
    if missing.startswith("matplotlib"):
        assert torch.equal(plot, torch.ones(1, 64, 64, 3))
    else:
        assert "pip install torchmetrics" in written["not_measured"]["ssim"]


def test_cancel_stops_it(module: ModuleType, detector: Any) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing()
    with pytest.raises(management.InterruptProcessingException):
        evaluate(module, face_detector=detector)
    assert not management.processing_interrupted()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reference": "text"}, "^reference must be an IMAGE"),
        ({"result": torch.zeros(0, 8, 8, 3)}, "^result holds no picture"),
        ({"result": image(RESULT[:2])}, r"reference has 4 frames but the result 2; cut both"),
        ({"result": torch.zeros(T, HEIGHT, WIDTH + 1, 3)}, r"of the result is 101×60 .*scale one video"),
        ({"portrait": torch.zeros(2, 8, 8, 3)}, "^portrait takes one picture; got 2"),
        ({"face_detector": "text"}, "^face_detector got a str; connect the output of 'Load HunyuanPortrait Face"),
        ({"arcface": "text"}, "^arcface got a str; connect the output of 'Load HunyuanPortrait ArcFace'"),
        ({"motion_encoder": 3}, "^motion_encoder got a int; connect the output of 'Load HunyuanPortrait Motion"),
    ],
)
def test_bad_inputs(module: ModuleType, core: SimpleNamespace, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        evaluate(module, **changed)
