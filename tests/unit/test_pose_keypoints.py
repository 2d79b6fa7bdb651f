from __future__ import annotations

import numpy as np
import pytest
from pose_builder import make_person

from hunyuan_core.errors import ShapeError
from hunyuan_core.pose.keypoints import BODY, EYES, FACE, FEET, LEFT_HAND, MIN_SCORE, RIGHT_HAND, WholeBody
from hunyuan_core.pose.skeleton import EDGE_NAMES, FACE_EDGES, LIMBS, NECK, with_neck


def test_the_parts_make_up_the_133_points() -> None:
    assert [*BODY, *FEET, *FACE, *LEFT_HAND, *RIGHT_HAND] == list(range(133))


def test_the_eye_points_are_the_data_sets_own() -> None:
    assert sorted(EYES) == [1, 2, *range(59, 71)]


def test_a_point_is_seen_by_score_and_by_value() -> None:
    points, scores = np.zeros((133, 2)), np.ones(133)
    points[3, 1], points[4, 0], scores[5], scores[6] = np.nan, np.inf, MIN_SCORE, MIN_SCORE - 0.01

    assert np.flatnonzero(~WholeBody(points, scores).is_seen).tolist() == [3, 4, 6]


@pytest.mark.parametrize(("points", "scores"), [((17, 2), (17,)), ((133, 3), (133,)), ((133, 2), (133, 1))])
def test_another_format_is_a_shape_error(points: tuple[int, ...], scores: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="133"):
        WholeBody(np.zeros(points), np.zeros(scores))


def test_without_eyes_hides_them_and_keeps_the_original() -> None:
    person = make_person()
    hidden = np.flatnonzero(person.is_seen & ~person.without_eyes().is_seen)

    assert hidden.tolist() == sorted(EYES)
    assert person.is_seen[list(EYES)].all()


def test_the_neck_lies_between_the_shoulders() -> None:
    points, is_seen = with_neck(make_person())
    assert points[NECK].tolist() == [256, 300]
    assert is_seen[NECK]

    one_shoulder = make_person()
    one_shoulder.scores[5] = 0
    assert not with_neck(one_shoulder)[1][NECK]


def test_edges_join_different_points_that_exist_and_have_names_of_their_own() -> None:
    assert len(LIMBS) == 17
    assert len(EDGE_NAMES) == len(set(EDGE_NAMES)) == 17 + 2 * 20
    for a, b in [*LIMBS.values(), *FACE_EDGES]:
        assert a != b
        assert max(a, b) <= NECK
    assert len(FACE_EDGES) == 68 - 9
