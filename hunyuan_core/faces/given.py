"""Faces that something else has found already, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data import Face
from ..errors import ShapeError
from .validation import check_image, check_overlap


class GivenFaces:
    """A detector that answers each picture with the next entry of a list.

    Args:
        faces: For each frame of one video, its faces; in the order in which the frames will be shown to it.
    """

    def __init__(self, faces: Sequence[Sequence[Face]]) -> None:
        self._faces = faces
        self._next = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        """Give the faces of the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Largest box first.

        Raises:
            ShapeError: If there are more pictures than entries.
            ConfigurationError: If a box lies outside the picture.
        """
        check_image(image)
        if self._next == len(self._faces):
            raise ShapeError(
                f"Faces were given for {len(self._faces)} frames, but the video has more; find them again."
            )
        faces = self._faces[self._next]
        self._next += 1
        for face in faces:
            check_overlap(face.box, *image.shape[:2])
        return sorted(faces, key=lambda face: face.area, reverse=True)
