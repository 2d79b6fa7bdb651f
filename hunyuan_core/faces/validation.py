"""Checks of images, boxes and landmarks, so that a bad one is named where it enters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigurationError, ShapeError


def check_image(image: np.ndarray) -> None:
    """Refuse anything but an RGB frame.

    Raises:
        ShapeError: If the image is not (H, W, 3) uint8 with at least one pixel; names what came.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ShapeError(
            f"Expected an RGB image (H, W, 3) of dtype uint8; got {image.shape} of {image.dtype}; convert it first."
        )


def as_box(box: ArrayLike) -> np.ndarray:
    """Read a face box.

    Args:
        box: x1, y1, x2, y2 in pixels.

    Returns:
        (4,) float64.

    Raises:
        ConfigurationError: If it is not four finite numbers or has no area; names the box.
    """
    corners = np.asarray(box, dtype=np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ConfigurationError(f"A face box is four finite numbers x1, y1, x2, y2 in pixels; got {corners.tolist()}.")
    x1, y1, x2, y2 = corners
    if x1 >= x2 or y1 >= y2:
        raise ConfigurationError(
            f"The face box {box_text(corners)} has no area; give x1, y1, x2, y2 with x1 < x2 and y1 < y2, "
            f"not a corner with width and height."
        )
    return corners


def check_overlap(box: np.ndarray, height: int, width: int) -> None:
    """Refuse a box that shares no pixel with its image.

    Raises:
        ConfigurationError: Names the box and the image's size.
    """
    x1, y1, x2, y2 = box
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise ConfigurationError(
            f"The face box {box_text(box)} lies outside the image of {width}×{height} pixels (width×height); "
            f"give x1, y1, x2, y2 in pixels of that image."
        )


def as_landmarks(landmarks: ArrayLike) -> np.ndarray:
    """Read the five landmarks of one face.

    Returns:
        (5, 2) float64, pixels.

    Raises:
        ConfigurationError: If they are not five finite points, or all the same one.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ConfigurationError(
            f"Landmarks are five finite points (x, y): two eyes, nose tip, two mouth corners; "
            f"got shape {points.shape}: {points.tolist()}."
        )
    if np.ptp(points, axis=0).max() == 0:
        raise ConfigurationError(f"All five landmarks are the same point {tuple(points[0].tolist())}; give five.")
    return points


def box_text(box: np.ndarray) -> str:
    """Write a box for a message, e.g. ``(10, 20.5, 200, 300)``."""
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
