"""Which files the loader nodes name, and where ComfyUI may download them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from hunyuan_core.checkpoints.files import FILES, ModelFile, Source

FOLDER = "hunyuan_portrait"
"""Below ComfyUI's ``models``."""

_DWPOSE = Source("yzd-v/DWPose", "The DWPose networks of IDEA-Research, whose project is under the Apache licence 2.0.")
DWPOSE_FILES = tuple(
    ModelFile(name, filename, _DWPOSE, filename, size, purpose, is_network=False, is_required=False)
    for name, filename, size, purpose in (
        ("detector", "yolox_l.onnx", 217_000_000, "DWPose's person detector"),
        ("pose", "dw-ll_ucoco_384.onnx", 134_000_000, "DWPose's whole-body poses"),
    )
)
"""Not the library's: it takes them from any folder."""

NEEDED_FILES = tuple(file for file in FILES if file.name != "vae_config")
BY_NAME = {file.name: file for file in (*FILES, *DWPOSE_FILES)}

LOADERS = {
    "HunyuanPortraitLoadUNet": {"unet_name": "unet"},
    "HunyuanPortraitLoadVAE": {"vae_name": "vae"},
    "HunyuanPortraitLoadImageEncoder": {"vision_name": "vision", "token_projection_name": "token_projection"},
    "HunyuanPortraitLoadArcFace": {"arcface_name": "arcface"},
    "HunyuanPortraitLoadMotionEncoder": {
        "expression_name": "expression",
        "head_pose_name": "head_pose",
        "refiner_name": "refiner",
    },
    "HunyuanPortraitLoadPoseGuider": {"pose_guider_name": "pose_guider"},
    "HunyuanPortraitLoadFaceDetector": {"model_name": "yoloface"},
    "HunyuanPortraitLoadPoseDetector": {"detector_name": "detector", "pose_name": "pose"},
}
"""Inputs of the loader nodes that name a file."""


def shown_name(file: ModelFile) -> str:
    """How the loader nodes name a file: without folders, and the VAE by what it is."""
    return "svd_xt_vae.safetensors" if file.name == "vae" else PurePosixPath(file.filename).name


def chosen_files(loader: str) -> dict[str, str]:
    """Values of a loader's inputs that name a file."""
    return {name: shown_name(BY_NAME[file]) for name, file in LOADERS[loader].items()}


def model_link(file: ModelFile) -> dict[str, str]:
    """Describe a download as ``properties.models`` has it."""
    source = file.source
    url = f"https://huggingface.co/{source.repository}/resolve/{source.revision}/{file.remote_filename}"
    return {"name": shown_name(file), "url": url, "directory": FOLDER}


def model_links(node_type: str, inputs: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    """List the downloads that belong to a node."""
    if node_type == "HunyuanPortraitLoadAll" and inputs.get("weights") == "toy":
        return ()
    if node_type == "HunyuanPortraitLoadAll":
        return tuple(model_link(file) for file in NEEDED_FILES)
    files = (BY_NAME[name] for name in LOADERS.get(node_type, {}).values())
    return tuple(link for link in map(model_link, files) if link["name"] in inputs.values())
