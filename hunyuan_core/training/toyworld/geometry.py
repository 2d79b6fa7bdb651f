"""Where everything of a drawn face is, as its motion puts it there.

Lengths are shares of the picture's side; the origin is its top left corner, y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...data import Face, FaceTrack
from .identity import Identity
from .motion import MOTION_PARAMETERS

HEAD_CENTRE = (0.5, 0.53)
EYE_LINE, NOSE_LINE, MOUTH_LINE = -0.045, 0.085, 0.185
"""Heights of eyes, nose tip and mouth below the middle of the head, for a head of half height 0.35."""

_DEPTH = 0.85  # of the head by half its width
_NOSE_DEPTH = 0.05
POINTS = 48
"""Of a closed outline: the first is its right, then clockwise."""
_CIRCLE = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)

LANDMARK_GROUPS: dict[str, slice] = {
    "left_eye": slice(0, 4),
    "right_eye": slice(4, 8),
    "irises": slice(8, 10),
    "left_brow": slice(10, 13),
    "right_brow": slice(13, 16),
    "nose": slice(16, 17),
    "mouth": slice(17, 25),
    "jaw": slice(25, 34),
}
"""Rows of ``landmarks`` of each part; left is the image's. An eye is left corner, upper lid, right corner, lower lid;
the mouth goes round from its left corner by the upper lip; the jaw from ear to ear, left to right."""


@dataclass(frozen=True)
class Action:
    """One frame of a motion by name; units as in MOTION_RANGES."""

    yaw: float
    pitch: float
    roll: float
    translate_x: float
    translate_y: float
    gaze_x: float
    gaze_y: float
    blink: float
    brow: float
    mouth_open: float
    mouth_width: float

    @classmethod
    def of(cls, motion: np.ndarray) -> Action:
        """Name the columns of one frame, (11,)."""
        return cls(**dict(zip(MOTION_PARAMETERS, map(float, motion), strict=True)))


class Geometry:
    """The outlines of one face in one frame, each (N, 2) in shares of the picture's side."""

    def __init__(self, identity: Identity, motion: np.ndarray) -> None:
        self.identity = identity
        self.action = action = Action.of(motion)
        self.scale = identity.head_height / 0.35
        self._yaw, self._pitch = math.radians(action.yaw), math.radians(action.pitch)
        roll = math.radians(action.roll)
        self._turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
        self.centre = np.add(HEAD_CENTRE, (action.translate_x, action.translate_y))

    def on_plane(self, points: np.ndarray) -> np.ndarray:
        """Place points (N, 2) of the head's own plane, which rolls and moves but does not turn."""
        return points @ self._turn + self.centre

    def on_face(self, points: np.ndarray, height: float = 0.0) -> np.ndarray:
        """Place points (N, 2) on the curved front of the head, lifted from it by a height."""
        identity = self.identity
        inside = 1 - (points[:, 0] / identity.head_width) ** 2 - 0.5 * (points[:, 1] / identity.head_height) ** 2
        depth = _DEPTH * identity.head_width * np.sqrt(np.maximum(inside, 0)) + height
        x = points[:, 0] * math.cos(self._yaw) + depth * math.sin(self._yaw)
        y = points[:, 1] * math.cos(self._pitch) + depth * math.sin(self._pitch)
        return self.on_plane(np.stack([x, y], -1))

    def outline(self, growth: float = 1.0, angles: np.ndarray = _CIRCLE) -> np.ndarray:
        """Outline of the head; angle 0 is its right, π/2 its chin."""
        identity = self.identity
        x, y = np.cos(angles), np.sin(angles)
        narrow = 1 - 0.22 * identity.jaw * np.maximum(y, 0) ** 2
        points = np.stack([x * narrow * identity.head_width, y * identity.head_height], -1) * growth
        return self.on_plane(points)

    def ear(self, side: int) -> np.ndarray:
        """One ear; the one that the head turns to the viewer comes out from behind it. Side -1 is the image's left."""
        identity = self.identity
        x = side * identity.head_width - 0.04 * math.sin(self._yaw)
        y = 0.02 - 0.08 * math.sin(self._pitch)
        size = identity.ear_size
        return self.on_plane(np.stack([x + 0.7 * size * np.cos(_CIRCLE), y + size * np.sin(_CIRCLE)], -1))

    def eye(self, side: int) -> np.ndarray:
        """Opening of one eye, clockwise from its right corner by the lower lid."""
        identity, blink = self.identity, self.action.blink
        half = identity.eye_size * identity.eye_height * 0.75
        upper, lower = -half * (1 - 1.6 * blink), half * (1 - 0.4 * blink)
        x, y = np.cos(_CIRCLE), np.sin(_CIRCLE)
        height = np.where(y > 0, lower * y, -upper * y)
        corner = 0.6 * half * blink * np.abs(x) ** 3  # the corners follow the lids where these meet
        height = np.where(np.abs(y) < 1e-9, corner, height)
        return self.on_face(self._eye_centre(side) + np.stack([identity.eye_size * x, height], -1))

    def iris(self, side: int, share: float = 1.0) -> np.ndarray:
        """Outline of an iris, or of the pupil by its share of it."""
        identity, action = self.identity, self.action
        radius = 0.47 * identity.eye_size * share
        move = np.array([0.42 * action.gaze_x, 0.3 * action.gaze_y]) * identity.eye_size
        circle = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], -1) * radius
        return self.on_face(self._eye_centre(side) + move + circle)

    def brow(self, side: int) -> np.ndarray:
        """One brow as a line of 5 points, left to right."""
        identity, brow = self.identity, self.action.brow
        x = np.linspace(-1.05, 1.05, 5)
        rise = identity.eye_size * 0.72 + 0.045 + 0.032 * brow
        # Raised brows arch, lowered ones slope down to the nose.
        y = -rise * self.scale - 0.02 * (1 - x**2) * (1 + 0.5 * brow) - 0.02 * min(brow, 0) * -side * x
        return self.on_face(self._eye_centre(side) + np.stack([x * identity.eye_size, y], -1))

    def nose(self) -> np.ndarray:
        """Left wing, tip and right wing of the nose, and its top."""
        size, line = self.identity.nose_size, NOSE_LINE * self.scale
        flat = self.on_face(np.array([[-size, line + 0.005], [size, line + 0.005], [0, line - 0.085]]), 0.01)
        tip = self.on_face(np.array([[0.0, line]]), _NOSE_DEPTH)
        return np.stack([flat[0], tip[0], flat[1], flat[2]])

    def lips(self, share: float = 1.0) -> np.ndarray:
        """Outer edge of the lips (share 1) or the opening between them (share 0), clockwise from the right corner."""
        return self._mouth(_CIRCLE, share)

    def five_points(self) -> np.ndarray:
        """Middles of the eyes, tip of the nose and corners of the mouth, in the order of ``data.LANDMARK_NAMES``."""
        eyes = self.on_face(np.stack([self._eye_centre(-1), self._eye_centre(1)]))
        tip = self.on_face(np.array([[0.0, NOSE_LINE * self.scale]]), _NOSE_DEPTH)
        return np.concatenate([eyes, tip, self._mouth(np.array([np.pi, 0.0]), 1.0)])

    def _mouth(self, angles: np.ndarray, share: float) -> np.ndarray:
        identity, action = self.identity, self.action
        opening = 0.066 * action.mouth_open * self.scale
        width = identity.mouth_size * (1 + 0.32 * action.mouth_width) * (1 - 0.15 * action.mouth_open)
        x, y = np.cos(angles), np.sin(angles)
        height = (opening + identity.lip_fullness * share) * y - 0.025 * action.mouth_width * x**2
        middle = MOUTH_LINE * self.scale + 0.35 * opening
        return self.on_face(np.stack([width * (0.9 + 0.1 * share) * x, middle + height], -1), 0.005)

    def _eye_centre(self, side: int) -> np.ndarray:
        return np.array([side * self.identity.eye_distance, EYE_LINE * self.scale])


