from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hunyuan_core.errors import MissingDependencyError, WeightsError
from hunyuan_core.onnx_session import open_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def save_graph(path: Path, operator: str) -> Path:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x", "x"], ["y"])],
        "graph",
        [value("x", onnx.TensorProto.FLOAT, [2])],
        [value("y", onnx.TensorProto.FLOAT, [2])],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return path


def test_a_good_file_runs(tmp_path: Path) -> None:
    session = open_onnx(save_graph(tmp_path / "double.onnx", "Add"), "a test")

    (y,) = session.run(None, {"x": np.array([1, 2], np.float32)})

    assert y.tolist() == [2, 4]
    assert "CPUExecutionProvider" in session.get_providers()


@pytest.mark.parametrize("content", [b"", b"no protobuf at all" * 50])
def test_a_damaged_file_is_a_weights_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"damaged\.onnx.*a test.*download") as caught:
        open_onnx(path, "a test")

    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_a_weights_error(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "double.onnx", "Add")
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(WeightsError, match="cannot be opened"):
        open_onnx(path, "a test")


def test_an_unknown_operator_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="NoSuchOperator"):
        open_onnx(save_graph(tmp_path / "other.onnx", "NoSuchOperator"), "a test")


@pytest.mark.parametrize("name", ["", "absent.onnx"])
def test_a_missing_file_is_a_weights_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="is not a file"):
        open_onnx(tmp_path / name, "a test")


def test_without_onnxruntime_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingDependencyError, match="onnxruntime-gpu"):
        open_onnx("any.onnx", "a test")
