"""A small network in the place of ArcFace, for models that know no photographs."""

from __future__ import annotations

import copy
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..errors import WeightsError
from ..faces.crops import ARCFACE_SIZE
from ..faces.identity import ArcFace


class IdentityNetwork(nn.Module):
    """Aligned face to an embedding; input and output are those of the released ArcFace."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.convs = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)])
        self.norms = nn.ModuleList([nn.GroupNorm(4, b) for b in channels[1:]])
        self.out = nn.Linear(channels[-1] * 16, ArcFace.embedding_dim)

    def forward(self, crop: torch.Tensor) -> torch.Tensor:
        """(B, 3, 112, 112) RGB in [0, 1] to (B, 512) of norm 1."""
        x = crop * 2 - 1
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.silu(norm(conv(x)))
        return F.normalize(self.out(x.flatten(1)), dim=-1)  # 4 x 4 places are left


def export_identity(network: IdentityNetwork, path: str | Path) -> None:
    """Write the network as ONNX, under the names by which ``ArcFace`` knows its own, whole or not at all.

    The file keeps the weights in the network's precision, and computes in float32.

    Raises:
        MissingDependencyError: If onnx is not installed.
        WeightsError: If the file cannot be written.
    """
    from ..optional import require

    require("onnx", "writing the identity network", "pip install onnx")
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    crop = torch.zeros(1, 3, ARCFACE_SIZE, ARCFACE_SIZE)
    is_half = network.out.weight.dtype == torch.float16
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The exporter that needs no further package.
        torch.onnx.export(
            copy.deepcopy(network).float().eval(),
            (crop,),
            str(part),
            dynamo=False,
            input_names=[ArcFace.input_name],
            output_names=["embedding"],
        )
        if is_half:
            _halve_weights(part)
        os.replace(part, path)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be written ({error}); check the disk's free space and the folder's permissions."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _halve_weights(path: Path) -> None:
    """Store a model's weights in float16, each with a node that casts it back."""
    import onnx

    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        name, half = weight.name, f"{weight.name}_half"
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight).astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
