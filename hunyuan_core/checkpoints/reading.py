"""Reading state dicts from files without executing anything that they hold."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

# Only the name of the error that torch's restricted reader raises; nothing is unpickled with this module.
from pickle import UnpicklingError  # noqa: TID251

import torch
from safetensors import SafetensorError, safe_open

from ..errors import WeightsError
from .integrity import check_is_weights, damaged, is_archive, is_safetensors

Shapes = dict[str, tuple[int, ...]]


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint's tensors, on the CPU and in the file's dtypes.

    Tensors map the file into memory where its format and name allow: they are read when first used, and the file must
    not be overwritten in place while they live. The content decides the format, whatever the name: safetensors, or a
    torch checkpoint for torch's restricted reader. A checkpoint is a flat state dict, or one under the only key
    ``state_dict``; anything else in it is refused.

    Raises:
        WeightsError: If the file is missing, damaged, not a state dict, or would run code when unpickled.
    """
    path = Path(path)
    check_is_weights(path)
    if is_safetensors(path):
        with _open_safetensors(path) as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    return _flat(_read_pickle(path), path)


def read_shapes(path: str | Path) -> Shapes:
    """Read the shape of every tensor in a checkpoint; the tensors themselves are not read.

    Raises:
        WeightsError: As ``read_state_dict``.
    """
    path = Path(path)
    check_is_weights(path)
    if is_safetensors(path):
        with _open_safetensors(path) as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    return {key: tuple(tensor.shape) for key, tensor in read_state_dict(path).items()}


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text metadata of a safetensors file; a torch checkpoint has none.

    Raises:
        WeightsError: If the file is missing or damaged.
    """
    check_is_weights(path)
    if not is_safetensors(path):
        return {}
    with _open_safetensors(path) as file:
        return dict(file.metadata() or {})


def _open_safetensors(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"is cut short or not a safetensors file ({_cause(error)})") from error


def _read_pickle(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            # Given this name, torch itself would read it as safetensors; given an open file, it cannot map it.
            with path.open("rb") as stream:
                return torch.load(stream, map_location="cpu", weights_only=True)
        # A bare pickle cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive(path))
    except UnpicklingError as error:
        if name := re.search(r"(?:GLOBAL|class|function) [`']?([\w.]+\.[\w.]+)", str(error)):
            raise WeightsError(
                f"{path} holds more than tensors: unpickling it would use {name[1]}, so it could run code, and it was "
                "not opened further; do not trust this file, fetch the published one with `hunyuan-portrait download`."
            ) from error
        what = "is damaged, or holds something other than tensors (which could be code), and was not opened further"
        raise damaged(path, what) from error
    # What torch's reader is seen to raise on cut and altered bytes; it documents none.
    except (
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        if "TorchScript" in str(error):
            raise WeightsError(f"{path} is a TorchScript program and not a state dict; give the right file.") from error
        raise damaged(path, f"is cut short, damaged, or not a torch checkpoint ({_cause(error)})") from error


def _flat(content: object, path: Path) -> dict[str, torch.Tensor]:
    if isinstance(content, Mapping) and set(content) == {"state_dict"}:
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__} where a state dict (names and their tensors) is expected; "
            "give the file with the network's weights."
        )
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(
                f"{path} is not a flat state dict: its entry {key!r} is a {type(value).__name__} and not a tensor; "
                "save the network's state_dict() by itself and give that file."
            )
    return dict(content)


def _cause(error: Exception) -> str:
    # Torch's further sentences advise to read the file with its code.
    return (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
