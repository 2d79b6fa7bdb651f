from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hunyuan_core.data import Face
from hunyuan_core.faces.crops import ARCFACE_TEMPLATE, arcface_similarity, reference_crop, square_box, to_crop
from hunyuan_core.faces.detection import FaceChoice, select_face
from hunyuan_core.faces.intensity import motion_intensity
from hunyuan_core.faces.manual import box_around, landmarks_in_box
from hunyuan_core.faces.tracking import track_faces


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


def eighths(low: int, high: int) -> st.SearchStrategy[float]:
    """Multiples of 1/8, which scale and square without rounding."""
    return st.integers(8 * low, 8 * high).map(lambda value: value / 8)


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """A box of at least two pixels that shares at least a pixel with its image, and the image's height and width."""
    height, width = draw(st.integers(2, 3000)), draw(st.integers(2, 3000))
    x1, y1 = draw(numbers(-width, width - 1)), draw(numbers(-height, height - 1))
    x2 = draw(numbers(max(x1 + 2, 1), x1 + 2 * width + 2))
    y2 = draw(numbers(max(y1 + 2, 1), y1 + 2 * height + 2))
    return np.array([x1, y1, x2, y2]), height, width


@st.composite
def faces(draw: st.DrawFn) -> Face:
    x, y, width, height = (draw(numbers(low, 500)) for low in (0, 0, 1, 1))
    return Face(np.array([x, y, x + width, y + height]), np.zeros((5, 2)))


motions = arrays.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(5), st.just(2)), elements=eighths(-100, 100))


@given(boxes_in_images())
def test_the_square_lies_in_the_image_and_is_square(case: tuple[np.ndarray, int, int]) -> None:
    box, height, width = case
    x1, y1, x2, y2 = square_box(box, height, width)

    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert abs((x2 - x1) - (y2 - y1)) <= 1


@given(boxes_in_images())
def test_the_square_is_the_largest_of_the_grown_box(case: tuple[np.ndarray, int, int]) -> None:
    box, height, width = case
    x1, y1, x2, y2 = square_box(box, height, width)
    size = box[2:] - box[:2]
    low, high = np.maximum(box[:2] - size, 0), np.minimum(box[2:] + size, (width, height))

    assert abs((x2 - x1) - min(high - low)) <= 1
    assert np.all(np.array([x1, y1]) >= low - 0.5)
    assert np.all(np.array([x2, y2]) <= high + 0.5)


@given(numbers(0, 900), numbers(0, 900), numbers(4, 100), numbers(0.5, 2))
def test_the_square_holds_a_face_that_fits_into_it(x: float, y: float, width: float, aspect: float) -> None:
    box = np.array([x, y, x + width, y + aspect * width])
    x1, y1, x2, y2 = square_box(box, 1200, 1200)

    # Within the rounding of the corners; a box of up to 1 : 2 grows to a square that is at least 1.5 times as large.
    assert x1 - 0.5 <= box[0]
    assert y1 - 0.5 <= box[1]
    assert x2 + 0.5 >= box[2]
    assert y2 + 0.5 >= box[3]


@given(boxes_in_images(), arrays.arrays(np.float64, (5, 2), elements=numbers(-5000, 5000)), st.integers(8, 1024))
def test_points_move_into_the_crop_and_back(case: tuple[np.ndarray, int, int], points: np.ndarray, size: int) -> None:
    square = square_box(*case)
    moved = to_crop(points, square, size)
    low, high = np.array(square[:2]), np.array(square[2:])

    np.testing.assert_allclose(moved / size * (high - low) + low, points, rtol=0, atol=1e-8)
    np.testing.assert_allclose(to_crop([low, high], square, size), [[0, 0], [size, size]], rtol=0, atol=1e-9)


@given(st.integers(16, 60), st.integers(16, 60), st.data())
def test_a_pixel_is_found_where_its_point_was_moved(height: int, width: int, data: st.DataObject) -> None:
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    x1, y1, x2, y2 = square = square_box(box, height, width)
    x, y = data.draw(st.integers(x1, x2 - 1)), data.draw(st.integers(y1, y2 - 1))
    image = np.zeros((height, width, 3), np.uint8)
    image[y, x] = 255

    crop = reference_crop(image, box, 256)[..., 0].astype(float)

    rows, columns = np.nonzero(crop == crop.max())
    centre = to_crop([[x + 0.5, y + 0.5]], square, 256)[0]
    assert np.abs((columns.mean() + 0.5, rows.mean() + 0.5) - centre).max() <= 256 / (x2 - x1)


@given(motions, numbers(-1000, 1000), numbers(-1000, 1000))
def test_intensity_does_not_change_when_all_moves(landmarks: np.ndarray, x: float, y: float) -> None:
    found, moved = motion_intensity(landmarks), motion_intensity(np.add(landmarks, (x, y)))

    assume(np.linalg.norm(np.ptp(landmarks[0], axis=0)) > 1)
    # Rounding may tip a value over the edge between two buckets.
    assert np.abs(np.subtract(found, moved)).max() <= 1


