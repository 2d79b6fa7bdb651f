"""Where motion files lie: ComfyUI's input folder, and ``hunyuan_portrait`` in its output folder."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...hunyuan_core.errors import MediaError
from . import saving

FOLDER = "hunyuan_portrait"
"""Below the output folder; what is saved elsewhere is not offered for loading."""

_SUFFIX = ".safetensors"
_IN_OUTPUT = " [output]"


def next_file(prefix: str) -> tuple[Path, str]:
    """Choose a new file below the output folder, numbered as ComfyUI numbers its own.

    Args:
        prefix: Folder and start of the name, ``%year%`` and the like allowed.

    Returns:
        Its path, and the name by which ``find`` knows it.

    Raises:
        ConfigurationError: If the prefix leaves the output folder, or has no name.
    """
    file = saving.next_file(prefix, _SUFFIX, 0, 0)
    name = Path(file.shown["subfolder"]) / file.shown["filename"]
    return file.path, name.as_posix() + _IN_OUTPUT


def list_files() -> list[str]:
    """Names of the files that may hold a motion, saved ones first."""
    output = Path(folder_paths.get_output_directory())
    saved = [path.relative_to(output).as_posix() + _IN_OUTPUT for path in _walk(output / FOLDER)]
    given = Path(folder_paths.get_input_directory())
    return saved + [path.relative_to(given).as_posix() for path in _walk(given)]


def find(name: str) -> Path:
    """Path of a file by its name in the list.

    Raises:
        MediaError: If it is not in the list; says where it is looked for.
    """
    if name not in list_files():
        raise MediaError(
            f"motion_file: {name!r} is neither in ComfyUI's input folder nor in output/{FOLDER}; make one with "
            f"'HunyuanPortrait Save Motion', or put it there, and press R."
        )
    if name.endswith(_IN_OUTPUT):
        return Path(folder_paths.get_output_directory(), name.removesuffix(_IN_OUTPUT))
    return Path(folder_paths.get_input_directory(), name)


def _walk(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(f"*{_SUFFIX}") if path.is_file())
