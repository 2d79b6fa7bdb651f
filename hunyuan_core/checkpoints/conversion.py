"""One-time conversion of the released ``.pth`` files to safetensors, which map to memory and carry no code."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..errors import WeightsError
from .files import FILES, ModelFile, models_folder
from .integrity import sha256_of
from .reading import read_metadata, read_state_dict
from .reports import FileReport, Progress
from .writing import write_safetensors


def convert(folder: str | Path | None = None, on_progress: Progress | None = None) -> list[FileReport]:
    """Write each ``.pth`` of a models folder as ``.safetensors`` beside it, where ``find_models`` prefers it.

    The originals stay. A file that was converted before is left alone unless its original has changed.

    Args:
        folder: As for ``find_models``.
        on_progress: Called with the file's name, the files done and their number, before each and after the last.

    Returns:
        One report for each ``.pth`` that the model has. Failures are reported, and the other files converted.

    Raises:
        WeightsError: If the folder is a file.
    """
    folder = models_folder(folder)
    files = [file for file in FILES if file.filename.endswith(".pth")]
    reports = []
    for index, file in enumerate(files):
        if on_progress:
            on_progress(file.filename, index, len(files))
        reports.append(_convert_file(folder, file))
    if on_progress:
        on_progress("", len(files), len(files))
    return reports


def convert_file(source: Path, target: Path) -> None:
    """Write the tensors of one checkpoint as safetensors, and read them back.

    ``target`` appears under its name only when it is whole. Its metadata are the source's, if that has any, and name
    the source, the source's size and SHA-256, and this project's version.

    Raises:
        WeightsError: If the source cannot be read, the target cannot be written, or it does not hold the same.
    """
    state_dict = read_state_dict(source)
    metadata = {
        **read_metadata(source),
        "format": "pt",
        "source": source.name,
        "source_size": str(source.stat().st_size),
        "source_sha256": sha256_of(source),
        "converted_by": f"hunyuan-portrait {_project_version()}",
    }
    write_safetensors(state_dict, target, metadata, check=lambda part: _check_same(state_dict, part))


def _convert_file(folder: Path, file: ModelFile) -> FileReport:
    for root in (folder, folder / "pretrained_weights"):
        source = root / file.filename
        target = source.with_suffix(".safetensors")
        if not source.is_file():
            if target.is_file():
                return FileReport(file, target, "present", "there is no .pth beside it to convert")
            continue
        if target.is_file() and (kept := _reason_to_keep(target, source)):
            return FileReport(file, target, "present", kept)
        try:
            convert_file(source, target)
        except WeightsError as error:
            return FileReport(file, source, "failed", str(error))
        return FileReport(file, target, "converted")
    return FileReport(file, folder / file.filename, "missing", "fetch it with `hunyuan-portrait download`")


def _reason_to_keep(target: Path, source: Path) -> str | None:
    try:
        metadata = read_metadata(target)
    except WeightsError:
        return None  # A damaged target is written again.
    if "source_size" not in metadata:
        return "not made by this command, left as it is"
    is_newer = target.stat().st_mtime >= source.stat().st_mtime
    is_current = is_newer and metadata["source_size"] == str(source.stat().st_size)
    return "converted before" if is_current else None


def _check_same(state_dict: dict[str, torch.Tensor], path: Path) -> None:
    written = read_state_dict(path)
    for key, tensor in state_dict.items():
        # Bytes, because NaN is not equal to itself.
        is_same = tensor.dtype == written[key].dtype and tensor.shape == written[key].shape
        if not is_same or not torch.equal(_bytes(tensor), _bytes(written[key])):
            raise WeightsError(f"{path} does not hold {key} as it was written; check the disk and convert again.")


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def _project_version() -> str:
    try:
        return version("hunyuan-portrait")
    except PackageNotFoundError:
        return "(not installed as a package)"