@given(motions, st.sampled_from([0.25, 0.5, 2, 64]), st.booleans())
def test_intensity_does_not_change_with_scale(landmarks: np.ndarray, scale: float, is_paper: bool) -> None:
    statistic = "rms" if is_paper else "mean"
    # Powers of two are exact, so the buckets are too.
    assert motion_intensity(landmarks, statistic=statistic) == motion_intensity(landmarks * scale, statistic=statistic)


@given(motions, st.integers(1, 200))
def test_intensities_are_buckets(landmarks: np.ndarray, levels: int) -> None:
    assert all(0 <= bucket < levels for bucket in motion_intensity(landmarks, levels=levels))


@given(motions)
def test_the_root_mean_square_is_never_less_than_the_mean(landmarks: np.ndarray) -> None:
    mean, rms = motion_intensity(landmarks), motion_intensity(landmarks, statistic="rms")

    assert rms[0] >= mean[0] - 1
    assert rms[1] >= mean[1] - 1


@given(st.lists(faces(), min_size=1, max_size=6), st.randoms())
def test_the_choice_does_not_depend_on_the_order_of_detection(found: list[Face], random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    areas = [np.prod(face.box[2:] - face.box[:2]) for face in found]
    largest = select_face(shuffled)

    assert np.prod(largest.box[2:] - largest.box[:2]) == max(areas)
    row = [select_face(shuffled, FaceChoice(index=i)) for i in range(len(found))]
    assert {id(face) for face in row} == {id(face) for face in found}
    centres = [face.box[0] + face.box[2] for face in row]
    assert centres == sorted(centres)


@given(st.lists(faces(), min_size=1, max_size=6), numbers(0, 1), numbers(0, 1))
def test_a_position_in_some_box_chooses_a_face_whose_box_holds_it(found: list[Face], right: float, down: float) -> None:
    low, high = found[0].box[:2], found[0].box[2:]
    point = np.clip(low + (right, down) * (high - low), low, high)

    chosen = select_face(found[::-1], FaceChoice(position=tuple(point)))

    assert np.all(chosen.box[:2] <= point)
    assert np.all(point <= chosen.box[2:])


@given(st.lists(st.one_of(st.none(), faces()), min_size=1, max_size=20))
def test_a_track_keeps_what_was_found_and_fills_between_it(found: list[Face | None]) -> None:
    assume(any(found))
    answers = iter([[] if face is None else [face] for face in found])

    class Scripted:
        def detect(self, image: np.ndarray) -> list[Face]:
            return next(answers)

    track = track_faces([np.zeros((1, 1, 3), np.uint8)] * len(found), Scripted())

    assert len(track) == len(found)
    assert track.filled_frames == [i for i, face in enumerate(found) if face is None]
    known = np.stack([face.box for face in found if face is not None])
    for box, face in zip(track.boxes, found, strict=True):
        if face is not None:
            np.testing.assert_array_equal(box, face.box)
        assert np.all(box >= known.min(axis=0) - 1e-9)
        assert np.all(box <= known.max(axis=0) + 1e-9)


@given(numbers(-100, 100), numbers(-100, 100), numbers(10, 1000))
def test_a_box_of_usual_proportions_gives_landmarks_that_give_it_back(x: float, y: float, height: float) -> None:
    box = np.array([x, y, x + 0.75 * height, y + height])

    np.testing.assert_allclose(box_around(landmarks_in_box(box)), box, rtol=0, atol=1e-7)


@given(numbers(0, 100), numbers(0, 100), numbers(1, 1000), numbers(1, 1000))
def test_landmarks_lie_inside_their_box(x: float, y: float, width: float, height: float) -> None:
    points = landmarks_in_box(np.array([x, y, x + width, y + height]))

    assert np.all(points > (x, y))
    assert np.all(points < (x + width, y + height))


@pytest.mark.filterwarnings("error")
@given(arrays.arrays(np.float64, (5, 2), elements=numbers(0, 500)))
def test_alignment_is_the_best_of_its_neighbours(landmarks: np.ndarray) -> None:
    assume(np.ptp(landmarks, axis=0).max() > 1)
    points, template = (array @ (1, 1j) for array in (landmarks, ARCFACE_TEMPLATE))
    centred = points - points.mean()
    assume(abs(np.vdot(centred, template)) > 1)
    turn, shift = arcface_similarity(landmarks)

    def error(turn: complex, shift: complex) -> float:
        return float(np.sum(np.abs(turn * points + shift - template) ** 2))

    best = error(turn, shift)
    for step in (1e-2, -1e-2, 1e-2j, -1e-2j):
        assert error(turn * (1 + step), shift) >= best - 1e-6
        assert error(turn, shift + step) >= best - 1e-6
