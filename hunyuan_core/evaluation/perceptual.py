"""How alike two pictures look to a network: LPIPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ..checkpoints import read_state_dict
from ..errors import MissingDependencyError, WeightsError
from ..onnx_session import open_onnx
from ..optional import require
from .pictures import PictureMetric

LPIPS_SIDE = 32
"""Pixels of the shorter side below which AlexNet's last features have no place."""

_INSTALL = "pip install torchmetrics torchvision"


def load_lpips(path: str | Path) -> PictureMetric:
    """Make LPIPS (Zhang et al. 2018) on AlexNet, as the paper has it, by torchmetrics and torchvision.

    Args:
        path: ``checkpoints/alexnet-owt-7be5be79.pth`` in a folder laid out as torch's hub folder.

    Raises:
        MissingDependencyError: If torchmetrics or torchvision cannot be imported.
        WeightsError: If the file is missing, damaged, or would run code.
    """
    path = Path(path)
    try:
        require("torchvision", "LPIPS", _INSTALL)
        image = require("torchmetrics.image.lpip", "LPIPS", _INSTALL)
    except RuntimeError as error:
        # torchvision fails like this where it was built for another torch.
        cause = " ".join(str(error).split())
        raise MissingDependencyError(f"LPIPS needs a working torchvision ({cause}). Repair it: {_INSTALL}") from error
    read_state_dict(path)  # refuses what torchvision, which reads it next, would execute
    try:
        with _hub_folder(path.parent.parent):
            metric = image.LearnedPerceptualImagePatchSimilarity(net_type="alex")
    except RuntimeError as error:
        raise WeightsError(f"{path} is not torchvision's AlexNet; delete it and fetch it again.") from error

    @torch.inference_mode()
    def lpips(reference: np.ndarray, result: np.ndarray) -> float:
        value = float(metric(_batch(result), _batch(reference)))
        metric.reset()
        return value

    return lpips


def open_lpips(path: str | Path) -> PictureMetric:
    """Open LPIPS as an ONNX file, for where there is no torchvision.

    The file takes two pictures, float32 (1, 3, H, W) RGB in [-1, 1], and answers with one number.

    Raises:
        MissingDependencyError: If no build of onnxruntime is installed.
        WeightsError: If the file is missing, damaged, or of other inputs or outputs.
    """
    session = open_onnx(path, "LPIPS")
    inputs = session.get_inputs()
    if len(inputs) != 2 or any(value.type != "tensor(float)" or len(value.shape) != 4 for value in inputs):
        found = [(value.name, value.type, value.shape) for value in inputs]
        raise WeightsError(f"{path}, needed for LPIPS, must have two float inputs (1, 3, H, W); got {found}.")

    def lpips(reference: np.ndarray, result: np.ndarray) -> float:
        pictures = zip(inputs, (reference, result), strict=True)
        (output, *_) = session.run(None, {value.name: _batch(picture).numpy() for value, picture in pictures})
        answer = np.asarray(output, np.float64)
        if answer.size != 1:
            raise WeightsError(f"{path}, needed for LPIPS, answers with shape {answer.shape} and not one number.")
        return float(answer.reshape(()))

    return lpips


def _batch(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1


@contextmanager
def _hub_folder(folder: Path) -> Iterator[None]:
    """Let torchvision find its weights in a folder and not fetch them."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    try:
        yield
    finally:
        torch.hub.set_dir(before)
