from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from pose_builder import make_person

from hunyuan_core.errors import ConfigurationError
from hunyuan_core.pose.drawing import black_pose, draw_pose
from hunyuan_core.pose.keypoints import EYES, FACE, LEFT_HAND, NUM_POINTS, WholeBody


def pose_of(points: dict[int, tuple[float, float]]) -> WholeBody:
    pose = WholeBody(np.full((NUM_POINTS, 2), np.nan), np.zeros(NUM_POINTS))
    for index, point in points.items():
        pose.points[index], pose.scores[index] = point, 1
    return pose


def colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(map(int, colour)) for colour in np.unique(picture.reshape(-1, 3), axis=0)} - {(0, 0, 0)}


def without(pose: WholeBody, indices: Iterable[int]) -> WholeBody:
    pose.scores[list(indices)] = 0
    return pose


def test_the_released_pose_image_is_black() -> None:
    picture = black_pose(8, 16)

    assert (picture.shape, picture.dtype, picture.max()) == ((8, 16, 3), np.uint8, 0)
    assert (draw_pose(None, 8, 16) == picture).all()


def test_a_joint_is_a_disc_of_its_colour() -> None:
    picture = draw_pose(pose_of({0: (100, 60)}), 512, 512)
    y, x = np.nonzero(picture.any(axis=2))

    assert colours(picture) == {(255, 0, 0)}
    assert (x.min(), x.max(), y.min(), y.max()) == (96, 104, 56, 64)


def test_a_limb_is_darker_than_its_joints_and_lies_under_them() -> None:
    # The right forearm. The colours go round the wheel in OpenPose's order, 20 degrees apart.
    picture = draw_pose(pose_of({8: (100, 100), 10: (200, 100)}), 512, 512)

    assert colours(picture) == {(255, 255, 0), (170, 255, 0), (153, 153, 0)}
    assert picture[100, 100].tolist() == [255, 255, 0]
    assert picture[100, 200].tolist() == [170, 255, 0]
    assert picture[100, 150].tolist() == [153, 153, 0]
    assert picture[104, 150].any()
    assert not picture[105, 150].any()


def test_a_limb_fills_what_opencv_fills() -> None:
    picture = draw_pose(pose_of({8: (100, 300), 10: (220, 190)}), 512, 512)
    limb = (picture == (153, 153, 0)).all(axis=2)
    length, angle = np.hypot(120, -110), np.degrees(np.arctan2(-110, 120))
    outline = cv2.ellipse2Poly((160, 245), (int(length / 2), 4), int(angle), 0, 360, 1)
    referee = cv2.fillConvexPoly(np.zeros((512, 512), np.uint8), outline, 1).astype(bool)
    referee &= ~((picture == (255, 255, 0)) | (picture == (170, 255, 0))).all(axis=2)
    rim = cv2.dilate(referee.astype(np.uint8), np.ones((3, 3))).astype(bool)

    assert not (limb & ~rim).any()
    assert (limb & referee).sum() > 0.85 * referee.sum()


def test_the_face_is_white_and_the_hand_has_coloured_fingers() -> None:
    assert colours(draw_pose(pose_of({FACE[30]: (50, 50)}), 512, 512)) == {(255, 255, 255)}
    hand = draw_pose(pose_of({LEFT_HAND[0]: (50, 50), LEFT_HAND[1]: (90, 50)}), 512, 512)
    assert colours(hand) == {(0, 0, 255), (255, 0, 0)}


def test_what_is_left_out_is_what_was_never_seen() -> None:
    def draw(pose: WholeBody) -> np.ndarray:
        return draw_pose(pose, 512, 512)

    no_hands = without(make_person(), range(91, 133))
    assert (draw_pose(make_person(), 512, 512, has_eyes=False) == draw(without(make_person(), EYES))).all()
    assert (draw_pose(make_person(), 512, 512, has_face=False) == draw(without(make_person(), FACE))).all()
    assert (draw_pose(make_person(), 512, 512, has_hands=False) == draw(no_hands)).all()
    assert not (draw(make_person()) == draw(without(make_person(), EYES))).all()


def test_a_dropped_edge_leaves_its_joints() -> None:
    pose = pose_of({8: (100, 100), 10: (200, 100)})

    picture = draw_pose(pose, 512, 512, dropped_edges={"right_elbow-right_wrist"})

    assert colours(picture) == {(255, 255, 0), (170, 255, 0)}


def test_a_dropped_finger_bone_is_gone() -> None:
    pose = pose_of({LEFT_HAND[0]: (50, 50), LEFT_HAND[1]: (90, 50)})

    assert colours(draw_pose(pose, 512, 512, dropped_edges=["left_thumb-0"])) == {(0, 0, 255)}


def test_an_unknown_edge_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"'tail'.*EDGE_NAMES"):
        draw_pose(make_person(), 64, 64, dropped_edges={"tail"})


def test_the_strokes_grow_with_the_picture() -> None:
    small, large = (draw_pose(pose_of({0: (s / 2, s / 2)}), s, s).any(axis=2).sum() for s in (512, 1024))

    assert large == pytest.approx(4 * small, rel=0.1)


def test_a_limb_that_leaves_the_picture_is_cut() -> None:
    picture = draw_pose(pose_of({8: (50, 50), 10: (50, 5000)}), 100, 100)

    assert picture[99, 50].any()
    assert not picture[:40].any()
