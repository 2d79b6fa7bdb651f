"""Writing tensors as safetensors, so that a file appears under its name only when it is whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ..errors import WeightsError


def write_safetensors(
    state_dict: Mapping[str, torch.Tensor],
    path: str | Path,
    metadata: dict[str, str],
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write tensors beside their place first.

    Args:
        state_dict: Tensors that share memory are stored each on its own.
        check: Called with the finished file before it gets its name; may refuse it by raising.

    Raises:
        WeightsError: If the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = stat.S_IMODE(part.stat().st_mode)
        save_file(separate(state_dict), part, metadata=metadata)
        part.chmod(mode)  # safetensors lets nobody but the owner read
        if check is not None:
            check(part)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be written ({error}); check the disk's free space and the folder's permissions."
        ) from error
    finally:
        if part.exists():
            part.unlink()


def separate(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give tensors that share memory, or are views, memory of their own: safetensors stores no views."""
    seen: set[int] = set()
    result = {}
    for key, tensor in state_dict.items():
        storage = tensor.untyped_storage()
        is_whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        result[key] = tensor if is_whole else tensor.clone(memory_format=torch.contiguous_format)
    return result
