from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pose_builder import make_person

from hunyuan_core.errors import ConfigurationError
from hunyuan_core.pose.drawing import draw_pose
from hunyuan_core.pose.keypoints import BODY_NAMES, FACE, LEFT_HAND, RIGHT_HAND, WholeBody
from hunyuan_core.pose.openpose import read_openpose

PERSON = make_person()
# OpenPose's documentation, by name.
ARMS = [
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
]
LEGS = [
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
]
BODY_18 = ARMS + LEGS
BODY_25 = [*ARMS, "mid_hip", *LEGS, *["toes and heels"] * 6]


def flat(points: Any, scores: Any) -> list[float]:
    return np.column_stack([points, scores]).ravel().tolist()


def write(person: WholeBody, names: list[str] = BODY_18) -> dict[str, Any]:
    """Write a person as OpenPose does; what WholeBody does not have is (0, 0) of score 0."""
    place = {name: (*person.points[i], person.scores[i]) for i, name in enumerate(BODY_NAMES)}
    body = [value for name in names for value in place.get(name, (0, 0, 0))]

    def part(indices: range) -> list[float]:
        return flat(person.points[indices], person.scores[indices])

    return {
        "pose_keypoints_2d": body,
        "face_keypoints_2d": part(FACE) + [0.0] * 6,
        "hand_left_keypoints_2d": part(LEFT_HAND),
        "hand_right_keypoints_2d": part(RIGHT_HAND),
    }


def frame(*people: dict[str, Any], width: int = 512, height: int = 512) -> dict[str, Any]:
    return {"people": list(people), "canvas_width": width, "canvas_height": height}


def read_one(person: dict[str, Any], **canvas: int) -> WholeBody:
    ((one,),) = [read.people for read in read_openpose([frame(person, **canvas)], "keypoints")]
    return one


@pytest.mark.parametrize("names", [BODY_18, BODY_25])
def test_every_point_comes_to_its_place(names: list[str]) -> None:
    read = read_one(write(PERSON, names))

    assert np.array_equal(read.is_seen, PERSON.is_seen)
    assert np.array_equal(read.points[read.is_seen], PERSON.points[PERSON.is_seen])
    assert np.array_equal(read.scores[read.is_seen], PERSON.scores[PERSON.is_seen])
    assert np.array_equal(draw_pose(read, 512, 512), draw_pose(PERSON, 512, 512))


def test_parts_between_0_and_1_are_scaled_by_the_canvas_each_for_itself() -> None:
    person = write(PERSON)
    body = np.reshape(person["pose_keypoints_2d"], (-1, 3))
    person["pose_keypoints_2d"] = (body / (400, 800, 1)).ravel().tolist()  # below the picture is above 1

    read = read_one(person, width=400, height=800)

    assert np.allclose(read.points[read.is_seen], PERSON.points[PERSON.is_seen])


@pytest.mark.parametrize("missing", [(0, 0, 0), (0, 0, 1), (-1, -1, 0.9), (50, 50, 0), (np.nan, 3, 1)])
def test_a_point_that_was_not_found_is_not_seen(missing: tuple[float, float, float]) -> None:
    person = write(PERSON)
    start = BODY_18.index("left_ear") * 3
    person["pose_keypoints_2d"][start : start + 3] = missing

    read = read_one(person)

    lost = BODY_NAMES.index("left_ear")
    assert not read.is_seen[lost]
    assert np.array_equal(np.delete(read.is_seen, lost), np.delete(PERSON.is_seen, lost))


@pytest.mark.parametrize("absent", [None, []])
def test_parts_may_be_absent(absent: Any) -> None:
    person = write(PERSON) | {"hand_left_keypoints_2d": absent, "face_keypoints_2d": absent}
    del person["hand_right_keypoints_2d"]

    read = read_one(person)

    assert np.flatnonzero(read.is_seen).tolist() == list(range(17))


def test_the_largest_person_comes_first_and_one_without_a_point_is_nobody() -> None:
    small = write(WholeBody(PERSON.points / 2, PERSON.scores))
    nobody = write(WholeBody(PERSON.points, PERSON.scores * 0))

    both, none = read_openpose([frame(small, nobody, write(PERSON)), frame(nobody)], "keypoints")

    assert len(both.people) == 2
    assert both.people[0].points[0].tolist() == PERSON.points[0].tolist()
    assert none.people == []
    assert (none.height, none.width) == (512, 512)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ("pose", r"^driving must be a list .* got a str\.$"),
        ([], r"^driving must be a list .* at least one frame; got a list of 0\.$"),
        ({}, r"^driving must be a list .* got a dict with nothing in it\.$"),
        ([frame(), {"people": []}], r"^driving, frame 1 must have .*'canvas_width'.* got a dict with 'people'\.$"),
        ([frame({"pose_keypoints_2d": [1.0] * 10})], r"frame 0, pose_keypoints_2d must be .* for 18 or 25 points"),
        ([frame({"pose_keypoints_2d": [[1.0, 2.0, 1.0]] * 54})], r"pose_keypoints_2d must be a flat list"),
        ([frame({"face_keypoints_2d": ["a"] * 204})], r"face_keypoints_2d must be a flat list .* 68 or 70 points"),
        ([frame({"hand_left_keypoints_2d": 3})], r"hand_left_keypoints_2d .* for 21 points; got a int"),
        ([frame("person")], r"^driving, frame 0 .* person"),
        ([frame() | {"canvas_width": "wide"}], r"^driving, frame 0 .*canvas"),
        ([frame() | {"people": None}], r"^driving, frame 0 must have .* a dict for each person; got .* a NoneType"),
    ],
)
def test_another_format_is_refused(frames: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_openpose(frames, "driving")
