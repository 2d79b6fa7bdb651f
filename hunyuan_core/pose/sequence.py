"""Skeleton images of a whole video."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..errors import FaceNotFoundError
from .alignment import align_poses
from .drawing import draw_pose
from .keypoints import WholeBody, WholeBodyDetector


def draw_skeletons(
    reference: np.ndarray,
    frames: Iterable[np.ndarray],
    detector: WholeBodyDetector,
    *,
    is_cross_reenactment: bool = True,
    on_frame: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Draw the driver's skeleton in each frame, fitted to the portrait.

    The largest person of each picture is taken. Frames without anybody are black.

    Args:
        reference: (H, W, 3) uint8 RGB, the square crop of the portrait; the drawings have its size.
        frames: (H', W', 3) uint8 RGB each.
        detector: Finds the keypoints.
        is_cross_reenactment: Whether portrait and driver are different people; the eyes are then left out.
        on_frame: Called with the number of each frame, from 0, once it was searched.

    Returns:
        (T, H, W, 3) uint8 RGB, for ``Pipeline.sample``.

    Raises:
        FaceNotFoundError: If nobody is found in the portrait or in the video, or the two have nothing in common.
    """
    portrait = _largest(detector, reference)
    if portrait is None:
        raise FaceNotFoundError(
            "The skeleton cannot be aligned: nobody was detected in the portrait; use black pose images."
        )
    poses = []
    for number, frame in enumerate(frames):
        poses.append(_largest(detector, frame))
        if on_frame is not None:
            on_frame(number)
    aligned = align_poses(portrait, poses, is_cross_reenactment=is_cross_reenactment)
    return np.stack([draw_pose(pose, *reference.shape[:2]) for pose in aligned])


def _largest(detector: WholeBodyDetector, image: np.ndarray) -> WholeBody | None:
    people = detector.detect(image)
    return people[0] if people else None
