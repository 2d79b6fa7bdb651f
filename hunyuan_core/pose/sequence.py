"""Skeleton images of a whole video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

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
    portrait, poses = find_poses(reference, frames, detector, on_frame)
    height, width = reference.shape[:2]
    return np.stack([*draw_aligned(portrait, poses, height, width, is_cross_reenactment=is_cross_reenactment)])


def find_poses(
    reference: np.ndarray,
    frames: Iterable[np.ndarray],
    detector: WholeBodyDetector,
    on_frame: Callable[[int], None] | None = None,
) -> tuple[WholeBody, list[WholeBody | None]]:
    """Find the largest person of the portrait and of each frame.

    Args:
        reference: (H, W, 3) uint8 RGB, the square crop of the portrait.
        frames: (H', W', 3) uint8 RGB each; gone through once.
        on_frame: Called with the number of each frame, from 0, once it was searched.

    Returns:
        The portrait's keypoints and those of each frame, None where there is nobody.

    Raises:
        FaceNotFoundError: If nobody is found in the portrait.
    """
    portrait = largest(detector.detect(reference))
    if portrait is None:
        raise FaceNotFoundError(
            "The skeleton cannot be aligned: nobody was detected in the portrait; use one that shows more of the "
            "person, or black pose images (no pose detector)."
        )
    poses = []
    for number, frame in enumerate(frames):
        poses.append(largest(detector.detect(frame)))
        if on_frame is not None:
            on_frame(number)
    return portrait, poses


def draw_aligned(
    portrait: WholeBody,
    poses: Sequence[WholeBody | None],
    height: int,
    width: int,
    *,
    is_cross_reenactment: bool = True,
    on_frame: Callable[[int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Draw the driver's skeleton of each frame, fitted to the portrait, one picture at a time.

    Args:
        portrait: Keypoints in pixels of the drawings.
        poses: Of each frame; None where there is nobody, which is drawn black.
        height: Of the drawings, pixels.
        width: The same.
        is_cross_reenactment: Whether portrait and driver are different people; the eyes are then left out.
        on_frame: Called with the number of each frame, from 0, before it is drawn.

    Returns:
        (H, W, 3) uint8 RGB each.

    Raises:
        FaceNotFoundError: If nobody is found in the video, or it has nothing in common with the portrait; at once.
    """
    aligned = align_poses(portrait, poses, is_cross_reenactment=is_cross_reenactment)

    def drawn() -> Iterator[np.ndarray]:
        for number, pose in enumerate(aligned):
            if on_frame is not None:
                on_frame(number)
            yield draw_pose(pose, height, width)

    return drawn()


def largest(people: Sequence[WholeBody]) -> WholeBody | None:
    """Pick the person with the largest box from what a detector answered; None if there is nobody."""
    return people[0] if people else None
