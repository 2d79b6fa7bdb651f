from __future__ import annotations

import numpy as np
import pytest
from drawn_faces import boxes_of, face

from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.faces.given import GivenFaces
from hunyuan_core.faces.tracking import track_faces

PICTURE = np.zeros((60, 100, 3), np.uint8)


def test_each_frame_gets_its_own_faces_and_one_without_is_filled() -> None:
    given = GivenFaces([[face(0, 0, 10, 20)], [], [face(0, 0, 5, 5), face(40, 0, 50, 20)]])

    track = track_faces([PICTURE] * 3, given)

    assert track.boxes.tolist() == [[0, 0, 10, 20], [20, 0, 30, 20], [40, 0, 50, 20]]
    assert track.filled_frames == [1]


def test_the_largest_comes_first() -> None:
    given = GivenFaces([[face(0, 0, 5, 5), face(40, 0, 60, 20), face(10, 0, 20, 10)]])

    assert boxes_of(given.detect(PICTURE)) == [[40, 0, 60, 20], [10, 0, 20, 10], [0, 0, 5, 5]]


def test_more_frames_than_faces_are_an_error() -> None:
    with pytest.raises(ShapeError, match="for 1 frames, but the video has more; find them again"):
        track_faces([PICTURE] * 2, GivenFaces([[face(0, 0, 10, 20)]]))


def test_a_box_outside_the_picture_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"\(200, 0, 210, 20\) lies outside the image of 100×60"):
        GivenFaces([[face(200, 0, 210, 20)]]).detect(PICTURE)
