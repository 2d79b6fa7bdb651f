from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pose_builder import make_person

from hunyuan_core.errors import FaceNotFoundError
from hunyuan_core.jobs import hash_tensors
from hunyuan_core.pose.drawing import draw_pose
from hunyuan_core.pose.keypoints import WholeBody
from hunyuan_core.pose.sequence import Skeletons, draw_aligned, draw_skeletons, find_poses

PERSON = make_person()


def shifted(pixels: int) -> WholeBody:
    return replace(PERSON, points=np.add(PERSON.points, (pixels, 0)))


class ShiftedPerson:
    """Finds the same person everywhere, as far to the right as the picture is bright; nobody in a black one."""

    def detect(self, image: np.ndarray) -> list[WholeBody]:
        shift = int(image.max())
        return [shifted(shift), PERSON] if shift else []


def picture(brightness: int) -> np.ndarray:
    return np.full((512, 512, 3), brightness, np.uint8)


def test_the_drivers_motion_is_drawn_at_the_portraits_place():
    seen: list[int] = []
    frames = [picture(50), picture(60), picture(0)]

    drawn = draw_skeletons(picture(10), frames, ShiftedPerson(), is_cross_reenactment=False, on_frame=seen.append)

    assert drawn.dtype == np.uint8
    # The first frame lies on the portrait (shift 10), the second 10 pixels further; in the third there is nobody.
    for image, shift in zip(drawn, (10, 20), strict=False):
        # A point at half a pixel may be rounded either way.
        assert (image != draw_pose(shifted(shift), 512, 512)).mean() < 1e-4
    assert not drawn[2].any()
    assert seen == [0, 1, 2]


def test_eyes_are_left_out_between_different_people():
    same, cross = (
        draw_skeletons(picture(10), [picture(10)], ShiftedPerson(), is_cross_reenactment=is_cross)
        for is_cross in (False, True)
    )

    assert (cross[0] != draw_pose(shifted(10).without_eyes(), 512, 512)).mean() < 1e-4
    assert (cross[0] != same[0]).mean() > 1e-4


@pytest.mark.parametrize(("portrait", "driver"), [(0, 10), (10, 0)])
def test_nobody_is_an_error(portrait, driver):
    with pytest.raises(FaceNotFoundError, match="nobody was detected"):
        draw_skeletons(picture(portrait), [picture(driver)], ShiftedPerson())


def test_drawing_on_demand_is_drawing_all_at_once():
    frames = [picture(50), picture(0), picture(60)]
    drawn = draw_skeletons(picture(10), frames, ShiftedPerson())
    portrait, poses = find_poses(picture(10), frames, ShiftedPerson())
    expected = np.stack([*draw_aligned(portrait, poses, 512, 512)])

    assert drawn.shape == expected.shape
    assert np.array_equal(np.stack([*drawn]), expected)
    assert np.array_equal(drawn[2], expected[2])
    with pytest.raises(IndexError):
        drawn[3]
    assert sum(tensor.nbytes for tensor in drawn.tensors().values()) / 3 < 3300
    again = Skeletons.from_tensors(drawn.tensors())
    assert np.array_equal(np.stack([*again]), expected)


def test_what_would_be_drawn_otherwise_has_another_hash():
    drawn = draw_skeletons(picture(10), [picture(50), picture(60)], ShiftedPerson())
    moved, hidden = np.add(drawn.points, (1, 0)), drawn.scores.copy()
    hidden[1] = 0
    others = [replace(drawn, points=moved), replace(drawn, scores=hidden), replace(drawn, width=520)]

    hashes = {hash_tensors(skeletons.tensors()) for skeletons in (drawn, *others)}
    assert len(hashes) == 4
    again = draw_skeletons(picture(10), [picture(50), picture(60)], ShiftedPerson())
    assert hash_tensors(again.tensors()) in hashes
