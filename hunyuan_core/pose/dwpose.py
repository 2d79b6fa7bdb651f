"""DWPose through onnxruntime: YOLOX finds the people, an RTMPose of 133 keypoints their poses.

Files: ``yolox_l.onnx`` and ``dw-ll_ucoco_384.onnx``, both from the Hugging Face repository ``yzd-v/DWPose``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..boxes import non_maximum_suppression
from ..errors import ShapeError, WeightsError
from ..onnx_session import open_onnx
from .keypoints import NUM_POINTS, WholeBody

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

DETECTOR_SIZE = 640
_STRIDES = (8, 16, 32)
_NUM_CANDIDATES = sum((DETECTOR_SIZE // stride) ** 2 for stride in _STRIDES)
_NUM_CLASSES = 80
_PERSON = 0
_PAD_VALUE = 114
_MIN_BOX_SCORE = 0.3
_MAX_IOU = 0.45

POSE_WIDTH, POSE_HEIGHT = 288, 384
_BOX_MARGIN = 1.25
_SPLIT_RATIO = 2  # SimCC bins per pixel
# RGB; mmpose's training configuration of this network (rtmpose-l, COCO-WholeBody, 384x288).
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)


class DWPose:
    """A WholeBodyDetector. Without the person detector the whole image counts as one person.

    Args:
        pose_path: ``dw-ll_ucoco_384.onnx``.
        detector_path: ``yolox_l.onnx``; None for pictures that show one person.
        is_cpu_only: As in ``open_onnx``.

    Raises:
        MissingDependencyError: If no onnxruntime is installed.
        WeightsError: If a file is missing, damaged, or another network.
    """

    def __init__(
        self, pose_path: str | Path, detector_path: str | Path | None = None, *, is_cpu_only: bool = False
    ) -> None:
        simcc = (NUM_POINTS, _SPLIT_RATIO * POSE_WIDTH), (NUM_POINTS, _SPLIT_RATIO * POSE_HEIGHT)
        self._pose = _open_checked(pose_path, (3, POSE_HEIGHT, POSE_WIDTH), simcc, is_cpu_only)
        self._detector: InferenceSession | None = None
        if detector_path is not None:
            candidates = (_NUM_CANDIDATES, 5 + _NUM_CLASSES)
            shape = (3, DETECTOR_SIZE, DETECTOR_SIZE)
            self._detector = _open_checked(detector_path, shape, [candidates], is_cpu_only)

    def detect(self, image: np.ndarray) -> list[WholeBody]:
        """Find all people.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The person with the largest box first; empty if the person detector finds nobody.

        Raises:
            ShapeError: If the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ShapeError(f"The image must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}.")
        return [self._estimate(image, box) for box in self._find_people(image)]

    def _find_people(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if self._detector is None:
            return np.array([[0, 0, width, height]], np.float64)
        batch, ratio = letterbox(image)
        (output,) = _run(self._detector, batch)
        boxes, scores = decode_candidates(output[0])
        boxes /= ratio
        boxes = boxes[non_maximum_suppression(boxes, scores, _MAX_IOU)]
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return boxes[np.argsort(-areas, kind="stable")]

    def _estimate(self, image: np.ndarray, box: np.ndarray) -> WholeBody:
        centre, scale = crop_geometry(box)
        simcc_x, simcc_y = _run(self._pose, crop_person(image, centre, scale))
        points, scores = decode_simcc(simcc_x[0], simcc_y[0])
        return WholeBody((points - (POSE_WIDTH / 2, POSE_HEIGHT / 2)) * scale + centre, scores)


def letterbox(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit an image into YOLOX's square, at its top left corner, the rest grey.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (1, 3, 640, 640) float32 BGR in 0..255, and the factor from the image's pixels to the square's.
    """
    import cv2

    height, width = image.shape[:2]
    ratio = min(DETECTOR_SIZE / height, DETECTOR_SIZE / width)
    new_width, new_height = max(int(width * ratio), 1), max(int(height * ratio), 1)
    square = np.full((DETECTOR_SIZE, DETECTOR_SIZE, 3), _PAD_VALUE, np.uint8)
    square[:new_height, :new_width] = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None], np.float32), ratio


def decode_candidates(candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn YOLOX's raw candidates into boxes of people.

    A candidate of a grid cell is x, y as an offset in cells, the logarithms of width and height in cells, the
    objectness, and 80 class scores; the grids of strides 8, 16 and 32 follow each other, row by row.

    Args:
        candidates: (8400, 85) of one image.

    Returns:
        (n, 4) float64 boxes x1, y1, x2, y2 in pixels of the square, and their (n,) scores: the candidates whose best
        class is person and whose score, objectness times class, is above 0.3.
    """
    cells, strides = _grid()
    classes = candidates[:, 5:]
    scores = (candidates[:, 4] * classes[:, _PERSON]).astype(np.float64)
    is_person = (classes.argmax(axis=1) == _PERSON) & (scores > _MIN_BOX_SCORE)
    chosen, strides = candidates[is_person].astype(np.float64), strides[is_person, None]
    centres = (chosen[:, :2] + cells[is_person]) * strides
    half_sizes = np.exp(chosen[:, 2:4]) * strides / 2
    return np.concatenate([centres - half_sizes, centres + half_sizes], axis=1), scores[is_person]


def crop_geometry(box: np.ndarray) -> tuple[np.ndarray, float]:
    """Grow a box by a quarter and to the shape of the pose network's input, 3:4.

    Returns:
        (2,) centre in pixels of the image, and the image's pixels per pixel of the input.
    """
    width, height = (box[2:] - box[:2]) * _BOX_MARGIN
    return (box[:2] + box[2:]) / 2, float(max(width / POSE_WIDTH, height / POSE_HEIGHT))


def crop_person(image: np.ndarray, centre: np.ndarray, scale: float) -> np.ndarray:
    """Cut out a person, black where the crop leaves the image, and normalise.

    Args:
        image: (H, W, 3) uint8 RGB.
        centre: (2,) pixels, as from ``crop_geometry``.
        scale: Pixels of the image per pixel of the crop.

    Returns:
        (1, 3, 384, 288) float32.
    """
    import cv2

    offset = centre - scale * np.array([POSE_WIDTH, POSE_HEIGHT]) / 2
    to_image = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image, to_image, (POSE_WIDTH, POSE_HEIGHT), flags=flags)
    return ((crop - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(np.float32)


def decode_simcc(simcc_x: np.ndarray, simcc_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read each point off the highest bin of its two distributions, two bins to a pixel.

    Args:
        simcc_x: (133, 576) of one person.
        simcc_y: (133, 768).

    Returns:
        (133, 2) float64 pixels of the crop, and the (133,) float64 scores, the lower of the two maxima.
    """
    points = np.stack([simcc_x.argmax(axis=1), simcc_y.argmax(axis=1)], axis=1) / _SPLIT_RATIO
    return points, np.minimum(simcc_x.max(axis=1), simcc_y.max(axis=1)).astype(np.float64)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """List the cells of all grids: (8400, 2) x, y in cells, and the (8400,) stride of each."""
    cells, strides = [], []
    for stride in _STRIDES:
        side = DETECTOR_SIZE // stride
        y, x = np.divmod(np.arange(side * side), side)
        cells.append(np.stack([x, y], axis=1))
        strides.append(np.full(side * side, stride))
    return np.concatenate(cells), np.concatenate(strides)


def _open_checked(
    path: str | Path, input_shape: tuple[int, ...], output_shapes: Sequence[tuple[int, ...]], is_cpu_only: bool
) -> InferenceSession:
    """Open a network and compare its inputs and outputs, without the batch, with what is expected of it."""
    session = open_onnx(path, "DWPose", is_cpu_only=is_cpu_only)
    inputs = [value.shape for value in session.get_inputs()]
    outputs = [value.shape for value in session.get_outputs()]
    if not (_fit(inputs, [input_shape]) and _fit(outputs, output_shapes)):
        raise WeightsError(
            f"{path} is another network: expected one input (1, {_join(input_shape)}) and outputs "
            f"{', '.join(f'(1, {_join(shape)})' for shape in output_shapes)}, but it has inputs {inputs} and outputs "
            f"{outputs}; download yolox_l.onnx and dw-ll_ucoco_384.onnx."
        )
    return session


def _fit(found: list[list[Any]], expected: Sequence[tuple[int, ...]]) -> bool:
    # A size that the file leaves open is a name or None, and fits.
    return len(found) == len(expected) and all(
        len(shape) == len(wanted) + 1
        and all(not isinstance(size, int) or size == want for size, want in zip(shape, (1, *wanted), strict=True))
        for shape, wanted in zip(found, expected, strict=True)
    )


def _join(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)


def _run(session: InferenceSession, batch: np.ndarray) -> list[np.ndarray]:
    return session.run(None, {session.get_inputs()[0].name: batch})  # pyright: ignore[reportReturnType]
