from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from drawn_faces import RectangleDetector, face, picture

from hunyuan_core.data import FaceTrack
from hunyuan_core.errors import ConfigurationError, FaceNotFoundError, MediaError
from hunyuan_core.faces.detection import FaceChoice
from hunyuan_core.faces.manual import ManualDetector
from hunyuan_core.faces.tracking import smooth_track, track_faces

DETECTOR = RectangleDetector()


def at(x: int, y: int = 10, size: int = 20) -> tuple[int, int, int, int]:
    return (x, y, x + size, y + size)


def test_every_frame_has_its_own_face() -> None:
    track = track_faces([picture(at(x)) for x in (0, 7, 30)], DETECTOR)

    assert track.boxes.tolist() == [[0, 10, 20, 30], [7, 10, 27, 30], [30, 10, 50, 30]]
    assert track.landmarks.shape == (3, 5, 2)
    np.testing.assert_array_equal(track.landmarks[1], face(*at(7)).landmarks)
    assert track.filled_frames == []


def test_a_gap_is_interpolated_and_the_ends_are_held() -> None:
    nothing = picture()
    frames = [nothing, picture(at(0)), nothing, nothing, picture(at(30, size=26)), nothing, nothing]

    track = track_faces(frames, DETECTOR)

    assert len(track) == 7
    assert track.filled_frames == [0, 2, 3, 5, 6]
    np.testing.assert_allclose(
        track.boxes,
        [[0, 10, 20, 30]] * 2 + [[10, 10, 32, 32], [20, 10, 44, 34]] + [[30, 10, 56, 36]] * 3,
        rtol=0,
        atol=1e-12,
    )
    first, last = face(*at(0)).landmarks, face(*at(30, size=26)).landmarks
    np.testing.assert_allclose(track.landmarks[0], first)
    np.testing.assert_allclose(track.landmarks[2], first + (last - first) / 3)
    np.testing.assert_allclose(track.landmarks[6], last)


def test_the_largest_face_is_taken_frame_by_frame_as_released() -> None:
    frames = [picture(at(0, size=20), at(60, size=16)), picture(at(0, size=20), at(60, size=24))]

    assert track_faces(frames, DETECTOR).boxes[:, 0].tolist() == [0, 60]


@pytest.mark.parametrize("choice", [FaceChoice(index=0), FaceChoice(position=(5, 15))])
def test_a_chosen_face_is_followed_when_it_crosses_a_larger_one(choice: FaceChoice) -> None:
    # The second face is larger and walks to the left end, where the index and the position point.
    frames = [
        picture(at(0, 0, 14), at(60, 30, 28)),
        picture(at(12, 0, 14), at(40, 30, 28)),
        picture(at(24, 0, 14), at(10, 30, 28)),
        picture(at(36, 0, 14), at(0, 30, 28)),
    ]

    track = track_faces(frames, DETECTOR, choice)

    assert track.boxes[:, 0].tolist() == [0, 12, 24, 36]
    assert track.boxes[:, 1].tolist() == [0, 0, 0, 0]


def test_a_followed_face_that_is_hidden_is_not_replaced_by_one_far_away() -> None:
    both, alone = picture(at(0, 0, 10), at(70, 0, 20)), picture((0, 0, 0, 0), at(70, 0, 20))

    track = track_faces([both, alone, alone, both], DETECTOR, FaceChoice(index=0))

    assert track.filled_frames == [1, 2]
    assert track.boxes[:, 0].tolist() == [0, 0, 0, 0]


def test_a_followed_face_that_is_hidden_for_long_is_not_replaced_by_its_neighbour() -> None:
    both, alone = picture(at(0), at(30)), picture((0, 0, 0, 0), at(33))

    track = track_faces([both, *[alone] * 8, both], DETECTOR, FaceChoice(index=0))

    assert track.filled_frames == [1, 2, 3, 4, 5, 6, 7, 8]
    assert track.boxes[:, 0].tolist() == [0] * 10


def test_a_followed_face_may_move_on_while_it_is_hidden() -> None:
    frames = [picture(at(0, 0, 10)), picture(), picture(), picture(at(25, 0, 10))]

    track = track_faces(frames, DETECTOR, FaceChoice(index=0))

    assert track.filled_frames == [1, 2]
    assert track.boxes[3].tolist() == [25, 0, 35, 10]


def test_the_choice_waits_for_the_first_frame_that_has_the_face() -> None:
    frames = [picture(at(0)), picture(at(0), at(60))]

    track = track_faces(frames, DETECTOR, FaceChoice(index=1))

    assert track.filled_frames == [0]
    assert track.boxes[:, 0].tolist() == [60, 60]


def test_progress_is_told_and_frames_are_read_a_few_at_a_time() -> None:
    seen: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for i in range(20):
            assert i - len(seen) <= 2
            yield picture(at(i))

    track_faces(frames(), DETECTOR, on_frame=seen.append)

    assert seen == list(range(20))


def test_a_face_by_hand_is_the_same_in_every_frame() -> None:
    track = track_faces([picture(), picture()], ManualDetector(box=(10, 10, 40, 50)))

    assert track.boxes.tolist() == [[10, 10, 40, 50]] * 2
    assert track.filled_frames == []


def test_no_face_at_all_is_an_error_that_says_so() -> None:
    with pytest.raises(FaceNotFoundError, match=r"any of the 3 frames.*another detector.*by hand"):
        track_faces([picture()] * 3, DETECTOR)


def test_an_index_that_no_frame_reaches_names_how_many_there_are() -> None:
    with pytest.raises(FaceNotFoundError, match=r"index 2; at most 2 were found"):
        track_faces([picture(at(0)), picture(at(0), at(60))], DETECTOR, FaceChoice(index=2))


def test_no_frames_at_all_is_a_media_error() -> None:
    with pytest.raises(MediaError, match="no frames"):
        track_faces([], DETECTOR)


def a_track(*values: float) -> FaceTrack:
    column = np.array(values)
    return FaceTrack(
        np.repeat(column[:, None], 4, axis=1),
        np.repeat(column[:, None], 10, axis=1).reshape(-1, 5, 2),
        np.array([True] * (len(values) - 1) + [False]),
    )


def test_smoothing_averages_over_the_window_and_repeats_the_ends() -> None:
    smooth = smooth_track(a_track(0, 9, 0, 3, 6), window=3)

    assert smooth.boxes[:, 0].tolist() == [3, 3, 4, 3, 5]
    assert smooth.landmarks[:, 4, 1].tolist() == [3, 3, 4, 3, 5]
    assert smooth.filled_frames == [4]


def test_smoothing_over_one_frame_changes_nothing_and_over_more_than_all_works() -> None:
    assert smooth_track(a_track(0, 9, 0), window=1).boxes[:, 0].tolist() == [0, 9, 0]
    assert smooth_track(a_track(2, 2), window=9).boxes[:, 0].tolist() == [2, 2]


@pytest.mark.parametrize("window", [0, -1, 4])
def test_a_window_without_a_centre_is_refused(window: int) -> None:
    with pytest.raises(ConfigurationError, match="odd"):
        smooth_track(a_track(0, 1), window)