def landmarks(identity: Identity, motion: np.ndarray, size: int) -> np.ndarray:
    """Find the 34 points of LANDMARK_GROUPS; an iris has its place behind a closed lid too.

    Args:
        motion: (11,) of one frame.
        size: Side of the picture, pixels.

    Returns:
        (34, 2) float64, pixels.
    """
    geometry = Geometry(identity, motion)
    left, right = geometry.eye(-1), geometry.eye(1)
    eye = np.arange(2, 6) * POINTS // 4 % POINTS
    mouth = np.arange(4, 12) * POINTS // 8 % POINTS
    points = [
        left[eye],
        right[eye],
        geometry.iris(-1).mean(0, keepdims=True),
        geometry.iris(1).mean(0, keepdims=True),
        geometry.brow(-1)[::2],
        geometry.brow(1)[::2],
        geometry.nose()[1:2],
        geometry.lips()[mouth],
        geometry.outline(angles=np.linspace(np.pi, 0, 9)),
    ]
    return np.concatenate(points) * size


def face_box(identity: Identity, motion: np.ndarray, size: int) -> np.ndarray:
    """Box of the head without hair: x1, y1, x2, y2 in pixels, float64."""
    outline = Geometry(identity, motion).outline()
    return np.concatenate([outline.min(0), outline.max(0)]) * size


def face(identity: Identity, motion: np.ndarray, size: int) -> Face:
    """What a perfect detector finds; the eyes' landmarks are the middles of their openings, not the irises."""
    geometry = Geometry(identity, motion)
    outline = geometry.outline()
    return Face(np.concatenate([outline.min(0), outline.max(0)]) * size, geometry.five_points() * size)


def face_track(identity: Identity, motion: np.ndarray, size: int) -> FaceTrack:
    """What a perfect detector finds in a video; motion (T, 11)."""
    faces = [face(identity, row, size) for row in motion]
    return FaceTrack(
        np.array([found.box for found in faces]),
        np.array([found.landmarks for found in faces]),
        np.ones(len(faces), dtype=bool),
    )


def face_mask(identity: Identity, motion: np.ndarray, size: int) -> np.ndarray:
    """Which pixels belong to the head without hair and ears, (S, S) bool.

    A mouth that is turned far to the side passes the outline of the head; it belongs to it too.
    """
    import cv2

    geometry = Geometry(identity, motion)
    mask = np.zeros((size, size), np.uint8)
    for part in (geometry.outline(), geometry.lips()):
        # The centre of the first pixel is at 0 for OpenCV and at ½ here.
        cv2.fillPoly(mask, [np.round((part * size - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)
