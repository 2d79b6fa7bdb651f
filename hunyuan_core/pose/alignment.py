"""Fitting of a driver's skeleton to the portrait (paper, section 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import FaceNotFoundError
from .keypoints import NOSE, NOSE_TIP, WholeBody
from .skeleton import FACE_EDGES, LIMBS, with_neck

_EDGES = np.array([*LIMBS.values(), *FACE_EDGES])  # hands are left out: they move too much to measure a size


@dataclass(frozen=True, eq=False)
class Alignment:
    """The map from the driver's pixels to the portrait's: p -> portrait_nose + scale (p - driver_nose).

    Attributes:
        scale: Length of the portrait's skeleton over that of the driver's.
        driver_nose: (2,) pixels in the driver's reference frame.
        portrait_nose: (2,) pixels in the portrait.
    """

    scale: float
    driver_nose: np.ndarray
    portrait_nose: np.ndarray

    def apply(self, pose: WholeBody) -> WholeBody:
        """Move one frame's keypoints; what was not detected stays so."""
        return replace(pose, points=self.portrait_nose + self.scale * (pose.points - self.driver_nose))


def estimate_alignment(portrait: WholeBody, driver: WholeBody, *, is_cross_reenactment: bool) -> Alignment:
    """Measure how a driver's skeleton fits the portrait's: the nose offset and the ratio of the skeleton lengths.

    The length is the sum over the limbs of the body and the lines of the face whose ends are seen in both.

    Args:
        portrait: Keypoints of the portrait.
        driver: Keypoints of the driver's reference frame, the first.
        is_cross_reenactment: Whether the two are different people; eyes and their edges are then not measured.

    Raises:
        FaceNotFoundError: If the two have no nose or no edge in common.
    """
    if is_cross_reenactment:
        portrait, driver = portrait.without_eyes(), driver.without_eyes()
    is_seen = portrait.is_seen & driver.is_seen
    noses = [index for index in (NOSE, NOSE_TIP) if is_seen[index]]
    if not noses:
        raise FaceNotFoundError(
            "The skeleton cannot be aligned: no nose is seen in both the portrait and the driver's first frame; "
            "use pictures that show the face, or black pose images."
        )
    portrait_length, driver_length = _common_lengths(portrait, driver)
    if not (portrait_length > 0 and driver_length > 0):
        raise FaceNotFoundError(
            "The skeleton cannot be aligned: no limb or line of the face is seen in both the portrait and the driver's "
            "first frame; use pictures that show more of the person, or black pose images."
        )
    return Alignment(portrait_length / driver_length, driver.points[noses[0]], portrait.points[noses[0]])


def align_poses(
    portrait: WholeBody, driver: Sequence[WholeBody | None], *, is_cross_reenactment: bool
) -> list[WholeBody | None]:
    """Fit the poses of a whole video to the portrait.

    Scale and offset come from the first frame that has a pose and hold for all, so that the motion is kept.

    Args:
        portrait: Keypoints of the portrait.
        driver: One entry per frame; None where nobody was detected.
        is_cross_reenactment: Whether portrait and driver are different people; the eyes are then hidden.

    Returns:
        One entry per frame, in the portrait's pixels; None where nobody was detected.

    Raises:
        FaceNotFoundError: If no frame has a pose, or the first one has no nose or no edge in common with the portrait.
    """
    reference = next((pose for pose in driver if pose is not None), None)
    if reference is None:
        raise FaceNotFoundError(
            "The skeleton cannot be aligned: nobody was detected in any frame of the driving video; "
            "use a video that shows a person, or black pose images."
        )
    alignment = estimate_alignment(portrait, reference, is_cross_reenactment=is_cross_reenactment)
    aligned = [None if pose is None else alignment.apply(pose) for pose in driver]
    if is_cross_reenactment:
        aligned = [None if pose is None else pose.without_eyes() for pose in aligned]
    return aligned


def _common_lengths(portrait: WholeBody, driver: WholeBody) -> tuple[float, float]:
    portrait_points, portrait_seen = with_neck(portrait)
    driver_points, driver_seen = with_neck(driver)
    edges = _EDGES[(portrait_seen & driver_seen)[_EDGES].all(axis=1)]
    return _length(portrait_points, edges), _length(driver_points, edges)


def _length(points: np.ndarray, edges: np.ndarray) -> float:
    return float(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1).sum())
