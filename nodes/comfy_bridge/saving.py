"""New files in ComfyUI's output folder, named and tagged as core's Save nodes do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import io, ui

from ...hunyuan_core.errors import ConfigurationError, MediaError


@dataclass(frozen=True)
class OutputFile:
    """A file to write.

    Attributes:
        shown: How the frontend finds it.
    """

    path: Path
    shown: ui.SavedResult


def next_file(prefix: str, suffix: str, height: int, width: int) -> OutputFile:
    """Choose a new file below the output folder, with the next free number; makes its folder.

    Args:
        prefix: Folder and start of the name; ``%year%``, ``%width%`` and the like are filled in.
        height: Of the pictures, pixels.
        width: The same.

    Raises:
        ConfigurationError: If the prefix leaves the output folder, or has no name.
        MediaError: If the folder cannot be made or read.
    """
    output = Path(folder_paths.get_output_directory()).resolve()
    place = (output / prefix).resolve()
    if not prefix.strip() or place == output or not place.is_relative_to(output):
        raise ConfigurationError(
            f"filename_prefix must be a name below ComfyUI's output folder, such as 'hunyuan_portrait/result'; got "
            f"{prefix!r}."
        )
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, str(output), width, height)
    except OSError as error:
        raise MediaError(
            f"Cannot make a file {prefix!r} in {output} ({error.strerror}); change filename_prefix, or the rights of "
            "that folder."
        ) from error
    filename = f"{name}_{counter:05}_{suffix}"
    return OutputFile(Path(folder, filename), ui.SavedResult(filename, subfolder, io.FolderType.output))


def workflow_tags(hidden: Any) -> dict[str, str]:
    """Tags from which ComfyUI reads the workflow again when the file is dropped on it; none if the user forbids them.

    Args:
        hidden: What the executor hands to the node; None outside of it.
    """
    if args.disable_metadata or hidden is None:
        return {}
    tags = dict(hidden.extra_pnginfo or {})
    if hidden.prompt is not None:
        tags["prompt"] = hidden.prompt
    return {name: json.dumps(value) for name, value in tags.items()}
