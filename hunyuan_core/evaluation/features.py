"""Networks that turn frames or clips into features to be compared as sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..checkpoints import read_state_dict
from ..errors import MissingDependencyError, ShapeError, WeightsError
from ..onnx_session import open_onnx
from ..optional import require

FRAME_SIDE, CLIP_SIDE, CLIP_LENGTH = 299, 224, 16
"""What a network gets that leaves its sizes open: pixels of a frame, pixels of a clip, frames of a clip."""


class FeatureExtractor(Protocol):
    """Turns clips into features; a network of single frames has clips of one.

    Attributes:
        clip_length: Frames that a clip must have.
    """

    clip_length: int

    def features(self, clips: np.ndarray) -> np.ndarray:
        """Describe clips.

        Args:
            clips: (N, clip_length, H, W, 3) uint8 RGB of any size.

        Returns:
            (N, D).
        """
        ...


class OnnxFeatures:
    """A network in an ONNX file, which is data and runs no program of its own.

    Its one input is float32 RGB in [-1, 1], (N, 3, H, W) for frames or (N, 3, T, H, W) for clips; its first output is
    (N, D). Pictures are scaled (bilinear, antialiased) to the H and W that the file names, or to 299×299 (clips:
    16 of 224×224) where it leaves them open.

    Raises:
        MissingDependencyError: If no build of onnxruntime is installed.
        WeightsError: If the file is missing, damaged, or of other inputs.
    """

    def __init__(self, path: str | Path, purpose: str, *, is_of_clips: bool) -> None:
        self._path = path
        self._session = open_onnx(path, purpose)
        inputs = self._session.get_inputs()
        rank = 5 if is_of_clips else 4
        wanted = "(N, 3, T, H, W)" if is_of_clips else "(N, 3, H, W)"
        shape = list(inputs[0].shape) if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
        if len(shape) != rank or (isinstance(shape[1], int) and shape[1] != 3):
            found = [(value.name, value.type, value.shape) for value in inputs]
            raise WeightsError(
                f"{path}, needed for {purpose}, must have one float input {wanted}; got {found}. Export it again."
            )
        self._input = inputs[0].name
        self._batch = shape[0] if isinstance(shape[0], int) else None
        sides = (CLIP_LENGTH, CLIP_SIDE, CLIP_SIDE) if is_of_clips else (FRAME_SIDE, FRAME_SIDE)
        sizes = [size if isinstance(size, int) else side for size, side in zip(shape[2:], sides, strict=True)]
        self._size = (sizes[-2], sizes[-1])
        self._is_of_clips = is_of_clips
        self.clip_length = sizes[0] if is_of_clips else 1

    def features(self, clips: np.ndarray) -> np.ndarray:
        """Describe clips, as FeatureExtractor asks; (N, D) float64.

        Raises:
            ShapeError: If a clip is of another length.
            WeightsError: If the network answers with something else than one row a clip.
        """
        if clips.ndim != 5 or clips.shape[1] != self.clip_length:
            raise ShapeError(f"Clips must be (N, {self.clip_length}, H, W, 3); got {clips.shape}.")
        rows = []
        step = self._batch or len(clips)
        for start in range(0, len(clips), step):
            batch = self._prepared(clips[start : start + step])
            padding = (self._batch or len(batch)) - len(batch)
            batch = np.concatenate([batch, np.repeat(batch[-1:], padding, axis=0)])
            (output, *_) = self._session.run(None, {self._input: batch})
            rows.append(np.asarray(output, np.float64)[: len(batch) - padding])
        answer = np.concatenate(rows)
        if answer.ndim != 2 or len(answer) != len(clips):
            raise WeightsError(
                f"{self._path} answers with shape {answer.shape} to {len(clips)} samples; its first output must be "
                f"(N, D). Export it again with its last layers pooled and flattened."
            )
        return answer

    def _prepared(self, clips: np.ndarray) -> np.ndarray:
        n, t, h, w, _ = clips.shape
        pictures = torch.from_numpy(np.ascontiguousarray(clips)).view(n * t, h, w, 3).permute(0, 3, 1, 2).float()
        pictures = torch.nn.functional.interpolate(
            pictures, self._size, mode="bilinear", align_corners=False, antialias=True
        )
        pictures = (pictures / 127.5 - 1).view(n, t, 3, *self._size)
        pictures = pictures.transpose(1, 2) if self._is_of_clips else pictures[:, 0]
        return np.ascontiguousarray(pictures.numpy())


class InceptionFeatures:
    """The Inception-v3 of 2015 by which FID is published, built by torch-fidelity.

    Args:
        path: ``weights-inception-2015-12-05-6726825d.pth``.

    Raises:
        MissingDependencyError: If torch-fidelity cannot be imported.
        WeightsError: If the file is missing, damaged, or would run code.
    """

    clip_length = 1

    def __init__(self, path: str | Path) -> None:
        try:
            fidelity = require("torch_fidelity", "FID-VID", "pip install torch-fidelity")
        except RuntimeError as error:
            # torchvision, which it imports, fails like this where it was built for another torch.
            cause = " ".join(str(error).split())
            raise MissingDependencyError(
                f"FID-VID needs torch-fidelity with a working torchvision ({cause}). Repair it: pip install torchvision"
            ) from error
        read_state_dict(path)  # refuses what torch-fidelity, on an older torch, would execute
        try:
            self._network: Any = fidelity.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
            ).eval()
        except (RuntimeError, KeyError) as error:
            raise WeightsError(f"{path} is not the Inception of FID; delete it and fetch it again.") from error

    @torch.inference_mode()
    def features(self, clips: np.ndarray) -> np.ndarray:
        """Describe frames, as FeatureExtractor asks; (N, 2048)."""
        pictures = torch.from_numpy(np.ascontiguousarray(clips[:, 0])).permute(0, 3, 1, 2)
        (answer,) = self._network(pictures)
        return answer.double().numpy()
