"""Skeletons of drawn people, as the pose guider is shown them in training."""

from __future__ import annotations

import numpy as np

from ..pose.drawing import draw_pose
from ..pose.keypoints import BODY_NAMES, NUM_POINTS, WholeBody
from ..pose.skeleton import EDGE_NAMES
from .toyworld import LANDMARK_GROUPS, Identity, landmarks

_SHOULDERS = {"right_shoulder": (0.17, 0.92), "left_shoulder": (0.83, 0.92)}
"""They stand still; shares of the picture's side."""


def find_keypoints(identity: Identity, motion: np.ndarray, size: int) -> WholeBody:
    """Give what a perfect detector finds: nose, eyes, ears and shoulders.

    Args:
        motion: (11,) of one frame.
        size: Side of the picture, pixels.
    """
    points = landmarks(identity, motion, size)
    eyes, jaw = points[LANDMARK_GROUPS["irises"]], points[LANDMARK_GROUPS["jaw"]]
    found = {
        "nose": points[LANDMARK_GROUPS["nose"]][0],
        # A person's left is the image's right.
        "right_eye": eyes[0],
        "left_eye": eyes[1],
        "right_ear": jaw[0],
        "left_ear": jaw[-1],
        **{name: np.multiply(place, size) for name, place in _SHOULDERS.items()},
    }
    body, scores = np.zeros((NUM_POINTS, 2)), np.zeros(NUM_POINTS)
    for name, point in found.items():
        body[BODY_NAMES.index(name)] = point
        scores[BODY_NAMES.index(name)] = 1
    return WholeBody(body, scores)


def draw_skeletons(
    identity: Identity, motion: np.ndarray, size: int, dropped_share: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw the skeleton of each frame, without some edges, the same ones in all frames (paper, section 3.5).

    Args:
        motion: (T, 11).
        size: Side of the pictures, pixels.
        dropped_share: Chance of each edge to be left out.

    Returns:
        (size, size, 3) uint8 each.
    """
    dropped = drop_edges(dropped_share, rng)
    return [
        draw_pose(find_keypoints(identity, row, size), size, size, has_face=False, dropped_edges=dropped)
        for row in motion
    ]


def drop_edges(share: float, rng: np.random.Generator) -> list[str]:
    """Choose the edges that a clip goes without, each by a chance of ``share``."""
    is_dropped = rng.random(len(EDGE_NAMES)) < share
    return [name for name, is_gone in zip(EDGE_NAMES, is_dropped, strict=True) if is_gone]
