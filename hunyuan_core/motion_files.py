"""Motion in files: encoded once, then used for other portraits without the driving video.

A file is safetensors with the tensors of ``data.Motion`` (the intensities as int64) and one entry of metadata,
``hunyuan_portrait_motion``: JSON with the version of this layout, the width of the tokens, and the user's note.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .data import Motion
from .errors import ConfigurationError, MediaError, ShapeError
from .motion_editing import check_motion
from .video.files import replacing, write_error

_KEY = "hunyuan_portrait_motion"
_VERSION = 1
_TENSORS = ("tokens", "rotation", "translation")
_INTENSITIES = ("head_intensity", "expression_intensity")


def save_motion(motion: Motion, path: str | Path, note: Mapping[str, Any] | None = None) -> None:
    """Write a motion; the file appears under its name only when it is whole.

    Args:
        path: Ends in ``.safetensors``; its folder exists. A file of that name is replaced.
        note: Whatever JSON can hold, such as the name of the driving video; ``read_motion_note`` gives it back.

    Raises:
        ConfigurationError: If the name ends otherwise, or JSON cannot hold the note.
        MediaError: If the file cannot be written.
        ShapeError: As ``check_motion``.
    """
    check_motion(motion)
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigurationError(f"The name of a motion file ends in .safetensors; got {path.name!r}.")
    header = {"version": _VERSION, "width": motion.tokens.shape[-1], "note": dict(note or {})}
    try:
        metadata = {_KEY: json.dumps(header)}
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"note must hold nothing but what JSON can hold ({error}).") from error
    # Copies, because safetensors refuses tensors that share memory.
    tensors = {name: getattr(motion, name).clone(memory_format=torch.contiguous_format) for name in _TENSORS}
    tensors |= {name: torch.tensor(getattr(motion, name)) for name in _INTENSITIES}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except (OSError, SafetensorError) as error:
            raise write_error(path, getattr(error, "errno", None), str(error)) from error


def load_motion(path: str | Path) -> Motion:
    """Read a motion into memory, on the CPU; the file may be replaced or removed afterwards.

    Raises:
        MediaError: If there is no such file, it is not a motion file, of another version, or damaged.
    """
    path = Path(path)
    with _open(path) as file:
        width = _header(file, path)["width"]
        if set(file.keys()) != {*_TENSORS, *_INTENSITIES}:
            raise _damaged(path, f"it holds {', '.join(sorted(file.keys())) or 'nothing'}")
        # Copies, so that the file is not mapped on: Windows does not replace a mapped file.
        tokens, rotation, translation = (file.get_tensor(name).clone() for name in _TENSORS)
        intensities = [file.get_tensor(name) for name in _INTENSITIES]
    if any(values.dtype != torch.int64 or values.ndim != 1 for values in intensities):
        raise _damaged(path, "its intensities are not rows of whole numbers")
    head, expression = (tuple(values.tolist()) for values in intensities)
    motion = Motion(tokens, head, expression, rotation, translation)
    try:
        check_motion(motion)
    except ShapeError as error:
        raise _damaged(path, str(error).rstrip(".")) from error
    if motion.tokens.shape[-1] != width:
        raise _damaged(path, f"its tokens have {motion.tokens.shape[-1]} channels where it announces {width}")
    return motion


def read_motion_note(path: str | Path) -> dict[str, Any]:
    """Read the note that a motion was saved with; empty if there was none.

    Raises:
        MediaError: If there is no such file, it is not a motion file, of another version, or damaged.
    """
    path = Path(path)
    with _open(path) as file:
        return _header(file, path)["note"]


def _open(path: Path) -> safe_open:
    if not path.is_file():
        raise MediaError(f"There is no motion file at {path}; check the name, or encode a video and save its motion.")
    try:
        return safe_open(path, framework="pt")
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error}); check its permissions.") from error
    except SafetensorError as error:
        raise MediaError(
            f"{path} is cut short or not a motion file ({error}); give a file that was saved as motion."
        ) from error


def _header(file: safe_open, path: Path) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if _KEY not in metadata:
        raise MediaError(f"{path} is a safetensors file but holds no motion; give a file that was saved as motion.")
    try:
        header = json.loads(metadata[_KEY])
    except ValueError as error:
        raise _damaged(path, f"its header is not JSON: {error}") from error
    version = header.get("version") if isinstance(header, dict) else None
    if version != _VERSION:
        raise MediaError(
            f"{path} is a motion file of version {version} and this program reads version {_VERSION}; update the "
            f"program, or encode and save the motion again."
        )
    if not isinstance(header.get("width"), int) or not isinstance(header.get("note"), dict):
        raise _damaged(path, "its header lacks the width or the note")
    return header


def _damaged(path: Path, what: str) -> MediaError:
    return MediaError(f"{path} is a damaged motion file ({what}); encode and save the motion again.")
