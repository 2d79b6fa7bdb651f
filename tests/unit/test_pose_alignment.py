from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pose_builder import make_person

from hunyuan_core.errors import FaceNotFoundError
from hunyuan_core.pose.alignment import align_poses, estimate_alignment
from hunyuan_core.pose.keypoints import EYES, FACE, NOSE, NOSE_TIP, NUM_POINTS, WholeBody


def moved(pose: WholeBody, scale: float = 1, shift: tuple[float, float] = (0, 0)) -> WholeBody:
    return replace(pose, points=pose.points * scale + np.array(shift))


def only(pose: WholeBody, indices: list[int]) -> WholeBody:
    scores = np.zeros(NUM_POINTS)
    scores[indices] = pose.scores[indices]
    return replace(pose, scores=scores)


def test_the_length_is_the_sum_over_what_both_show() -> None:
    # Nose (0, 0); in the portrait a left eye 6 away, in both a jaw line of two points, 8 and 4 long.
    portrait, driver = np.zeros((NUM_POINTS, 2)), np.zeros((NUM_POINTS, 2))
    portrait[[1, FACE[0], FACE[1]]] = [(6, 0), (10, 0), (10, 8)]
    driver[[NOSE, 1, FACE[0], FACE[1]]] = [(100, 50), (102, 50), (0, 0), (4, 0)]
    scores = np.zeros(NUM_POINTS)
    scores[[NOSE, 1, FACE[0], FACE[1]]] = 1
    poses = WholeBody(portrait, scores), WholeBody(driver, scores)

    same = estimate_alignment(*poses, is_cross_reenactment=False)
    cross = estimate_alignment(*poses, is_cross_reenactment=True)

    assert same.scale == pytest.approx((6 + 8) / (2 + 4))
    assert cross.scale == pytest.approx(8 / 4)
    assert cross.apply(poses[1]).points[[NOSE, 1]] == pytest.approx(np.array([(0, 0), (4, 0)]))


def test_an_arm_out_of_sight_in_one_does_not_change_the_scale() -> None:
    person = make_person()
    hidden = person.scores.copy()
    hidden[[7, 9]] = 0

    alignment = estimate_alignment(replace(person, scores=hidden), moved(person, 2), is_cross_reenactment=True)

    assert alignment.scale == pytest.approx(0.5)


def test_the_nose_tip_of_the_face_stands_in_for_the_nose() -> None:
    person = make_person()
    portrait = only(person, list(FACE))

    alignment = estimate_alignment(portrait, moved(person, 1, (30, -7)), is_cross_reenactment=False)

    assert alignment.portrait_nose.tolist() == person.points[NOSE_TIP].tolist()
    assert alignment.scale == pytest.approx(1)


def test_motion_is_kept_and_frames_without_a_person_stay_empty() -> None:
    portrait = make_person()
    first = moved(portrait, 2, (15, 40))
    second = moved(first, 1, (10, -6))

    aligned = align_poses(portrait, [None, first, None, second], is_cross_reenactment=False)

    assert aligned[0] is None
    assert aligned[2] is None
    assert aligned[1] is not None
    assert aligned[3] is not None
    seen = portrait.is_seen
    assert aligned[1].points[seen] == pytest.approx(portrait.points[seen])
    assert aligned[3].points[seen] == pytest.approx(portrait.points[seen] + (5, -3))
    assert (aligned[3].is_seen == seen).all()


def test_between_different_people_the_eyes_are_hidden() -> None:
    person = make_person()

    (cross,) = align_poses(person, [person], is_cross_reenactment=True)
    (same,) = align_poses(person, [person], is_cross_reenactment=False)

    assert cross is not None
    assert same is not None
    assert not cross.is_seen[list(EYES)].any()
    assert same.is_seen[list(EYES)].all()


@pytest.mark.parametrize(
    ("portrait", "driver", "message"),
    [
        ([NOSE, 5, 6], [5, 6], "no nose"),
        ([NOSE, 5, 6], [NOSE, 7, 9], "no limb"),
        ([NOSE], [NOSE], "no limb"),
        ([NOSE, 1], [NOSE, 1], "no limb"),  # joined by an edge of the eyes alone
        ([], [], "no nose"),
    ],
)
def test_nothing_in_common_is_an_error_with_a_remedy(portrait: list[int], driver: list[int], message: str) -> None:
    person = make_person()

    with pytest.raises(FaceNotFoundError, match=f"{message}.*black pose") as caught:
        estimate_alignment(only(person, portrait), only(person, driver), is_cross_reenactment=True)

    assert "\n" not in str(caught.value)


def test_points_in_one_place_are_an_error() -> None:
    person = make_person()

    with pytest.raises(FaceNotFoundError, match="no limb"):
        estimate_alignment(person, moved(person, 0), is_cross_reenactment=False)


@pytest.mark.parametrize("driver", [[], [None, None]])
def test_a_video_without_a_person_is_an_error(driver: list[None]) -> None:
    with pytest.raises(FaceNotFoundError, match="any frame"):
        align_poses(make_person(), driver, is_cross_reenactment=False)
