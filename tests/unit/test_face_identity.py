from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hunyuan_core.errors import ConfigurationError, ShapeError, WeightsError
from hunyuan_core.faces.identity import ArcFace

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RELEASED_INPUT = (1, 3, 112, 112)


def save_network(
    path: Path,
    *,
    name: str = "data",
    shape: tuple[int | str, ...] = RELEASED_INPUT,
    outputs: int = 512,
    weights: np.ndarray | None = None,
) -> Path:
    """A network that averages each channel over the picture and multiplies by (3, outputs) weights."""
    helper = onnx.helper
    if weights is None:
        weights = np.zeros((3, outputs), np.float32)
        weights[0, 0], weights[1, 1], weights[2, 2] = 1, 2, 3
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", [name], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "arcface",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, (shape[0], outputs))],
        [onnx.numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def crop(red: float, green: float, blue: float) -> np.ndarray:
    return np.full((112, 112, 3), (red, green, blue), np.float32)


@pytest.mark.parametrize("batch", [1, "batch"])
def test_channels_in_order_values_as_they_are_and_norm_one(batch: int | str, tmp_path: Path) -> None:
    network = ArcFace(save_network(tmp_path / "arcface.onnx", shape=(batch, 3, 112, 112)))

    embedding = network.embed(crop(0.25, 0.5, 0.25))

    # (1 · 0.25, 2 · 0.5, 3 · 0.25) over its norm; any shift of the values into [-1, 1] would turn it.
    assert embedding.dtype == np.float32
    assert embedding.shape == (512,)
    np.testing.assert_allclose(embedding[:3], np.array([1, 4, 3]) / np.sqrt(26), rtol=1e-6)
    assert not embedding[3:].any()


@pytest.mark.parametrize(
    "difference", [{"name": "input"}, {"shape": (1, 3, 128, 128)}, {"shape": (1, 1, 112, 112)}, {"outputs": 256}]
)
def test_another_network_is_refused(difference: dict, tmp_path: Path) -> None:
    if difference.get("shape", RELEASED_INPUT)[1] == 1:
        difference = {**difference, "weights": np.ones((1, 512))}

    with pytest.raises(WeightsError, match=r"is not the released ArcFace.*'data' \[1, 3, 112, 112\]"):
        ArcFace(save_network(tmp_path / "other.onnx", **difference))


def test_a_damaged_file(tmp_path: Path) -> None:
    path = save_network(tmp_path / "arcface.onnx")
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(WeightsError, match=r"arcface\.onnx.*identity"):
        ArcFace(path)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_an_answer_without_direction(value: float, tmp_path: Path) -> None:
    network = ArcFace(save_network(tmp_path / "arcface.onnx", weights=np.full((3, 512), value)))

    with pytest.raises(WeightsError, match="norm"):
        network.embed(crop(0.5, 0.5, 0.5))


def test_what_is_no_aligned_face(tmp_path: Path) -> None:
    network = ArcFace(save_network(tmp_path / "arcface.onnx"))

    with pytest.raises(ShapeError, match=r"\(3, 112, 112\)"):
        network.embed(np.zeros((3, 112, 112), np.float32))
    with pytest.raises(ConfigurationError, match="divide by 255"):
        network.embed(crop(200, 100, 0))
    with pytest.raises(ConfigurationError, match=r"\[0, 1\]"):
        network.embed(crop(-1, 0, 1))
