"""Reading of golden folders: cases, checkpoint layouts, and the recipe that makes weights from their names."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR") or ROOT / "../shared/golden").resolve()
DATA_DIR = Path(os.environ.get("DATA_DIR") or ROOT / "../shared/data").resolve()

_SMALL = {"cls_token", "pos_embed", "register_tokens", "mask_token", "running_mean"}


class Case(NamedTuple):
    """One golden case.

    Attributes:
        tensors: Inputs and outputs by name, as stored.
        metadata: The file's metadata, each value decoded from JSON.
    """

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]


def case_files(prefix: str, folder: Path | None = None) -> list[Any]:
    """List the golden cases whose name starts with a prefix, for ``pytest.mark.parametrize``.

    Returns:
        One parameter (the path, named by its stem) per file; where there is none, one that skips and says so.
    """
    cases = (GOLDEN_DIR if folder is None else folder) / "cases"
    paths = sorted(cases.glob(f"{prefix}*.safetensors"))
    if paths:
        return [pytest.param(path, id=path.stem) for path in paths]
    reason = f"no golden case {prefix}* in {cases}; set GOLDEN_DIR"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def load_case(path: Path) -> Case:
    """Read one case file."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        metadata = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    return Case(tensors, metadata)


def load_layout(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shape of every tensor of a checkpoint from a ``layout/*.json`` file."""
    return {key: tuple(shape) for key, (shape, _) in json.loads(path.read_text()).items()}


def recipe_state_dict(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, torch.dtype] | None = None
) -> dict[str, torch.Tensor]:
    """Compute weights from their keys alone, as the golden folder's README gives it.

    Args:
        shapes: Checkpoint key (before any renaming of our own) to shape.
        dtypes: Key to dtype for those that shall not stay float32 (``num_batches_tracked`` is int64 anyway).
    """
    dtypes = dtypes or {}
    state = {}
    for key, shape in shapes.items():
        tensor = _recipe_tensor(key, tuple(shape))
        state[key] = tensor.to(dtypes.get(key, tensor.dtype))
    return state


def _recipe_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    offset = 0.0
    if last == "running_var":
        offset, scale = 1.0, 0.5
    elif last in _SMALL:
        scale = 0.1
    elif len(shape) <= 1:
        offset, scale = (1.0 if last in ("weight", "gamma") else 0.0), 0.1
    else:
        scale = math.sqrt(3 / math.prod(shape[1:]))
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    values = generator.random(math.prod(shape), dtype=np.float32)
    # In place: the largest networks have 1.5 billion values.
    values *= np.float32(2)
    values -= np.float32(1)
    values *= np.float32(scale)
    if offset:
        values += np.float32(offset)
    return torch.from_numpy(values).reshape(shape)
