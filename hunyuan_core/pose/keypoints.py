"""Whole-body keypoints in the order of COCO-WholeBody, 133 points; left and right are the person's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import ShapeError

NUM_POINTS = 133
BODY = range(17)
FEET = range(17, 23)
FACE = range(23, 91)
"""The 68 points of the face: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67."""
LEFT_HAND = range(91, 112)
RIGHT_HAND = range(112, 133)
"""Wrist first, then four points a finger from the thumb on, each from its root to its tip."""

BODY_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
NOSE = 0
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
NOSE_TIP = FACE[30]
"""The nose tip among the face points; the same place as NOSE, found on its own."""
RIGHT_EYE_CONTOUR = FACE[36:42]
LEFT_EYE_CONTOUR = FACE[42:48]
EYES = (1, 2, *RIGHT_EYE_CONTOUR, *LEFT_EYE_CONTOUR)
"""Every point that belongs to an eye, of the body and of the face."""

MIN_SCORE = 0.3
"""Score from which a point counts as seen; what DWPose's own demonstration uses."""


@dataclass(frozen=True, eq=False)
class WholeBody:
    """The keypoints of one person in one image.

    Attributes:
        points: (133, 2) float64: x, y in pixels; may leave the image, and may be NaN where nothing was found.
        scores: (133,) float64: confidence, about 0 to 1.

    Raises:
        ShapeError: If an array has another shape.
    """

    points: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.points.shape != (NUM_POINTS, 2) or self.scores.shape != (NUM_POINTS,):
            raise ShapeError(
                f"Whole-body keypoints are ({NUM_POINTS}, 2) points and ({NUM_POINTS},) scores; "
                f"got {self.points.shape} and {self.scores.shape}."
            )

    @property
    def is_seen(self) -> np.ndarray:
        """(133,) bool: which points were detected."""
        return (self.scores >= MIN_SCORE) & np.isfinite(self.points).all(axis=1)

    def without_eyes(self) -> WholeBody:
        """Hide the eye points, so that neither they nor their edges are measured or drawn."""
        scores = self.scores.copy()
        scores[list(EYES)] = 0
        return replace(self, scores=scores)


@runtime_checkable
class WholeBodyDetector(Protocol):
    """Finds the people of one picture."""

    def detect(self, image: np.ndarray) -> list[WholeBody]:
        """Find all people.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The person with the largest box first; empty if there is nobody.
        """
        ...
