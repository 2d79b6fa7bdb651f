"""Where the networks of LPIPS, FID-VID and FVD lie, and what to do about one that is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..errors import MissingDependencyError, WeightsError
from .features import FeatureExtractor, InceptionFeatures, OnnxFeatures
from .perceptual import load_lpips, open_lpips
from .pictures import PictureMetric

METRICS_VARIABLE = "HUNYUAN_PORTRAIT_METRICS"
"""Environment variable that names the folder."""

_FETCH = "fetch it with `hunyuan-portrait evaluate --download-metrics`"


@dataclass(frozen=True)
class MetricFile:
    """A published weight file.

    Attributes:
        filename: Where it lies, relative to the folder; below ``checkpoints``, so that torch's own hub folder will do.
        hash_prefix: First digits of its SHA-256.
    """

    filename: str
    url: str
    hash_prefix: str


ALEXNET = MetricFile(
    "checkpoints/alexnet-owt-7be5be79.pth", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"
)
INCEPTION = MetricFile(
    "checkpoints/weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
)
LPIPS_ONNX, INCEPTION_ONNX, CLIPS_ONNX = "lpips.onnx", "inception.onnx", "i3d.onnx"


@dataclass(frozen=True, eq=False)
class MetricNetworks:
    """The networks that were found.

    Attributes:
        frames: For FID-VID.
        clips: For FVD.
        files: What each was read from.
        reasons: Why one is None and what to do, by its name.
    """

    lpips: PictureMetric | None = None
    frames: FeatureExtractor | None = None
    clips: FeatureExtractor | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def metrics_folder(folder: str | Path | None, models: Path) -> Path:
    """Choose the given folder, else that of ``$HUNYUAN_PORTRAIT_METRICS``, else ``metrics`` in the models folder."""
    chosen = folder or os.environ.get(METRICS_VARIABLE)
    return Path(chosen).expanduser() if chosen else models / "metrics"


def find_metric_networks(folder: Path) -> MetricNetworks:
    """Open what a folder holds: an ``.onnx`` file before published weights, which need torchvision or torch-fidelity.

    Nothing is downloaded, and nothing fails: what is missing, damaged or cannot be run is named with its reason.
    """
    sources = {
        "lpips": [(LPIPS_ONNX, open_lpips), (ALEXNET.filename, load_lpips)],
        "frames": [
            (INCEPTION_ONNX, lambda path: OnnxFeatures(path, "FID-VID", is_of_clips=False)),
            (INCEPTION.filename, InceptionFeatures),
        ],
        "clips": [(CLIPS_ONNX, lambda path: OnnxFeatures(path, "FVD", is_of_clips=True))],
    }
    absent = {
        "lpips": f"needs {ALEXNET.filename} or {LPIPS_ONNX} in {folder}; {_FETCH}.",
        "frames": f"needs {INCEPTION.filename} or {INCEPTION_ONNX} in {folder}; {_FETCH}.",
        "clips": f"needs {CLIPS_ONNX} in {folder}: a video network that you export yourself, as the README says.",
    }
    found, files, reasons = {}, {}, {}
    for name, candidates in sources.items():
        filename, read = next(((f, r) for f, r in candidates if (folder / f).is_file()), ("", None))
        if read is None:
            reasons[name] = absent[name]
            continue
        try:
            found[name] = read(folder / filename)
            files[name] = folder / filename
        except (WeightsError, MissingDependencyError) as error:
            reasons[name] = str(error)
    return MetricNetworks(**found, files=files, reasons=reasons)


def download_metrics(folder: Path, files: Sequence[MetricFile] = (ALEXNET, INCEPTION)) -> list[Path]:
    """Fetch the published weights that a folder lacks; each appears whole and of its published hash, or not at all.

    Raises:
        WeightsError: If one cannot be fetched or written, or is not the published file.
    """
    paths = []
    for file in files:
        path = folder / file.filename
        paths.append(path)
        if path.is_file():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(file.url, str(path), file.hash_prefix)
        # OSError: network or disk; RuntimeError: another hash.
        except (OSError, RuntimeError) as error:
            cause = " ".join(str(error).split())
            raise WeightsError(
                f"{file.url} cannot be fetched to {path} ({cause}); check network, proxies and disk, or put the file "
                f"there by hand."
            ) from error
    return paths
