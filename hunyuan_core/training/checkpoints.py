"""Checkpoints of a training run: folders of safetensors that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..checkpoints.writing import write_safetensors
from ..errors import ConfigurationError, WeightsError

_PREFIX = "step_"
_STATE = ("num_done", "config", "scaler")


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on exactly.

    Attributes:
        num_done: Steps that are done.
        weights: Parameters that learn, by name.
        average: Their moving average.
        optimiser: The optimiser's tensors, ``parameter.key``.
        config: Hash of the configuration.
        scaler: Numbers of the gradient scaler in fp16; empty otherwise.
    """

    num_done: int
    weights: Mapping[str, torch.Tensor]
    average: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, torch.Tensor]
    config: str
    scaler: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, num_kept: int) -> Path:
    """Write a checkpoint beside its place, name it, and remove the oldest beyond ``num_kept``.

    Raises:
        WeightsError: If it cannot be written, as on a full disk; earlier checkpoints stay.
    """
    path = folder / f"{_PREFIX}{checkpoint.num_done:08d}"
    part = folder / f"{path.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name in ("weights", "average", "optimiser"):
            write_safetensors(getattr(checkpoint, name), part / f"{name}.safetensors", {})
        state = {name: getattr(checkpoint, name) for name in _STATE}
        (part / "state.json").write_text(json.dumps(state), encoding="utf-8")
        shutil.rmtree(path, ignore_errors=True)
        os.replace(part, path)
    except OSError as error:
        raise WeightsError(
            f"The checkpoint {path} cannot be written ({error}); check the disk's free space and the folder's "
            "permissions, and resume from the one before."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for old in _list(folder)[:-num_kept]:
        shutil.rmtree(old)
    return path


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint of a run; None if it has none.

    Raises:
        ConfigurationError: If it is damaged; names the folder to remove.
    """
    paths = _list(folder)
    if not paths:
        return None
    path = paths[-1]
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        tensors = {name: load_file(path / f"{name}.safetensors") for name in ("weights", "average", "optimiser")}
        return Checkpoint(**{**tensors, **{name: state[name] for name in _STATE}})
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigurationError(
            f"The checkpoint {path} is damaged ({error}); remove it to go on from the one before."
        ) from error


def _list(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir() and path.suffix != ".part")
