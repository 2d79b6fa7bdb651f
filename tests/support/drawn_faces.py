"""Pictures of a bright rectangle that stands for a face, and a detector that truly finds it in the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hunyuan_core.data import Face

SHADES = (250, 200, 150)
"""Grey level of the first, second and third face in a picture."""

Box = tuple[int, int, int, int]


def face(x1: float, y1: float, x2: float, y2: float) -> Face:
    """A face whose nose is the centre of its box."""
    box = np.array([x1, y1, x2, y2], float)
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.5], [0.35, 0.8], [0.65, 0.8]])
    return Face(box, box[:2] + points * (box[2:] - box[:2]))


def picture(*boxes: Box, size: tuple[int, int] = (60, 100)) -> np.ndarray:
    """Black, with one rectangle per face, each in its own shade."""
    image = np.zeros((*size, 3), np.uint8)
    for shade, (x1, y1, x2, y2) in zip(SHADES, boxes, strict=False):
        image[y1:y2, x1:x2] = shade
    return image


class RectangleDetector:
    """Finds the rectangles of ``picture``, as long as they do not overlap."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Largest first, as the protocol asks."""
        faces = []
        for shade in SHADES:
            rows, columns = np.nonzero(image[..., 0] == shade)
            if rows.size:
                faces.append(face(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        return sorted(faces, key=lambda f: -np.prod(f.box[2:] - f.box[:2]))


def boxes_of(faces: Sequence[Face]) -> list[list[float]]:
    """Boxes as plain numbers."""
    return [f.box.tolist() for f in faces]
