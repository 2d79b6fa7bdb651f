"""Face detection with the released model's detector: YOLOv5-m face as TorchScript, published with Sonic."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch

from ..boxes import non_maximum_suppression
from ..data import Face
from ..errors import WeightsError
from .validation import check_image

RELEASED_SHA256 = "5ef5928d2ee1350ea7050ad7524b26a2b55e5c69fee49cd499667bde6a215b17"
"""Of ``yoloface_v5m.pt`` in LeonJoe13/Sonic."""

_SHORT_SIDE = 416
_STRIDES = (8, 16, 32)
_MIN_SCORE = 0.5  # the release asks the same of the objectness alone, which follows: class scores are at most 1
_MAX_IOU = 0.45
_NUM_VALUES = 16  # cx, cy, w, h, objectness, five landmarks (x, y), class score


class YoloFaceDetector:
    """Box, five landmarks and score of YOLOv5-m face.

    Args:
        model_path: ``yoloface_v5m.pt``.
        device: Torch device that runs the network.
        sha256: What the file must hash to. TorchScript is a program, so no other file is ever run.

    Raises:
        WeightsError: If the file is missing, is not the one expected, or cannot be opened.
    """

    def __init__(self, model_path: str | Path, *, device: str = "cpu", sha256: str = RELEASED_SHA256) -> None:
        path = Path(model_path)
        if not path.is_file():
            raise WeightsError(f"{path} is needed for face detection with yoloface but is not a file.")
        # Read once, so that what is run is what was hashed.
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise WeightsError(
                f"{path} is not the released yoloface_v5m.pt (sha256 {sha256} expected, {found} found) and was not "
                f"opened; download it again from LeonJoe13/Sonic."
            )
        try:
            self._network = torch.jit.load(io.BytesIO(content), map_location=device).eval()
        except RuntimeError as error:
            raise WeightsError(
                f"{path} cannot be opened by PyTorch {torch.__version__} as TorchScript "
                f"({' '.join(str(error).split())}); use another face detector."
            ) from error
        self._path = path
        self._device = torch.device(device)

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> list[Face]:
        """Find all faces.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Largest box first.

        Raises:
            WeightsError: If the network's answer does not have the documented layout.
        """
        check_image(image)
        import cv2

        height, width = input_size(*image.shape[:2])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(np.asarray(resized)).to(self._device).permute(2, 0, 1)[None].float() / 255
        output = self._network(pixels, [grid.to(self._device) for grid in cell_grids(height, width)])
        if not isinstance(output, torch.Tensor) or output.ndim != 3 or output.shape[::2] != (1, _NUM_VALUES):
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise WeightsError(f"{self._path} answers with {shape}, expected (1, N, {_NUM_VALUES}); download it again.")
        # The sides are rounded up on their own, so each has its own ratio.
        ratio = np.array([image.shape[1] / width, image.shape[0] / height])
        return faces_from_output(output[0].double().cpu().numpy(), ratio)


def input_size(height: int, width: int) -> tuple[int, int]:
    """Scale the short side to 416 and round both sides up to a multiple of the coarsest stride.

    Returns:
        Height and width of the network's input.
    """
    step, short = _STRIDES[-1], min(height, width)
    # In integers: in floating point, 416 can come out as 416.00000000000006 and be rounded up to 448.
    return -(-height * _SHORT_SIDE // (short * step)) * step, -(-width * _SHORT_SIDE // (short * step)) * step


def cell_grids(height: int, width: int) -> list[torch.Tensor]:
    """Number the network's cells.

    Returns:
        For each stride (1, 1, ny, nx, 2) float32: column and row of the cell.
    """
    grids = []
    for stride in _STRIDES:
        rows, columns = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        grids.append(torch.stack([columns, rows], dim=-1)[None, None].float())
    return grids


def faces_from_output(output: np.ndarray, ratio: np.ndarray) -> list[Face]:
    """Turn the network's answer into faces.

    Args:
        output: (N, 16): cx, cy, w, h, objectness, five landmarks (x, y), class score, in pixels of the network's input.
        ratio: (2,), the picture's width and height over those of the network's input.

    Returns:
        Faces in pixels of the picture, largest box first; of boxes that overlap by more than 0.45 only the surest.
    """
    scores = output[:, 4] * output[:, 15]
    kept = scores > _MIN_SCORE
    output, scores = output[kept], scores[kept]
    half = output[:, 2:4] / 2
    boxes = np.concatenate([output[:, :2] - half, output[:, :2] + half], axis=1)
    faces = [
        Face(boxes[i] * np.tile(ratio, 2), output[i, 5:15].reshape(5, 2) * ratio, float(scores[i]))
        for i in non_maximum_suppression(boxes, scores, _MAX_IOU)
    ]
    return sorted(faces, key=lambda face: face.area, reverse=True)
