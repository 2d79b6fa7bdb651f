"""The model that is measured, and what reads its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import SamplingConfig
from ..errors import WeightsError
from ..pipeline import Pipeline
from ..toy import TOY_SAMPLING, TOY_SIZE, toy_reader_file
from ..training.toyworld.reader import Reader, load_reader

READER_FILE = "reader.safetensors"


@dataclass(frozen=True, eq=False)
class Model:
    """Networks and settings.

    Attributes:
        size: Side of the pictures, pixels.
    """

    pipeline: Pipeline
    reader: Reader
    sampling: SamplingConfig
    size: int = TOY_SIZE


def load_model(
    folder: Path | None = None,
    reader: Path | None = None,
    device: torch.device | str | None = None,
    sampling: SamplingConfig = TOY_SAMPLING,
) -> Model:
    """Load the carried model, or another of its kind.

    Args:
        folder: Of weights as a training exports them; None is the carried model.
        reader: Its file; None is the folder's, or where it has none the carried one.
        device: As for ``Pipeline.from_pretrained``.

    Raises:
        WeightsError: If a file is missing, damaged or of another model.
        MissingDependencyError: If no build of onnxruntime is installed.
    """
    if folder is None:
        pipeline = Pipeline.toy(device=device)
    elif folder.is_dir():
        pipeline = Pipeline.from_pretrained(folder, device=device)
    else:
        raise WeightsError(f"There is no folder {folder}; name one that a training has exported weights to.")
    if reader is None:
        own = None if folder is None else folder / READER_FILE
        reader = own if own is not None and own.is_file() else toy_reader_file()
    return Model(pipeline, load_reader(reader), sampling)
