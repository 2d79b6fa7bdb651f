"""Checking a models folder: what is there, missing, damaged, or not what its name says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ..errors import MissingDependencyError, WeightsError
from ..faces.identity import ArcFace
from .files import FILES, ModelFile, locate, models_folder
from .integrity import check_archive, check_is_weights, check_sha256, damaged, is_archive
from .loading import build_for, check_layout, shapes_of
from .reading import read_shapes
from .reports import FileReport, Progress, Status

_SIZE_TOLERANCE = 0.02


def verify(
    folder: str | Path | None = None,
    *,
    build: Callable[[str], torch.nn.Module] | None = None,
    on_progress: Progress | None = None,
) -> list[FileReport]:
    """Check every file of a models folder.

    Networks: keys and shapes, and the checksums inside a ``.pth``; none of their tensors is loaded. Other files: the
    published SHA-256, or the size; an ArcFace of another size is accepted if it opens as one.

    Args:
        folder: As for ``find_models``.
        build: Builds a network by its name, called on the meta device; None builds it of the size that its file
            says, which is the released one unless the file carries a configuration.
        on_progress: Called with the file's name, the files done and their number, before each and after the last.

    Returns:
        One report for each file the model has, in the order of ``FILES``.

    Raises:
        WeightsError: If the folder is a file.
    """
    folder = models_folder(folder)
    reports = []
    for index, file in enumerate(FILES):
        if on_progress:
            on_progress(file.filename, index, len(FILES))
        reports.append(_verify_file(folder, file, build))
    if on_progress:
        on_progress("", len(FILES), len(FILES))
    return reports


def _verify_file(folder: Path, file: ModelFile, build: Callable[[str], torch.nn.Module] | None) -> FileReport:
    path = locate(folder, file)
    if path is None:
        needed = "" if file.is_required else f"optional, for {file.purpose}; "
        return FileReport(file, folder / file.filename, "missing", f"{needed}fetch it with `hunyuan-portrait download`")
    status: Status = "damaged"
    try:
        check_is_weights(path)
        if not file.is_network:
            return FileReport(file, path, "present", _check_bytes(path, file))
        found = read_shapes(path)
        if is_archive(path):
            check_archive(path)
        status = "wrong layout"
        with torch.device("meta"):
            network = build(file.name) if build else build_for(file.name, path)
        check_layout(shapes_of(network.state_dict()), found, path)
    except WeightsError as error:
        return FileReport(file, path, status, str(error).removeprefix(f"{path} "))
    return FileReport(file, path, "present", f"{len(found)} tensors")


def _check_bytes(path: Path, file: ModelFile) -> str:
    """Check a file that is not one of this project's networks; returns what is to be said of a sound one."""
    size = path.stat().st_size
    if file.sha256 is not None:
        check_sha256(path, file.sha256)
    elif file.name == "arcface" and abs(size - file.size) > _SIZE_TOLERANCE * file.size:
        if not _is_arcface(path):
            raise damaged(path, f"has {size} bytes where about {file.size} are expected")
        return f"not the published file, which has about {file.size} bytes, but a network of its inputs and outputs"
    return ""


def _is_arcface(path: Path) -> bool:
    try:
        ArcFace(path)
    except (MissingDependencyError, WeightsError):
        return False
    return True
