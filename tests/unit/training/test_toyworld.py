"""The drawn world: its truth must be what the pictures show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hunyuan_core.data import LANDMARK_NAMES
from hunyuan_core.faces.crops import square_box
from hunyuan_core.training.toyworld import (
    IDENTITY_PARAMETERS,
    LANDMARK_GROUPS,
    MOTION_PARAMETERS,
    MOTION_RANGES,
    Identity,
    Painter,
    face,
    face_box,
    face_mask,
    face_track,
    identity_parameters,
    landmarks,
    random_identity,
    random_motion,
    render,
)
from hunyuan_core.training.toyworld.__main__ import main

SIZE = 128
LOW, HIGH = np.array(list(MOTION_RANGES.values())).T
RED, GREEN, BLUE = (255.0, 0.0, 0.0), (0.0, 255.0, 0.0), (0.0, 0.0, 255.0)


def person(seed: int = 0) -> Identity:
    return random_identity(np.random.default_rng(seed))


def motion(**parameters: float) -> np.ndarray:
    return np.array([parameters.get(name, 0.0) for name in MOTION_PARAMETERS], np.float32)


def any_motion(rng: np.random.Generator) -> np.ndarray:
    """Anything in the ranges, their ends often among it."""
    return np.where(rng.random(11) < 0.3, rng.choice([LOW, HIGH]), rng.uniform(LOW, HIGH)).astype(np.float32)


def part(name: str, points: np.ndarray) -> np.ndarray:
    return points[LANDMARK_GROUPS[name]]


def marked(identity: Identity) -> Identity:
    """The person with colours of one channel each, and nothing over them."""
    return replace(
        identity,
        skin=(0.0, 0.0, 0.0),
        hair=(0.0, 0.0, 0.0),
        iris=GREEN,
        lips=BLUE,
        clothes=(0.0, 0.0, 0.0),
        clothes_detail=(0.0, 0.0, 0.0),
        background=RED,
        background_detail=RED,
        background_style="gradient",
        hair_style="bald",
        has_glasses=False,
        has_beard=False,
        style="soft",
        ear_size=1e-3,
    )


def test_the_same_numbers_give_the_same_picture() -> None:
    rows = random_motion(np.random.default_rng(1), 3)
    painter = Painter(person(), SIZE)

    first = [painter.draw(row) for row in rows]

    assert first[0].shape == (SIZE, SIZE, 3)
    assert first[0].dtype == np.uint8
    assert not np.array_equal(first[0], first[2])
    for row, drawn in zip(rows, first, strict=True):
        np.testing.assert_array_equal(render(person(), row), drawn)


@pytest.mark.parametrize("seed", range(6))
def test_the_iris_and_the_mouth_are_where_the_landmarks_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = motion(yaw=rng.uniform(-20, 20), pitch=rng.uniform(-15, 15), roll=rng.uniform(-20, 20), translate_x=0.03)
    row[MOTION_PARAMETERS.index("gaze_x")] = rng.uniform(-0.5, 0.5)
    identity = replace(marked(person(seed)), eye_height=0.85)
    size = 512
    picture = render(identity, row, size).astype(int)
    points = landmarks(identity, row, size)

    green = (picture[..., 1] > 150) & (picture[..., 0] < 80) & (picture[..., 2] < 80)
    blue = (picture[..., 2] > 100) & (picture[..., 0] < 80) & (picture[..., 1] < 80)

    columns = np.arange(size)
    # An iris is a ring that the lids may cut, so its sides are measured and not its middle.
    for iris in part("irises", points):
        near = green & (np.hypot(columns - iris[0], columns[:, None] - iris[1]) < 0.06 * size)
        across = np.flatnonzero(near.any(0))
        assert (across[0] + across[-1] + 1) / 2 == pytest.approx(iris[0], abs=3)
    y, x = np.nonzero(blue)
    mouth = part("mouth", points)
    np.testing.assert_allclose(
        (x.min(), x.max() + 1, y.min(), y.max() + 1),
        (mouth[:, 0].min(), mouth[:, 0].max(), mouth[:, 1].min(), mouth[:, 1].max()),
        atol=4,
    )


def test_an_open_mouth_is_dark_inside_and_closed_eyes_show_skin() -> None:
    identity = replace(person(), has_glasses=False, light_strength=0.0)
    pictures = [render(identity, row, SIZE) for row in (motion(), motion(mouth_open=1, blink=1))]
    points = landmarks(identity, motion(mouth_open=1, blink=1), SIZE)
    middles = np.array([part("mouth", points)[[2, 6]].mean(0), *part("irises", points)]).astype(int)

    shown = np.array([picture[middles[:, 1], middles[:, 0]] for picture in pictures]).astype(float)

    assert shown[1, 0].max() < 80
    np.testing.assert_allclose(shown[1, 1:], [identity.skin] * 2, atol=3)
    assert (np.abs(shown[0, 1:] - identity.skin).max(1) > 40).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_and_the_box_are_those_of_the_head(seed: int) -> None:
    identity = replace(marked(person(seed)), iris=(0.0, 0.0, 0.0), light_strength=0.0)
    row = motion(yaw=20, roll=12, translate_y=-0.04)
    picture = render(identity, row, SIZE).astype(int)
    mask = face_mask(identity, row, SIZE)
    is_background = (picture[..., 0] > 127) & (picture[..., 1] < 60)
    x1, y1, x2, y2 = face_box(identity, row, SIZE)

    assert not (mask & is_background).sum() > 0.02 * mask.sum()
    rows, columns = np.nonzero(mask)
    np.testing.assert_allclose(
        (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), (x1, y1, x2, y2), atol=1.6
    )
    # Above the neck nothing but the head and its mask hides the background.
    above = np.arange(SIZE)[:, None] < (y1 + y2) / 2
    assert (~is_background & ~mask & above).sum() < 0.04 * mask.sum()


def test_the_mask_covers_the_face() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        identity, row = random_identity(rng), any_motion(rng)
        points = np.floor(landmarks(identity, row, SIZE)).astype(int)
        mask = face_mask(identity, row, SIZE)

        inner = np.concatenate([part(name, points) for name in ("left_eye", "right_eye", "irises", "nose")])
        assert mask[inner[:, 1], inner[:, 0]].all()
        # The mouth's corners may lie on the very edge.
        mouth = part("mouth", points)
        near = np.pad(mask, 1)
        assert all(near[y : y + 3, x : x + 3].any() for x, y in mouth)
        assert 0.25 < mask.mean() < 0.5


def test_the_animated_square_is_the_whole_picture() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        identity, row = random_identity(rng), any_motion(rng)
        box = face_box(identity, row, SIZE)

        assert square_box(box, SIZE, SIZE) == (0, 0, SIZE, SIZE)
        assert (np.array([0.5, 0.6]) * SIZE < box[2:] - box[:2]).all()
        assert (box[2:] - box[:2] < 0.78 * SIZE).all()


def test_the_five_landmarks_agree_with_the_many() -> None:
    row = motion(yaw=10, roll=-8, mouth_open=0.6)
    found, points = face(person(), row, SIZE), landmarks(person(), row, SIZE)
    five = dict(zip(LANDMARK_NAMES, found.landmarks, strict=True))
    mouth = part("mouth", points)

    np.testing.assert_allclose(five["nose"], part("nose", points)[0])
    np.testing.assert_allclose(five["left_mouth"], mouth[0])
    np.testing.assert_allclose(five["right_mouth"], mouth[4])
    for side in ("left", "right"):
        np.testing.assert_allclose(five[f"{side}_eye"], part(f"{side}_eye", points).mean(0), atol=1)
    assert five["left_eye"][0] < five["nose"][0] < five["right_eye"][0]
    np.testing.assert_allclose(found.box, face_box(person(), row, SIZE))


def test_a_track_is_the_faces_of_its_frames() -> None:
    rows = random_motion(np.random.default_rng(0), 5)
    track = face_track(person(), rows, SIZE)

    assert len(track) == 5
    assert track.filled_frames == []
    np.testing.assert_array_equal(track.boxes[3], face_box(person(), rows[3], SIZE))
    np.testing.assert_array_equal(track.landmarks[4], face(person(), rows[4], SIZE).landmarks)


def distance(points: np.ndarray, name: str, one: int, other: int) -> float:
    a, b = part(name, points)[[one, other]]
    return float(np.hypot(*(a - b)))


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("yaw", lambda p: part("nose", p)[0, 0] - part("jaw", p)[[0, 8], 0].mean()),
        ("pitch", lambda p: part("nose", p)[0, 1] - part("jaw", p)[4, 1]),
        ("roll", lambda p: np.subtract(*part("jaw", p)[[8, 0], 1])),
        ("translate_x", lambda p: part("jaw", p)[4, 0]),
        ("translate_y", lambda p: part("jaw", p)[4, 1]),
        ("gaze_x", lambda p: part("irises", p)[0, 0] - part("left_eye", p)[[0, 2], 0].mean()),
        ("gaze_y", lambda p: part("irises", p)[1, 1] - part("right_eye", p)[[0, 2], 1].mean()),
        ("blink", lambda p: -distance(p, "right_eye", 1, 3)),
        ("brow", lambda p: -part("left_brow", p)[1, 1] + part("left_eye", p)[[0, 2], 1].mean()),
        ("mouth_open", lambda p: distance(p, "mouth", 2, 6)),
        ("mouth_width", lambda p: distance(p, "mouth", 0, 4)),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_parameter_moves_what_it_names(name: str, measure: Callable[[np.ndarray], float], seed: int) -> None:
    # Travel from one end of the range to the other, in pixels of 128.
    low, high = MOTION_RANGES[name]
    values = [measure(landmarks(person(seed), motion(**{name: v}), SIZE)) for v in np.linspace(low, high, 7)]

    assert (np.diff(values) > 0).all()
    assert values[-1] - values[0] > 6


def test_parallax_grows_with_the_depth() -> None:
    rest, turned = (landmarks(person(), motion(yaw=yaw), SIZE) for yaw in (0, 20))
    shift = {name: float((part(name, turned) - part(name, rest))[:, 0].mean()) for name in ("nose", "irises", "jaw")}

    assert shift["nose"] > shift["irises"] + 1 > shift["jaw"] + 5


def test_every_parameter_can_be_read_from_the_picture() -> None:
    # Cramér and Rao: the least deviation, as a share of the range, with which pixels of noise 10/255 let one read each
    # parameter when all the others are unknown too.
    rng = np.random.default_rng(5)
    bounds = []
    for _ in range(8):
        painter = Painter(random_identity(rng), SIZE)
        row = LOW + (HIGH - LOW) * rng.uniform(0.1, 0.9, 11)
        row[MOTION_PARAMETERS.index("blink")] = rng.uniform(0, 0.4)
        steps = 0.05 * np.diag(HIGH - LOW)
        changes = [(painter.draw(row + step).astype(float) - painter.draw(row - step)).ravel() / 0.1 for step in steps]
        slopes = np.array(changes) / 10
        bounds.append(np.sqrt(np.diag(np.linalg.inv(slopes @ slopes.T))))

    assert np.max(bounds) < 0.02


def least_distance(rows: np.ndarray) -> float:
    """Between the two rows that are nearest to each other, root of the mean of squares."""
    square = (rows**2).sum(1)
    distances = square[:, None] + square - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    return float(np.sqrt(distances.min() / rows.shape[1]))


def test_identities_differ() -> None:
    rng = np.random.default_rng(7)
    people = [random_identity(rng) for _ in range(1000)]
    numbers = np.array([identity_parameters(identity) for identity in people], np.float64)
    pictures = np.array([render(identity, motion(), 32) for identity in people[:150]]).reshape(150, -1)

    assert numbers.shape == (1000, len(IDENTITY_PARAMETERS))
    assert (np.ptp(numbers, axis=0) > 0.1 * numbers.mean(0)).all()
    assert least_distance((numbers - numbers.mean(0)) / numbers.std(0)) > 0.2
    assert least_distance(pictures.astype(np.float64)) > 5  # levels of 255, even the most alike two
    for name in ("hair_style", "background_style", "clothes_style", "style", "has_glasses", "has_beard"):
        assert np.unique([asdict(identity)[name] for identity in people], return_counts=True)[1].min() > 30


def test_a_motion_is_smooth_and_in_range() -> None:
    rng = np.random.default_rng(8)
    for _ in range(50):
        rows = random_motion(rng, 60)

        assert rows.shape == (60, 11)
        assert rows.dtype == np.float32
        assert (rows >= LOW - 1e-6).all()
        assert (rows <= HIGH + 1e-6).all()
        slow = [MOTION_PARAMETERS.index(name) for name in ("yaw", "pitch", "roll", "translate_x", "translate_y")]
        assert (np.abs(np.diff(rows, axis=0)) <= 0.2 * (HIGH - LOW))[:, slow].all()


def test_motions_are_of_varied_intensity_and_some_are_still() -> None:
    rng = np.random.default_rng(9)
    travel = np.array([np.ptp(random_motion(rng, 25)[:, 0]) for _ in range(300)])

    assert 0.04 < (travel == 0).mean() < 0.2
    assert np.quantile(travel, 0.9) > 20
    assert 1 < np.quantile(travel, 0.3) < 12
    assert np.ptp(random_motion(rng, 25, intensity=0.0), axis=0).max() == 0


def test_a_faster_rate_shows_the_same_motion_in_smaller_steps() -> None:
    slow = random_motion(np.random.default_rng(4), 10, fps=12.5, intensity=1.0)
    fast = random_motion(np.random.default_rng(4), 19, fps=25.0, intensity=1.0)

    np.testing.assert_allclose(fast[::2], slow, atol=1e-5)


def test_the_contact_sheet_is_written(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"

    assert main(["--contact-sheet", str(path), "--people", "2", "--size", "24"]) is None

    with Image.open(path) as image:
        assert image.size == (12 * 24, 2 * 24)
    assert "suffix" in str(main(["--contact-sheet", str(tmp_path / "sheet.xyz"), "--people", "1", "--size", "24"]))
