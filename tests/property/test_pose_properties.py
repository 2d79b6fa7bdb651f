from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pose_builder import make_person

from hunyuan_core.pose.alignment import align_poses, estimate_alignment
from hunyuan_core.pose.drawing import draw_pose
from hunyuan_core.pose.keypoints import LEFT_SHOULDER, NOSE, NUM_POINTS, WholeBody
from hunyuan_core.pose.skeleton import EDGE_NAMES


def random_pose(seed: int) -> WholeBody:
    """Make a pose of points anywhere, a fifth of which were not found, but the nose was."""
    generator = np.random.default_rng(seed)
    points = generator.normal(0, 300, (NUM_POINTS, 2))
    scores = (generator.random(NUM_POINTS) < 0.8).astype(float)
    scores[NOSE] = 1
    points[scores == 0] = np.nan
    return WholeBody(points, scores)


POSES = st.builds(random_pose, st.integers(0, 2**32 - 1))
SCALES = st.floats(0.1, 10)
SHIFTS = st.tuples(st.floats(-500, 500), st.floats(-500, 500))
CROSS = st.booleans()
few = settings(max_examples=40)


def moved(pose: WholeBody, scale: float, shift: tuple[float, float]) -> WholeBody:
    return replace(pose, points=pose.points * scale + np.array(shift))


def agree(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-6, equal_nan=True))


@few
@given(POSES, POSES, CROSS)
def test_the_drivers_first_nose_comes_to_lie_on_the_portraits(
    portrait: WholeBody, driver: WholeBody, cross: bool
) -> None:
    (aligned,) = align_poses(portrait, [driver], is_cross_reenactment=cross)

    assert aligned is not None
    assert agree(aligned.points[NOSE], portrait.points[NOSE])


@few
@given(POSES, POSES, CROSS)
def test_equal_skeletons_are_left_alone(person: WholeBody, frame: WholeBody, cross: bool) -> None:
    alignment = estimate_alignment(person, person, is_cross_reenactment=cross)

    assert alignment.scale == pytest.approx(1)
    assert agree(alignment.apply(frame).points, frame.points)


@few
@given(POSES, POSES, POSES, SCALES, SHIFTS, CROSS)
def test_the_drivers_own_size_and_place_do_not_matter(
    portrait: WholeBody, driver: WholeBody, frame: WholeBody, scale: float, shift: tuple[float, float], cross: bool
) -> None:
    plain = estimate_alignment(portrait, driver, is_cross_reenactment=cross)
    other = estimate_alignment(portrait, moved(driver, scale, shift), is_cross_reenactment=cross)

    assert agree(other.apply(moved(frame, scale, shift)).points, plain.apply(frame).points)


@few
@given(POSES, POSES, POSES, SCALES, SHIFTS, CROSS)
def test_the_result_follows_the_portraits_size_and_place(
    portrait: WholeBody, driver: WholeBody, frame: WholeBody, scale: float, shift: tuple[float, float], cross: bool
) -> None:
    plain = estimate_alignment(portrait, driver, is_cross_reenactment=cross)
    other = estimate_alignment(moved(portrait, scale, shift), driver, is_cross_reenactment=cross)

    assert agree(other.apply(frame).points, moved(plain.apply(frame), scale, shift).points)


ANY_POINTS = arrays(
    np.float64,
    (NUM_POINTS, 2),
    elements=st.one_of(st.floats(-50, 150), st.floats(), st.sampled_from([np.nan, np.inf, -np.inf, 1e6, -1e6])),
)


# Shoulders at opposite infinities.
FAR_APART = np.where(np.arange(NUM_POINTS)[:, None] == LEFT_SHOULDER, -np.inf, np.full((NUM_POINTS, 2), np.inf))


@pytest.mark.filterwarnings("error")
@few
@example(FAR_APART, 9, 9, set())
@given(ANY_POINTS, st.integers(1, 90), st.integers(1, 90), st.sets(st.sampled_from(EDGE_NAMES), max_size=5))
def test_any_points_draw_inside_the_picture(points: np.ndarray, height: int, width: int, dropped: set[str]) -> None:
    picture = draw_pose(WholeBody(points, np.ones(NUM_POINTS)), height, width, dropped_edges=dropped)

    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


@few
@given(st.integers(-40, 40), st.integers(-40, 40))
def test_a_moved_skeleton_is_the_moved_picture(dx: int, dy: int) -> None:
    # On a canvas that is large enough, cut at the border: nothing wraps around.
    size, inner = 512, slice(60, 452)
    person = make_person()
    plain = draw_pose(person, size, size)
    other = draw_pose(moved(person, 1, (dx, dy)), size, size)

    shifted = slice(inner.start + dy, inner.stop + dy), slice(inner.start + dx, inner.stop + dx)
    assert (other[shifted] == plain[inner, inner]).all()
