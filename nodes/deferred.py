"""What only some workflows use, opened when it is first used: its absence harms no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..hunyuan_core.data import Face
from ..hunyuan_core.errors import WeightsError
from ..hunyuan_core.faces.detection import FaceDetector, create_detector
from ..hunyuan_core.faces.identity import ArcFace


class DeferredArcFace(ArcFace):
    """ArcFace, opened with the first face.

    Args:
        path: None if the file is missing.
        remedy: What to do about that.
    """

    def __init__(self, path: Path | None, remedy: str) -> None:
        self._deferred = (path, remedy)
        self._opened: ArcFace | None = None

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Embed an aligned face; see ``ArcFace.embed``, and for the further errors ``ArcFace`` itself."""
        if self._opened is None:
            self._opened = ArcFace(_existing(*self._deferred), is_cpu_only=True)
        return self._opened.embed(crop)


class DeferredYoloFace:
    """The yoloface detector, opened with the first picture.

    Args:
        path: None if the file is missing.
        remedy: What to do about that.
    """

    def __init__(self, path: Path | None, remedy: str) -> None:
        self._deferred = (path, remedy)
        self._opened: FaceDetector | None = None

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find all faces; see ``FaceDetector.detect``, and for the further errors ``YoloFaceDetector``."""
        if self._opened is None:
            self._opened = create_detector("yoloface", model_path=_existing(*self._deferred))
        return self._opened.detect(image)


def _existing(path: Path | None, remedy: str) -> Path:
    if path is None:
        raise WeightsError(remedy)
    return path
