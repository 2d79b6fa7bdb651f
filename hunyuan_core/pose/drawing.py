"""Pictures of a skeleton, as the pose guider sees them."""

from __future__ import annotations

import colorsys
from collections.abc import Collection

import numpy as np

from ..errors import ConfigurationError
from .keypoints import FACE, LEFT_HAND, RIGHT_HAND, WholeBody
from .skeleton import EDGE_NAMES, JOINTS, LEFT_HAND_EDGES, LIMBS, RIGHT_HAND_EDGES, with_neck

# Sizes in pixels of a picture whose shorter side is 512, the usual ones of DWPose.
_BASE_SIZE = 512
_LIMB_RADIUS = 4.0
_JOINT_RADIUS = 4.0
_FACE_RADIUS = 3.0
_FINGER_RADIUS = 1.0

_LIMB_SHADE = 0.6  # limbs are darker than the joints drawn over them
_HAND_COLOUR = (0, 0, 255)
_FACE_COLOUR = (255, 255, 255)
_FARTHEST = 1e6  # pixels; beyond, a point is noise, and its square could overflow


def black_pose(height: int, width: int) -> np.ndarray:
    """Make the pose image that the released inference feeds: (H, W, 3) uint8, all zero."""
    return np.zeros((height, width, 3), np.uint8)


def draw_pose(
    pose: WholeBody | None,
    height: int,
    width: int,
    *,
    has_eyes: bool = True,
    has_face: bool = True,
    has_hands: bool = True,
    dropped_edges: Collection[str] = (),
) -> np.ndarray:
    """Draw a skeleton in the style of DWPose: coloured limbs and joints, fingers, white dots for the face; no feet.

    Args:
        pose: Keypoints in the picture's pixels; None draws nothing. Points that were not seen are left out, and so are
            their edges; what leaves the picture is cut.
        has_eyes: Whether to draw the eyes and their edges.
        has_face: Whether to draw the 68 points of the face.
        has_hands: Whether to draw the hands.
        dropped_edges: Names from ``skeleton.EDGE_NAMES`` to leave out.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ConfigurationError: If ``dropped_edges`` names an edge that does not exist.
    """
    unknown = sorted(set(dropped_edges) - set(EDGE_NAMES))
    if unknown:
        raise ConfigurationError(f"There is no edge {unknown[0]!r} to drop; the names are in skeleton.EDGE_NAMES.")
    canvas = black_pose(height, width)
    if pose is None:
        return canvas
    points, is_seen = with_neck(pose if has_eyes else pose.without_eyes())
    is_seen &= (np.abs(points) < _FARTHEST).all(axis=1)
    scale = min(height, width) / _BASE_SIZE
    _draw_body(canvas, points, is_seen, scale, dropped_edges)
    if has_hands:
        for edges, hand in ((LEFT_HAND_EDGES, LEFT_HAND), (RIGHT_HAND_EDGES, RIGHT_HAND)):
            _draw_hand(canvas, points, is_seen, scale, edges, hand, dropped_edges)
    if has_face:
        for index in FACE:
            if is_seen[index]:
                _disc(canvas, points[index], _FACE_RADIUS * scale, _FACE_COLOUR)
    return canvas


def _draw_body(
    canvas: np.ndarray, points: np.ndarray, is_seen: np.ndarray, scale: float, dropped_edges: Collection[str]
) -> None:
    for index, (name, (a, b)) in enumerate(LIMBS.items()):
        if is_seen[a] and is_seen[b] and name not in dropped_edges:
            red, green, blue = _rainbow(index, len(JOINTS))
            shaded = (int(red * _LIMB_SHADE), int(green * _LIMB_SHADE), int(blue * _LIMB_SHADE))
            _ellipse(canvas, points[a], points[b], _LIMB_RADIUS * scale, shaded)
    for index, joint in enumerate(JOINTS):
        if is_seen[joint]:
            _disc(canvas, points[joint], _JOINT_RADIUS * scale, _rainbow(index, len(JOINTS)))


def _draw_hand(
    canvas: np.ndarray,
    points: np.ndarray,
    is_seen: np.ndarray,
    scale: float,
    edges: dict[str, tuple[int, int]],
    hand: range,
    dropped_edges: Collection[str],
) -> None:
    for index, (name, (a, b)) in enumerate(edges.items()):
        if is_seen[a] and is_seen[b] and name not in dropped_edges:
            _line(canvas, points[a], points[b], _FINGER_RADIUS * scale, _rainbow(index, len(edges)))
    for joint in hand:
        if is_seen[joint]:
            _disc(canvas, points[joint], _JOINT_RADIUS * scale, _HAND_COLOUR)


def _rainbow(index: int, count: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index / count, 1, 1)
    return round(red * 255), round(green * 255), round(blue * 255)


def _pixels_near(
    canvas: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Find the pixels around two points, cut to the canvas: slices, and their (rows, columns, 2) offsets from a."""
    low = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
    size = (canvas.shape[1], canvas.shape[0])
    high = np.clip(np.ceil(np.maximum(a, b) + radius) + 1, low, np.maximum(low, size)).astype(int)
    x, y = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    offsets = np.stack(np.broadcast_arrays(x[None, :] - a[0], y[:, None] - a[1]), axis=-1)
    return (slice(low[1], high[1]), slice(low[0], high[0])), offsets


def _disc(canvas: np.ndarray, centre: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
    _line(canvas, centre, centre, radius, colour)


def _line(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
    radius = max(radius, 0.75)  # thinner, and a line between pixel centres would have gaps
    box, offsets = _pixels_near(canvas, a, b, radius)
    along = b - a
    share = np.clip(offsets @ along / max(float(along @ along), 1e-12), 0, 1)
    is_inside = ((offsets - share[..., None] * along) ** 2).sum(axis=-1) <= radius**2
    canvas[box][is_inside] = colour


def _ellipse(canvas: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
    radius = max(radius, 0.75)
    box, offsets = _pixels_near(canvas, a, b, radius)
    length = float(np.linalg.norm(b - a))
    direction = (b - a) / length if length > 0 else np.array([1.0, 0.0])
    across = offsets @ np.array([-direction[1], direction[0]])
    along = offsets @ direction - length / 2
    is_inside = (along / max(length / 2, radius)) ** 2 + (across / radius) ** 2 <= 1
    canvas[box][is_inside] = colour
