from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from hunyuan_core.data import FaceTrack
from hunyuan_core.errors import MediaError
from hunyuan_core.faces.overlay import MAX_PICTURES, FaceSheet, evenly_spread

GREEN, ORANGE, RED = (80, 220, 100), (240, 160, 40), (255, 60, 60)


def still(count: int, filled: tuple[int, ...] = ()) -> FaceTrack:
    """The same face in every frame."""
    is_detected = np.ones(count, bool)
    is_detected[list(filled)] = False
    landmarks = np.array([[60, 60], [90, 60], [75, 75], [65, 90], [85, 90]], float)
    return FaceTrack(np.tile((40.0, 40, 110, 120), (count, 1)), np.tile(landmarks, (count, 1, 1)), is_detected)


def count(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == colour).all(axis=-1).sum())


@pytest.mark.parametrize("total", [1, 2, 15, 16, 17, 100, 5000])
def test_the_chosen_frames_are_spread_evenly_from_the_first_to_the_last(total: int) -> None:
    chosen = evenly_spread(total, MAX_PICTURES)

    assert chosen[0] == 0
    assert chosen[-1] == total - 1
    assert len(chosen) == min(total, MAX_PICTURES)
    gaps = [b - a for a, b in pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_single_picture_is_shown_in_its_own_size_with_box_and_landmarks() -> None:
    frame = np.full((200, 150, 3), 128, np.uint8)
    sheet = FaceSheet(1)

    (passed,) = sheet.watch([frame])
    drawn = sheet.draw(still(1))

    assert passed is frame
    assert (frame == 128).all()
    assert drawn.shape == frame.shape
    assert tuple(drawn[40, 75]) == tuple(drawn[120, 75]) == tuple(drawn[80, 40]) == tuple(drawn[80, 110]) == GREEN
    for x, y in still(1).landmarks[0].astype(int):
        assert tuple(drawn[y, x]) == RED


def test_a_filled_frame_is_orange_and_says_so() -> None:
    frame = np.full((200, 150, 3), 128, np.uint8)
    sheet = FaceSheet(1)
    list(sheet.watch([frame]))

    filled, found = sheet.draw(still(1, filled=(0,))), sheet.draw(still(1))

    assert count(found, ORANGE) == 0
    assert count(filled, GREEN) == 0
    assert tuple(filled[40, 75]) == ORANGE
    # Its label is longer than the number alone.
    assert count(filled[:30], (0, 0, 0)) > 2 * count(found[:30], (0, 0, 0))


def test_a_long_video_becomes_sixteen_small_pictures_and_no_frame_is_kept() -> None:
    passed = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(1000):
            frame = np.full((720, 1280, 3), number % 200 + 20, np.uint8)
            passed.append(weakref.ref(frame))
            yield frame

    sheet = FaceSheet(1000)
    for _frame in sheet.watch(frames()):
        assert sum(reference() is not None for reference in passed[-20:]) <= 2
    drawn = sheet.draw(still(1000))

    assert len(passed) == 1000
    assert drawn.shape == (4 * 180 + 3 * 4, 4 * 320 + 3 * 4, 3)
    # The middle of each tile's lower edge shows its frame's grey.
    levels = [int(drawn[row * 184 + 170, column * 324 + 200, 0]) for row in range(4) for column in range(4)]
    assert levels == [number % 200 + 20 for number in evenly_spread(1000, 16)]


def test_a_sheet_without_a_frame_is_an_error() -> None:
    with pytest.raises(MediaError, match="no frame to show; check the video"):
        FaceSheet(3).draw(still(3))
