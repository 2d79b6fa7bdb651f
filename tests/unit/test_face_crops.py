from __future__ import annotations

import numpy as np
import pytest
import torch

from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.faces.crops import (
    ARCFACE_TEMPLATE,
    arcface_crop,
    head_pose_crop,
    image_encoder_input,
    motion_crop,
    reference_crop,
    square_box,
    to_crop,
)

LANDMARKS = np.array([[20, 20], [40, 20], [30, 30], [24, 40], [36, 40]], float)


def ramp(height: int, width: int) -> np.ndarray:
    """Red grows by 2 a pixel to the right, green by 2 downwards, blue is 7."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([2 * x, 2 * y, np.full_like(x, 7)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "size", "square"),
    [
        ((40, 40, 60, 60), (200, 200), (20, 20, 80, 80)),
        ((40, 40, 60, 70), (200, 200), (20, 25, 80, 85)),  # higher than wide: centred on the face
        ((0, 0, 20, 40), (100, 200), (0, 0, 40, 40)),  # at the edge: moved up by half the difference
        ((-30, 10, 40, 90), (100, 100), (0, 0, 100, 100)),
        ((1, 1, 7, 7), (8, 8), (0, 0, 8, 8)),
    ],
)
def test_square(box: tuple, size: tuple, square: tuple) -> None:
    assert square_box(box, *size) == square


def test_growth_is_a_parameter() -> None:
    assert square_box((40, 40, 60, 60), 200, 200, growth=0.5) == (30, 30, 70, 70)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((600, 10, 700, 100), r"\(600, 10, 700, 100\) lies outside the image of 300×200 pixels"),
        ((10, -50, 20, 0), "lies outside"),
        ((10, 10, 10, 50), "no area"),
        ((10, 10, float("nan"), 50), "four finite numbers"),
        ((10, 10, 50), "four finite numbers"),
        ((10.2, 10.2, 10.3, 10.3), "smaller than a pixel"),
    ],
)
def test_a_box_that_cannot_be_cut_is_named(box: tuple, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        reference_crop(ramp(200, 300), box)


def test_the_reference_is_the_square_resized() -> None:
    crop = reference_crop(ramp(100, 120), (40, 40, 60, 60), size=60)

    assert crop.dtype == np.uint8
    np.testing.assert_array_equal(crop, ramp(100, 120)[20:80, 20:80])
    assert reference_crop(ramp(100, 120), (40, 40, 60, 60)).shape == (512, 512, 3)


def test_a_portrait_of_eight_pixels_and_a_huge_one() -> None:
    assert reference_crop(ramp(8, 8), (1, 1, 7, 7)).shape == (512, 512, 3)
    huge = np.zeros((10000, 10000, 3), np.uint8)
    assert reference_crop(huge, (2000, 2000, 5000, 6000)).shape == (512, 512, 3)


@pytest.mark.parametrize("crop", [reference_crop, lambda *a, size: head_pose_crop(*a, size=size, reference_size=size)])
def test_large_crops_are_resized_bicubically(crop) -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    image[:, 10] = 200

    row = crop(image, (0, 0, 20, 20), size=40)[20, :, 0]

    # The kernel with a = -1/2 at distances 1/4, 3/4, 5/4, 7/4: 0.867, 0.227, -0.070, -0.023.
    assert row[21:26].tolist() == [187, 123, 93, 98, 100]
    assert row[16:21].tolist() == [100, 98, 93, 123, 187]


def test_points_move_into_the_crop() -> None:
    assert to_crop(LANDMARKS, (20, 10, 60, 50), size=80)[:2].tolist() == [[0, 20], [40, 20]]
    # A square whose sides differ by a pixel is resized by two ratios.
    assert to_crop([[10, 10]], (0, 0, 20, 40), size=40).tolist() == [[20, 10]]


def test_the_head_pose_crop_is_cut_to_the_given_square() -> None:
    crop = head_pose_crop(ramp(100, 120), (20, 30, 80, 90), size=60, reference_size=60)

    np.testing.assert_array_equal(crop, ramp(100, 120)[30:90, 20:80])
    assert head_pose_crop(ramp(100, 120), (20, 30, 80, 90)).shape == (256, 256, 3)


def test_the_motion_crop_lies_between_landmarks_and_first_box() -> None:
    # Landmarks span (20, 20)-(40, 40); half way to the box is (10, 12)-(60, 50): centre (35, 31), half side 25.
    crop = motion_crop(ramp(100, 120), LANDMARKS, (0, 4, 80, 60), size=50, towards_box=0.5)

    np.testing.assert_array_equal(crop, ramp(100, 120)[6:56, 10:60])
    assert motion_crop(ramp(100, 120), LANDMARKS, (0, 4, 80, 60)).shape == (256, 256, 3)


def test_the_motion_crop_is_black_outside_the_frame() -> None:
    # Half way to the box is (0, 10)-(60, 60): centre (30, 35), half side 30, so five rows below leave the frame.
    crop = motion_crop(ramp(60, 100), LANDMARKS, (-20, 0, 80, 80), size=60, towards_box=0.5)

    np.testing.assert_array_equal(crop[:55], ramp(60, 100)[5:60, :60])
    assert crop[55:].max() == 0


def test_a_motion_crop_wholly_outside_the_frame_is_black() -> None:
    for shift in ((900, 0), (0, 900), (-900, 0), (0, -900)):
        assert motion_crop(ramp(60, 100), LANDMARKS + shift, (10, 10, 50, 50)).max() == 0


@pytest.mark.parametrize(
    ("landmarks", "box", "message"),
    [
        (np.full((5, 2), np.nan), (0, 0, 50, 50), "five finite points"),
        (LANDMARKS[:4], (0, 0, 50, 50), "five finite points"),
        (LANDMARKS / 1000, (0, 0, 1, 1), "less than two pixels"),
        (LANDMARKS, (200, 0, 250, 50), "lies outside"),
    ],
)
def test_a_motion_crop_that_cannot_be_cut(landmarks: np.ndarray, box: tuple, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        motion_crop(ramp(100, 120), landmarks, box)


def test_arcface_sees_a_face_that_lies_on_the_template_as_it_is() -> None:
    image = ramp(112, 112)

    crop = arcface_crop(image, ARCFACE_TEMPLATE)

    assert crop.dtype == np.float32
    np.testing.assert_allclose(crop, image / np.float32(255), rtol=0, atol=1e-6)


def test_arcface_sees_a_turned_and_enlarged_face_upright() -> None:
    # A quarter turn clockwise, twice the size, moved: (x, y) -> (300 - 2y, 10 + 2x).
    landmarks = np.stack([300 - 2 * ARCFACE_TEMPLATE[:, 1], 10 + 2 * ARCFACE_TEMPLATE[:, 0]], axis=1)
    y, x = np.mgrid[0:320, 0:320]
    image = np.stack([(x + y) // 4, x // 4, y // 2], axis=-1).astype(np.uint8)

    crop = arcface_crop(image, landmarks)

    rows, columns = np.mgrid[0:112, 0:112]
    np.testing.assert_array_equal(np.round(crop * 255), image[10 + 2 * columns, 300 - 2 * rows])


def test_arcface_is_black_outside_the_reference() -> None:
    crop = arcface_crop(np.full((112, 112, 3), 255, np.uint8), np.add(ARCFACE_TEMPLATE, (50, 0)))

    assert crop[:, :60].min() == pytest.approx(1)
    assert crop[:, 63:].max() == 0


def test_arcface_fits_landmarks_in_least_squares() -> None:
    generator = np.random.default_rng(0)
    landmarks = ARCFACE_TEMPLATE * 2 + generator.normal(0, 4, (5, 2))
    # The same fit as a linear problem in (a, b, tx, ty): x' = ax - by + tx, y' = bx + ay + ty.
    x, y = landmarks.T
    one, zero = np.ones(5), np.zeros(5)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(system, ARCFACE_TEMPLATE.T.ravel(), rcond=None)[0]
    inverse = np.linalg.inv([[a, -b], [b, a]])
    position = inverse @ (np.array([40, 60]) - (tx, ty))
    reference = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0).repeat(3, axis=2)

    assert arcface_crop(reference, landmarks)[60, 40, 0] * 255 == pytest.approx(position[0], abs=1e-4)


def test_landmarks_that_are_one_point_cannot_be_aligned() -> None:
    with pytest.raises(ConfigurationError, match="same point"):
        arcface_crop(ramp(100, 100), np.ones((5, 2)))


def test_the_image_encoder_gets_normalised_colours() -> None:
    image = np.zeros((512, 512, 3), np.uint8)
    image[...] = (255, 0, 51)

    tensor = image_encoder_input(image)

    assert tensor.shape == (1, 3, 224, 224)
    assert tensor.dtype == torch.float32
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(tensor[0, :, 100, 100], expected)


@pytest.mark.parametrize("function", [image_encoder_input, lambda image: reference_crop(image, (0, 0, 2, 2))])
def test_only_rgb_bytes_are_cut(function) -> None:
    with pytest.raises(ShapeError, match="uint8"):
        function(np.zeros((4, 4, 3), np.float32))


def test_a_square_without_area_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(5, 5, 5, 9\)"):
        head_pose_crop(ramp(20, 20), (5, 5, 5, 9))
