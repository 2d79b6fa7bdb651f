"""A face that the user points out, for drawings and animals that no detector knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..data import Face
from ..errors import ConfigurationError
from .crops import ARCFACE_SIZE, ARCFACE_TEMPLATE, arcface_similarity
from .validation import as_box, as_landmarks, box_text, check_image

FACE_ASPECT = 0.75
"""Width over height of a usual face box; ArcFace's square image shows such a box in its full height, centred."""


class ManualDetector:
    """Answers with the same face for every picture.

    Args:
        box: x1, y1, x2, y2 in pixels. Alone, it gets landmarks where an upright face has them.
        landmarks: (5, 2) pixels, in the order of ``LANDMARK_NAMES``. Alone, they get a box of usual proportions.

    Raises:
        ConfigurationError: If neither is given, or one is malformed.
    """

    def __init__(self, *, box: ArrayLike | None = None, landmarks: ArrayLike | None = None) -> None:
        self._is_box_given = box is not None
        if box is not None:
            self._box = as_box(box)
            self._landmarks = landmarks_in_box(self._box) if landmarks is None else as_landmarks(landmarks)
        elif landmarks is not None:
            self._landmarks = as_landmarks(landmarks)
            self._box = box_around(self._landmarks)
        else:
            raise ConfigurationError("The face detector 'manual' needs a face box x1, y1, x2, y2 or five landmarks.")

    def detect(self, image: np.ndarray) -> list[Face]:
        """Give the face, once it is known to lie in the image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            One face of score 1.

        Raises:
            ConfigurationError: If what was given leaves the image; names it and the image's size.
        """
        check_image(image)
        height, width = image.shape[:2]
        size = f"{width}×{height} pixels (width×height)"
        if self._is_box_given and not ((self._box >= 0) & (self._box <= (width, height) * 2)).all():
            raise ConfigurationError(
                f"The face box {box_text(self._box)} leaves the image of {size}; give a box inside that image."
            )
        if not ((self._landmarks >= 0) & (self._landmarks <= (width, height))).all():
            raise ConfigurationError(
                f"The landmarks {self._landmarks.tolist()} leave the image of {size}; give points inside that image."
            )
        return [Face(np.clip(self._box, 0, (width, height) * 2), self._landmarks)]


def landmarks_in_box(box: np.ndarray) -> np.ndarray:
    """Place five landmarks in a box where an upright face, seen from the front, has them.

    Returns:
        (5, 2) pixels: ArcFace's template, of which ``FACE_ASPECT`` of the width and the full height fill the box.
    """
    relative = (ARCFACE_TEMPLATE / ARCFACE_SIZE - 0.5) / (FACE_ASPECT, 1) + 0.5
    return box[:2] + relative * (box[2:] - box[:2])


def has_guessed_landmarks(face: Face) -> bool:
    """Whether the landmarks are those of ``landmarks_in_box``, so that nobody has looked where eyes and mouth are."""
    return np.allclose(face.landmarks, landmarks_in_box(face.box))


def box_around(landmarks: np.ndarray) -> np.ndarray:
    """Draw the box that a face with these landmarks usually has, turned heads included.

    Returns:
        (4,) pixels; may leave the image.
    """
    turn, shift = arcface_similarity(landmarks)
    half_width, half_height = ARCFACE_SIZE / 2 * FACE_ASPECT, ARCFACE_SIZE / 2
    corners = np.array([x + 1j * y for x in (-half_width, half_width) for y in (-half_height, half_height)])
    corners = (corners + ARCFACE_SIZE / 2 * (1 + 1j) - shift) / turn
    return np.array([corners.real.min(), corners.imag.min(), corners.real.max(), corners.imag.max()])
