"""Small graphs with the inputs and outputs of DWPose's networks, whose files cannot be shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

BINS_X = (np.arange(133) * 4) % 576
BINS_Y = (np.arange(133) * 5) % 768


def candidates(people: dict[int, tuple[float, ...]], person_class: int = 0) -> np.ndarray:
    """Make (8400, 85) candidates; a row is x, y, log w, log h, objectness, class score."""
    raw = np.zeros((8400, 85), np.float32)
    for row, values in people.items():
        raw[row, :5], raw[row, 5 + person_class] = values[:5], values[5]
    return raw


def save(
    path: Path, nodes: list, inputs: list[int], constants: dict[str, np.ndarray], outputs: dict[str, list]
) -> Path:
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [value("input", kind, inputs)],
        [value(name, kind, shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return path


def save_detector(path: Path, raw: np.ndarray) -> Path:
    """Answers ``raw`` times the input's top left blue value over 255: its answer depends on what it is shown."""
    node = onnx.helper.make_node
    nodes = [
        node("Slice", ["input", "starts", "stops"], ["corner"]),
        node("Reshape", ["corner", "one"], ["blue"]),
        node("Div", ["blue", "full"], ["share"]),
        node("Mul", ["raw", "share"], ["output"]),
    ]
    constants = {
        "starts": np.zeros(4, np.int64),
        "stops": np.ones(4, np.int64),
        "one": np.array([1], np.int64),
        "full": np.array([255], np.float32),
        "raw": raw[None],
    }
    return save(path, nodes, [1, 3, 640, 640], constants, {"output": [1, 8400, 85]})


def save_pose(path: Path, score: float = 0.8, points: int = 133) -> Path:
    """Answers BINS_X and BINS_Y with the given score, whatever it is shown; batch size left open as in the release."""
    x, y = np.zeros((1, points, 576), np.float32), np.zeros((1, points, 768), np.float32)
    x[0, np.arange(points), BINS_X[:points]] = 0.9
    y[0, np.arange(points), BINS_Y[:points]] = score
    node = onnx.helper.make_node
    nodes = [
        node("ReduceMax", ["input"], ["top"], keepdims=0),
        node("Mul", ["top", "zero"], ["nothing"]),
        node("Add", ["x", "nothing"], ["simcc_x"]),
        node("Add", ["y", "nothing"], ["simcc_y"]),
    ]
    outputs = {"simcc_x": ["batch", points, 576], "simcc_y": ["batch", points, 768]}
    return save(path, nodes, ["batch", 3, 384, 288], {"x": x, "y": y, "zero": np.zeros(1, np.float32)}, outputs)
