from __future__ import annotations

import numpy as np
import pytest

from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.faces.intensity import chunk_intensities, motion_intensity

# Its bounding box about the nose is 60 by 80, so the face's scale is 100.
FACE = np.array([[-30, -40], [30, -40], [0, 0], [-20, 40], [20, 40]], float)


def nodding(*offsets: float) -> np.ndarray:
    """The whole face moves sideways."""
    return np.stack([np.add(FACE, (offset, 0)) for offset in offsets])


def talking(*offsets: float) -> np.ndarray:
    """The right corner of the mouth moves sideways, within the face."""
    frames = np.stack([FACE] * len(offsets))
    frames[:, 4, 0] -= offsets
    return frames


def test_the_head_is_measured_by_its_nose() -> None:
    # Offsets 0 and 10: 5 from their mean, 0.05 of the face; times 256 is 12.8.
    assert motion_intensity(nodding(0, 10)) == (12, 0)


def test_the_expression_is_measured_about_the_nose() -> None:
    # One point of five is 5 from its mean: on average 1, 0.01 of the face; times 1024 is 10.24.
    assert motion_intensity(talking(0, 10)) == (0, 10)


def test_the_papers_formula_is_the_root_mean_square_in_64_levels() -> None:
    # Head: offsets 0, 0, 12 have the mean 4, so sqrt((16 + 16 + 64) / 3) = 5.657; times 128 / 100 is 7.24.
    assert motion_intensity(nodding(0, 0, 12), levels=64, statistic="rms") == (7, 0)
    # Expression: sqrt(25 / 5) = 2.236 in each frame; times 512 / 100 is 11.45.
    assert motion_intensity(talking(0, 10), levels=64, statistic="rms") == (0, 11)
    # The mean over the points comes under the root, the mean over the frames outside: (4 + 4 + 8) / 3 / sqrt(5).
    assert motion_intensity(talking(0, 0, 12), levels=64, statistic="rms") == (0, 12)


def test_strong_motion_falls_into_the_last_bucket() -> None:
    moved = nodding(0, 1000)
    moved[1, 4] += 900

    assert motion_intensity(moved) == (127, 127)
    assert motion_intensity(moved, levels=64) == (63, 63)


def test_ranges_are_parameters() -> None:
    assert motion_intensity(nodding(0, 10), head_range=0.1) == (64, 0)
    assert motion_intensity(talking(0, 10), expression_range=0.02) == (0, 64)


def test_the_size_of_the_face_is_the_first_frames() -> None:
    frames = nodding(0, 10)
    frames[1] = frames[1, 2] + (frames[1] - frames[1, 2]) * 3

    assert motion_intensity(frames)[0] == 12
    assert motion_intensity(frames[::-1])[0] == 4


@pytest.mark.parametrize("landmarks", [FACE[None], np.ones((4, 5, 2)), np.zeros((1, 5, 2))])
def test_one_frame_or_a_face_without_extent_does_not_move(landmarks: np.ndarray) -> None:
    assert motion_intensity(landmarks) == (0, 0)


def test_a_video_is_measured_in_chunks_of_which_the_last_is_short() -> None:
    video = np.concatenate([nodding(*[0, 10] * 2), nodding(*[0, 0] * 2), talking(0, 10)])

    assert chunk_intensities(video, chunk=4) == [(12, 0), (0, 0), (0, 10)]
    assert len(chunk_intensities(nodding(*range(51)))) == 3
    assert chunk_intensities(nodding(0, 10), levels=64, statistic="rms") == [(6, 0)]


@pytest.mark.parametrize("shape", [(0, 5, 2), (5, 2), (3, 2, 2), (3, 5, 3)])
def test_another_shape_is_refused(shape: tuple) -> None:
    with pytest.raises(ShapeError, match="landmarks"):
        motion_intensity(np.ones(shape))


def test_a_landmark_that_is_no_number_is_named_by_its_frame() -> None:
    frames = nodding(0, 1, 2)
    frames[1, 3, 0] = np.nan

    with pytest.raises(ConfigurationError, match="frame 1"):
        motion_intensity(frames)


@pytest.mark.parametrize(
    "options", [{"levels": 0}, {"statistic": "median"}, {"head_range": 0.0}, {"expression_range": float("nan")}]
)
def test_options_out_of_range(options: dict) -> None:
    with pytest.raises(ConfigurationError):
        motion_intensity(nodding(0, 1), **options)


def test_a_chunk_has_frames() -> None:
    with pytest.raises(ConfigurationError, match="chunk"):
        chunk_intensities(nodding(0, 1), chunk=0)
