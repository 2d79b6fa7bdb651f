"""A models folder of tiny networks under the released names, for trying everything without the released weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hunyuan_core.checkpoints import FILES, save_network
from hunyuan_core.config import ModelConfig
from hunyuan_core.pipeline import Pipeline


def write_tiny_models(folder: Path) -> None:
    """Fill a folder with the networks of ``Pipeline.untrained_tiny`` and a small ArcFace.

    The networks are safetensors that carry their configuration, whatever their names end in. There is no face
    detector: yoloface is a program, and no other than the published one is ever run.
    """
    pipeline = Pipeline.untrained_tiny(device="cpu")
    for file in FILES:
        path = folder / file.filename
        if file.is_network:
            save_network(file.name, getattr(pipeline, file.name), ModelConfig.tiny(), path)
        elif file.name == "arcface":
            write_arcface(path)


def write_arcface(path: Path, seed: int = 0) -> None:
    """Write an ArcFace-shaped network: mean colours of a grid of 6x6 cells, mixed to 512 numbers."""
    import onnx
    from onnx import helper, numpy_helper

    weights = np.random.default_rng(seed).standard_normal((108, 512)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["data"], ["cells"], kernel_shape=[18, 18], strides=[18, 18]),
            helper.make_node("Flatten", ["cells"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "arcface",
        [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, (1, 3, 112, 112))],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, (1, 512))],
        [numpy_helper.from_array(weights, "weights")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


if __name__ == "__main__":
    write_tiny_models(Path(sys.argv[1]))
