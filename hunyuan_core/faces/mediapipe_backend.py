"""Face detection with MediaPipe's FaceLandmarker, which runs well on a CPU and whose licence is free."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np

from ..data import Face
from ..errors import WeightsError
from ..optional import require
from .validation import check_image

_PURPOSE = "face detection with mediapipe"
_INSTALL = "pip install mediapipe"

# Points of the mesh that make up each of the five landmarks, in the order of LANDMARK_NAMES.
_MESH_POINTS = ([33, 133, 159, 145], [362, 263, 386, 374], [4], [61], [291])
# The mesh ends at the upper forehead; a face detector's box ends a little higher.
_FOREHEAD = 0.11


class MediaPipeDetector:
    """Five landmarks and a box from the 478 points of the face mesh.

    Args:
        model_path: ``face_landmarker.task``.
        max_faces: Most faces found in one picture.

    Raises:
        MissingDependencyError: If mediapipe is not installed.
        WeightsError: If the model file is missing, damaged or another one.
    """

    def __init__(self, model_path: str | Path, max_faces: int = 8) -> None:
        mediapipe = require("mediapipe", _PURPOSE, _INSTALL)
        tasks = require("mediapipe.tasks.python", _PURPOSE, _INSTALL)
        path = Path(model_path)
        if not path.is_file():
            raise WeightsError(f"{path} is needed for {_PURPOSE} but is not a file; give face_landmarker.task.")
        options = tasks.vision.FaceLandmarkerOptions(
            # As bytes, because mediapipe cannot open every path that the system can.
            base_options=tasks.BaseOptions(model_asset_buffer=path.read_bytes()),
            num_faces=max_faces,
        )
        try:
            self._landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise WeightsError(
                f"{path} cannot be opened as a FaceLandmarker model ({' '.join(str(error).split())}); "
                f"download face_landmarker.task again."
            ) from error
        # Left to the interpreter's end, mediapipe's own clean-up prints a traceback.
        weakref.finalize(self, self._landmarker.close)
        self._image = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find all faces.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Largest box first; the score is always 1, because mediapipe gives none.
        """
        check_image(image)
        height, width = image.shape[:2]
        picture = self._image(image_format=self._format, data=np.ascontiguousarray(image))
        meshes = self._landmarker.detect(picture).face_landmarks
        faces = [face_from_mesh(np.array([(p.x, p.y) for p in mesh]) * (width, height)) for mesh in meshes]
        return sorted(faces, key=lambda face: face.area, reverse=True)


def face_from_mesh(mesh: np.ndarray) -> Face:
    """Reduce a face mesh to what the pipeline needs.

    Args:
        mesh: (478, 2) pixels, in MediaPipe's order (468 points without irises do as well).

    Returns:
        A face of score 1. The box is the mesh's own with its top raised by 0.11 of its height.
    """
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    top = low[1] - _FOREHEAD * (high[1] - low[1])
    landmarks = np.array([mesh[points].mean(axis=0) for points in _MESH_POINTS])
    return Face(np.array([low[0], top, high[0], high[1]], dtype=np.float64), landmarks.astype(np.float64))
