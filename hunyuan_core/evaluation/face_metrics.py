"""How alike two faces are: their landmarks, identities, expressions and head poses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..appearance import encode_identity
from ..data import Face
from ..faces.crops import reference_crop, square_box, to_crop
from ..faces.identity import ArcFace
from ..models import ExpressionEncoder, HeadPoseEncoder

CropMetric = Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
"""Compares crops (T, 3, H, W) in [0, 1] of a reference with those of a result; (T,) float32 by metric."""

BATCH = 16
"""Pairs of crops that pass a network together."""


def landmark_distance(reference: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Average the distances between the landmarks of each frame (LMD).

    Args:
        reference: (T, N, 2) pixels.
        result: The same.

    Returns:
        (T,) pixels.
    """
    return np.linalg.norm(reference - result, axis=-1).mean(axis=-1)


def inter_ocular_distance(landmarks: np.ndarray) -> float:
    """Measure from eye to eye, on the average of all frames, so that a turn to the profile does not inflate an error.

    Args:
        landmarks: (T, 5, 2) pixels, in the order of ``LANDMARK_NAMES``.
    """
    return float(np.linalg.norm(landmarks[:, 0] - landmarks[:, 1], axis=-1).mean())


def embed_identity(frame: np.ndarray, face: Face, arcface: ArcFace) -> np.ndarray:
    """Embed the face of a frame in the way of the portrait's.

    Args:
        frame: (H, W, 3) uint8 RGB.

    Returns:
        (512,) float32 of norm 1.
    """
    square = square_box(face.box, *frame.shape[:2])
    reference = reference_crop(frame, face.box)
    return encode_identity(reference, to_crop(face.landmarks, square, len(reference)), arcface).numpy()


def motion_metric(expression: ExpressionEncoder) -> CropMetric:
    """Compare motion crops: mean absolute difference of the expression features (the role of AED)."""
    weight = expression.resnet50.conv1.weight

    def compare(reference: torch.Tensor, result: torch.Tensor) -> dict[str, torch.Tensor]:
        difference = expression(reference.to(weight)) - expression(result.to(weight))
        return {"motion_error": _mean_absolute(difference)}

    return compare


def pose_metric(head_pose: HeadPoseEncoder) -> CropMetric:
    """Compare head-pose crops: mean absolute difference of the angles and of the translations (the role of APD)."""
    weight = head_pose.head_pose_net.conv1.weight

    def compare(reference: torch.Tensor, result: torch.Tensor) -> dict[str, torch.Tensor]:
        # Release: the head-pose encoder is fed x·2 + 1.
        (rotation, translation), (other, elsewhere) = (head_pose(x.to(weight) * 2 + 1) for x in (reference, result))
        return {
            "rotation_error": _mean_absolute(wrap_degrees(rotation - other)),
            "translation_error": _mean_absolute(translation - elsewhere),
        }

    return compare


def wrap_degrees(angle: torch.Tensor) -> torch.Tensor:
    """Bring angles to [-180, 180): from 179 to -179 degrees it is 2, not 358."""
    return (angle + 180) % 360 - 180


class BatchedComparison:
    """Passes pairs of crops through a metric, BATCH at a time, and keeps the numbers by frame."""

    def __init__(self, metric: CropMetric) -> None:
        self._metric = metric
        self._pending: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._values: dict[str, dict[int, float]] = {}

    def add(self, frame: int, reference: np.ndarray, result: np.ndarray) -> None:
        """Take the crops, (H, W, 3) uint8 RGB, of one frame."""
        self._pending.append((frame, reference, result))
        if len(self._pending) == BATCH:
            self._flush()

    def finish(self) -> dict[str, dict[int, float]]:
        """Measure what is left; numbers by metric and frame."""
        if self._pending:
            self._flush()
        return self._values

    def _flush(self) -> None:
        frames, *crops = zip(*self._pending, strict=True)
        self._pending = []
        for name, values in self._metric(*(_batch(pictures) for pictures in crops)).items():
            self._values.setdefault(name, {}).update(zip(frames, values.tolist(), strict=True))


def _mean_absolute(difference: torch.Tensor) -> torch.Tensor:
    return difference.float().abs().mean(dim=-1).cpu()


def _batch(pictures: tuple[np.ndarray, ...]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
