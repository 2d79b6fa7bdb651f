"""Who the portrait shows: ArcFace through onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigurationError, ShapeError, WeightsError
from ..onnx_session import open_onnx
from .crops import ARCFACE_SIZE


class ArcFace:
    """The face recognition network whose embedding steers the appearance encoder.

    A picture without a face (an animal, a drawing) needs none: its embedding is a vector of zeros.

    Attributes:
        path: The file that was opened.
    """

    input_name = "data"
    embedding_dim = 512

    def __init__(self, path: str | Path, *, is_cpu_only: bool = False) -> None:
        """Open ``arcface.onnx``, as published with Arc2Face.

        Args:
            is_cpu_only: As in ``open_onnx``.

        Raises:
            MissingDependencyError: If no build of onnxruntime is installed.
            WeightsError: If the file is missing, damaged or another network.
        """
        self.path = path
        self._session = open_onnx(path, "the portrait's identity (ArcFace)", is_cpu_only=is_cpu_only)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        is_arcface = (
            [(value.name, value.type) for value in inputs] == [(self.input_name, "tensor(float)")]
            and _fits(inputs[0].shape, (1, 3, ARCFACE_SIZE, ARCFACE_SIZE))
            and len(outputs) == 1
            and _fits(outputs[0].shape, (1, self.embedding_dim))
        )
        if not is_arcface:
            raise WeightsError(
                f"{path} is not the released ArcFace: expected one float input {self.input_name!r} [1, 3, 112, 112] "
                f"and one output [1, 512]; got {[(value.name, value.shape) for value in inputs]} and "
                f"{[value.shape for value in outputs]}; use arcface.onnx of FoivosPar/Arc2Face."
            )

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Embed an aligned face.

        Args:
            crop: (112, 112, 3) RGB in [0, 1], as ``arcface_crop`` gives it.

        Returns:
            (512,) float32 of norm 1.

        Raises:
            ShapeError: If the crop has another shape.
            ConfigurationError: If it leaves [0, 1].
            WeightsError: If the network's answer has no direction (zeros or not finite).
        """
        if crop.shape != (ARCFACE_SIZE, ARCFACE_SIZE, 3):
            raise ShapeError(f"ArcFace takes (112, 112, 3); got {crop.shape}; use arcface_crop.")
        if not (crop.min() >= 0 and crop.max() <= 1):
            raise ConfigurationError(f"ArcFace takes RGB in [0, 1]; got {crop.min()} to {crop.max()}; divide by 255.")
        # Release: [0, 1] as it is, not the [-1, 1] that ArcFace was trained with.
        data = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], dtype=np.float32)  # (1, 3, 112, 112)
        (output,) = self._session.run(None, {self.input_name: data})
        embedding = np.asarray(output, dtype=np.float32).reshape(-1)
        norm = float(np.linalg.norm(embedding))
        if embedding.size != self.embedding_dim or not 0 < norm < np.inf:
            raise WeightsError(
                f"{self.path} answers with {embedding.size} numbers of norm {norm}, expected {self.embedding_dim} "
                f"of a finite norm above 0; download the file again."
            )
        return embedding / np.float32(norm)


def _fits(shape: Sequence[int | str | None], expected: Sequence[int]) -> bool:
    """Compare a shape in which a dimension may be a name or unknown."""
    return len(shape) == len(expected) and all(
        size == wanted for size, wanted in zip(shape, expected, strict=True) if isinstance(size, int)
    )
