"""What a face detector is, which there are, and which of several faces is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from ..data import Face
from ..errors import ConfigurationError, FaceNotFoundError

DETECTORS = ("yoloface", "mediapipe", "insightface", "manual")
"""Names that ``create_detector`` knows."""


@runtime_checkable
class FaceDetector(Protocol):
    """Finds the faces of one picture."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find all faces.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Largest box first; empty if there is no face. Boxes and landmarks may leave the image.
        """
        ...


@dataclass(frozen=True)
class FaceChoice:
    """Which face is meant where a picture shows several; the one with the largest box unless told otherwise.

    Attributes:
        index: Place in the row of faces, by box centre, from left to right; the leftmost is 0.
        position: x, y in pixels: the face whose box contains that point, or else comes nearest to it.

    Raises:
        ConfigurationError: If both are given, the index is negative, or the position is not two finite numbers.
    """

    index: int | None = None
    position: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.index is not None and self.position is not None:
            raise ConfigurationError("A face is chosen by index or by position, not by both; leave one out.")
        if self.index is not None and self.index < 0:
            raise ConfigurationError(f"The face index counts from 0, left to right; got {self.index}.")
        if self.position is not None and not (len(self.position) == 2 and np.isfinite(self.position).all()):
            raise ConfigurationError(f"The face position is two finite numbers x, y in pixels; got {self.position}.")

    @property
    def is_largest(self) -> bool:
        """Whether this is the default, the largest face."""
        return self.index is None and self.position is None


def select_face(faces: Sequence[Face], choice: FaceChoice | None = None) -> Face:
    """Pick one face of a picture.

    Args:
        faces: In any order.
        choice: None for the largest.

    Raises:
        FaceNotFoundError: If there is no face, or fewer than the index asks for.
    """
    choice = choice or FaceChoice()
    if not faces:
        raise FaceNotFoundError(
            "No face was found in the picture; use another detector, or give the face box by hand (drawings, animals)."
        )
    if choice.index is not None:
        if choice.index >= len(faces):
            raise FaceNotFoundError(
                f"The face with index {choice.index} was asked for, but the picture has {len(faces)} "
                f"(indices 0 to {len(faces) - 1}, left to right); choose one of those."
            )
        return sorted(faces, key=lambda face: face.box[0] + face.box[2])[choice.index]
    if choice.position is not None:
        point = np.asarray(choice.position, dtype=np.float64)
        return min(faces, key=lambda face: _distances(face, point))
    return max(faces, key=lambda face: face.area)


def box_centre(face: Face) -> np.ndarray:
    """Find the middle of a face's box: (2,) pixels."""
    return (face.box[:2] + face.box[2:]) / 2


def _distances(face: Face, point: np.ndarray) -> tuple[float, float]:
    """Measure from a point to the box (0 inside) and, for boxes that overlap, to its centre."""
    outside = np.maximum(np.maximum(face.box[:2] - point, point - face.box[2:]), 0)
    return math.hypot(*outside), math.hypot(*(box_centre(face) - point))


def create_detector(
    name: str,
    *,
    model_path: str | Path | None = None,
    device: str = "cpu",
    box: ArrayLike | None = None,
    landmarks: ArrayLike | None = None,
) -> FaceDetector:
    """Make a detector by its name.

    Args:
        name: One of ``DETECTORS``.
        model_path: ``yoloface_v5m.pt`` for yoloface, ``face_landmarker.task`` for mediapipe, for insightface a folder
            of ``.onnx`` files or None (insightface then fetches its own); not for manual.
        device: Torch device, for yoloface alone.
        box: Face box x1, y1, x2, y2, for manual alone.
        landmarks: (5, 2) points, for manual alone.

    Raises:
        ConfigurationError: If the name is unknown or the detector lacks something it needs.
        MissingDependencyError: If the detector's package is not installed.
        WeightsError: If its model file is missing, damaged or another one.
    """
    if name not in DETECTORS:
        raise ConfigurationError(f"There is no face detector {name!r}; choose one of {', '.join(DETECTORS)}.")
    if name == "manual":
        from .manual import ManualDetector

        return ManualDetector(box=box, landmarks=landmarks)
    if box is not None or landmarks is not None:
        raise ConfigurationError(f"A face box or landmarks by hand need the detector 'manual'; got {name!r}.")
    if name == "insightface":
        from .insightface_backend import InsightFaceDetector

        return InsightFaceDetector(model_path)
    if model_path is None:
        raise ConfigurationError(f"The face detector {name!r} needs the path of its model file; give model_path.")
    if name == "mediapipe":
        from .mediapipe_backend import MediaPipeDetector

        return MediaPipeDetector(model_path)
    from .yoloface import YoloFaceDetector

    return YoloFaceDetector(model_path, device=device)
