"""Stand-ins for the networks of LPIPS, FID-VID and FVD: true ONNX files whose answers can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import onnx

GRID = 2
"""Cells along each side of a picture whose means are the features."""

CLIP_LENGTH = 4
SIDE = 16


def write_lpips(path: Path) -> Path:
    """Answer with the mean square of the difference of two pictures in [-1, 1]."""
    nodes = [
        onnx.helper.make_node("Sub", ["a", "b"], ["difference"]),
        onnx.helper.make_node("Mul", ["difference", "difference"], ["square"]),
        onnx.helper.make_node("ReduceMean", ["square"], ["distance"], keepdims=0),
    ]
    size = (1, 3, "h", "w")
    return _save(path, nodes, {"a": size, "b": size}, {"distance": ()})


def write_frame_features(path: Path) -> Path:
    """Answer with the means of GRID×GRID cells of each channel: (N, 12)."""
    cell = SIDE // GRID
    nodes = [
        onnx.helper.make_node("AveragePool", ["x"], ["means"], kernel_shape=[cell, cell], strides=[cell, cell]),
        onnx.helper.make_node("Flatten", ["means"], ["features"]),
    ]
    return _save(path, nodes, {"x": ("n", 3, SIDE, SIDE)}, {"features": ("n", 3 * GRID**2)})


def write_clip_features(path: Path) -> Path:
    """Answer with the same for each frame of a clip, in its order: (N, 48)."""
    cell = [1, SIDE // GRID, SIDE // GRID]
    nodes = [
        onnx.helper.make_node("AveragePool", ["x"], ["means"], kernel_shape=cell, strides=cell),
        onnx.helper.make_node("Flatten", ["means"], ["features"]),
    ]
    return _save(path, nodes, {"x": ("n", 3, CLIP_LENGTH, SIDE, SIDE)}, {"features": ("n", 3 * CLIP_LENGTH * GRID**2)})


def _save(path: Path, nodes: list, inputs: dict, outputs: dict) -> Path:
    given, wanted = (
        [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in sizes.items()]
        for sizes in (inputs, outputs)
    )
    graph = onnx.helper.make_graph(nodes, "metric", given, wanted)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path
