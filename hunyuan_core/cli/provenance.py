"""What a written video says of itself: that it is synthetic, and how to make it again."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch

from .. import __version__
from ..checkpoints.integrity import sha256_of
from ..pipeline import Pipeline

_NOT_SETTINGS = ("portrait", "driving", "out", "models", "job", "run", "stopped")


def provenance(options: argparse.Namespace, pipeline: Pipeline) -> dict[str, str]:
    """Make the tags of a written video.

    ``comment`` is for people. ``hunyuan_portrait`` is JSON: every option by its name (paths by their last part, the
    detector that ``auto`` chose), name and SHA-256 of both inputs, and what the machine decided: device, dtype and
    versions.
    """
    weight = pipeline.unet.conv_in.weight
    settings = {
        name: value.name if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in _NOT_SETTINGS
    }
    record = {
        "software": f"hunyuan-portrait {__version__}",
        "torch": torch.__version__,
        "computed_on": pipeline.device.type,
        "computed_in": str(weight.dtype).removeprefix("torch."),
        "memory": str(pipeline.residency.plan),
        "portrait": fingerprint(options.portrait),
        "driving": fingerprint(options.driving),
        "options": settings,
    }
    return {
        "comment": "Synthetic video: a portrait animated by a computer, not a recording. "
        f"Made by hunyuan-portrait {__version__} with seed {options.seed}.",
        "hunyuan_portrait": json.dumps(record),
    }


def fingerprint(path: Path) -> dict[str, str]:
    """Name and SHA-256 of a file; of a folder, the SHA-256 over those of its files in the order of their names."""
    if not path.is_dir():
        return {"name": path.name, "sha256": sha256_of(path)}
    files = sorted(file for file in path.iterdir() if file.is_file())
    digest = hashlib.sha256("".join(sha256_of(file) for file in files).encode())
    return {"name": path.resolve().name, "sha256": digest.hexdigest()}
