"""Face detection with InsightFace, whose models are for non-commercial research."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..data import Face
from ..errors import WeightsError
from ..optional import require
from .validation import check_image

_PURPOSE = "face detection with insightface"
# It demands the package onnxruntime by name, which must not come to lie over onnxruntime-gpu.
_INSTALL = "pip install insightface (next to onnxruntime-gpu: with --no-deps, then its other requirements by hand)"
_DEFAULT_MODELS = "buffalo_l"


class InsightFaceDetector:
    """Box, five landmarks and score of InsightFace's detector.

    Args:
        model_path: Folder of ``.onnx`` files, one of them a detector. None: ``buffalo_l``, which insightface downloads
            to ``~/.insightface`` at first use.

    Raises:
        MissingDependencyError: If insightface is not installed.
        WeightsError: If the folder holds no detector, or the download fails.
    """

    def __init__(self, model_path: str | Path | None = None) -> None:
        # Checked first: insightface would take a folder that is not there for the name of a model to download.
        if model_path is not None and not any(Path(model_path).glob("*.onnx")):
            raise WeightsError(
                f"{model_path} is not a folder with .onnx files, which {_PURPOSE} needs; unpack buffalo_l.zip there, "
                f"or give no folder and let insightface download it."
            )
        app = require("insightface.app", _PURPOSE, _INSTALL)
        failures = require("onnxruntime.capi.onnxruntime_pybind11_state", _PURPOSE, _INSTALL)
        where = model_path or f"~/.insightface/models/{_DEFAULT_MODELS}"
        try:
            self._analysis = app.FaceAnalysis(
                name=_DEFAULT_MODELS if model_path is None else str(model_path), allowed_modules=["detection"]
            )
        except AssertionError as error:  # all that insightface says when it finds no detector
            raise WeightsError(
                f"insightface finds no detector in {where}; unpack buffalo_l.zip there, or choose another detector."
            ) from error
        except (
            OSError,
            RuntimeError,
            BadZipFile,
            failures.Fail,
            failures.InvalidArgument,
            failures.InvalidGraph,
            failures.InvalidProtobuf,
        ) as error:
            raise WeightsError(
                f"insightface cannot download or open its models ({' '.join(str(error).split())}); check the "
                f"connection, or unpack buffalo_l.zip into {where}, or choose another detector."
            ) from error
        self._analysis.prepare(ctx_id=0)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find all faces.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Largest box first.
        """
        check_image(image)
        bgr = np.ascontiguousarray(image[..., ::-1])
        faces = [
            Face(np.array(face.bbox, np.float64), np.array(face.kps, np.float64), float(face.det_score))
            for face in self._analysis.get(bgr)
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)
