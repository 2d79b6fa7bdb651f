"""Which keypoints are joined: the body as in OpenPose, the fingers, and the lines of the face."""

from __future__ import annotations

import numpy as np

from .keypoints import (
    BODY_NAMES,
    FACE,
    LEFT_HAND,
    LEFT_SHOULDER,
    NUM_POINTS,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    WholeBody,
)

NECK = NUM_POINTS
"""Index of the neck, which is not detected but lies between the shoulders."""

_NAMES = {name: index for index, name in enumerate(BODY_NAMES)} | {"neck": NECK}

# OpenPose's order; it decides the colours.
LIMB_NAMES = (
    "neck-right_shoulder",
    "neck-left_shoulder",
    "right_shoulder-right_elbow",
    "right_elbow-right_wrist",
    "left_shoulder-left_elbow",
    "left_elbow-left_wrist",
    "neck-right_hip",
    "right_hip-right_knee",
    "right_knee-right_ankle",
    "neck-left_hip",
    "left_hip-left_knee",
    "left_knee-left_ankle",
    "neck-nose",
    "nose-right_eye",
    "right_eye-right_ear",
    "nose-left_eye",
    "left_eye-left_ear",
)
LIMBS = {name: (_NAMES[name.split("-")[0]], _NAMES[name.split("-")[1]]) for name in LIMB_NAMES}
"""Name to the indices of both ends, in the points of ``with_neck``."""

JOINT_NAMES = (
    "nose",
    "neck",
    *("right_shoulder", "right_elbow", "right_wrist"),
    *("left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle"),
    *("left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
JOINTS = tuple(_NAMES[name] for name in JOINT_NAMES)
"""The joints in OpenPose's order; it decides the colours."""


def _finger_edges(side: str, hand: range) -> dict[str, tuple[int, int]]:
    edges = {}
    for finger, root in zip(("thumb", "index", "middle", "ring", "little"), range(1, 21, 4), strict=True):
        chain = [hand[0], *hand[root : root + 4]]
        for bone in range(4):
            edges[f"{side}_{finger}-{bone}"] = (chain[bone], chain[bone + 1])
    return edges


LEFT_HAND_EDGES = _finger_edges("left", LEFT_HAND)
RIGHT_HAND_EDGES = _finger_edges("right", RIGHT_HAND)
"""``SIDE_FINGER-BONE`` to the indices of both ends, bone 0 at the wrist."""

EDGE_NAMES = (*LIMBS, *LEFT_HAND_EDGES, *RIGHT_HAND_EDGES)
"""Every edge that a drawing has, for training that leaves out some at random (paper, section 3.5)."""


def _chain(start: int, stop: int) -> list[tuple[int, int]]:
    return [(FACE[i], FACE[i + 1]) for i in range(start, stop - 1)]


# Jaw, brows, nose, eyes, outer and inner lips; measured, never drawn.
FACE_EDGES = tuple(
    edge
    for start, stop in ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36), (36, 42), (42, 48), (48, 60), (60, 68))
    for edge in _chain(start, stop)
)


def with_neck(pose: WholeBody) -> tuple[np.ndarray, np.ndarray]:
    """Add the neck, halfway between the shoulders and seen where both are.

    Returns:
        (134, 2) points and (134,) bool, whether each is seen.
    """
    shoulders = [LEFT_SHOULDER, RIGHT_SHOULDER]
    # Half first: the sum of two far-away coordinates could overflow. Opposite infinities have no middle.
    with np.errstate(invalid="ignore"):
        neck = (pose.points[shoulders] * 0.5).sum(axis=0, keepdims=True)
    return np.concatenate([pose.points, neck]), np.append(pose.is_seen, pose.is_seen[shoulders].all())
