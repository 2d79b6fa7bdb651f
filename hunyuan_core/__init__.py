"""HunyuanPortrait: a portrait image and a driving video become a video of the portrait. Knows nothing of ComfyUI.

The names below are what a program needs for the main job; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import SamplingConfig
    from .errors import HunyuanPortraitError
    from .faces.detection import FaceChoice, create_detector, select_face
    from .faces.tracking import track_faces
    from .paste_back import PasteBack
    from .pipeline import Pipeline
    from .sampling import PRESETS, SpeedConfig
    from .video import open_video, read_image, write_video

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "FaceChoice",
    "HunyuanPortraitError",
    "PasteBack",
    "Pipeline",
    "SamplingConfig",
    "SpeedConfig",
    "create_detector",
    "open_video",
    "read_image",
    "select_face",
    "track_faces",
    "write_video",
]

_HOMES = {
    "PRESETS": "sampling",
    "FaceChoice": "faces.detection",
    "HunyuanPortraitError": "errors",
    "PasteBack": "paste_back",
    "Pipeline": "pipeline",
    "SamplingConfig": "config",
    "SpeedConfig": "sampling",
    "create_detector": "faces.detection",
    "open_video": "video",
    "read_image": "video",
    "select_face": "faces.detection",
    "track_faces": "faces.tracking",
    "write_video": "video",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
