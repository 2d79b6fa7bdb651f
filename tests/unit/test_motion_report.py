"""What is said and shown of an encoded motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hunyuan_core.data import Motion
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.motion_report import CropSheet, describe_motion


def motion(rotation: list[list[float]], head: tuple[int, ...], expression: tuple[int, ...]) -> Motion:
    count = len(rotation)
    return Motion(torch.zeros(count, 64, 64), head, expression, torch.tensor(rotation), torch.zeros(count, 3))


def test_every_chunk_is_reported_with_its_frames() -> None:
    text = describe_motion(motion([[0.0, 0, 0]] * 51, (3, 4, 0), (7, 8, 0)))

    assert text.splitlines() == [
        "51 frames of motion; intensities from 0 (still) to 127:",
        "frames 0-24: head 3, expression 7",
        "frames 25-49: head 4, expression 8",
        "frame 50: head 0, expression 0",
        "head rotation in degrees, its three angles: 0.0 to 0.0, 0.0 to 0.0, 0.0 to 0.0",
    ]


def test_a_head_that_turns_past_180_degrees_turns_a_little() -> None:
    text = describe_motion(motion([[179.0, -5.25, 0], [-179.0, 10, 0]], (3,), (7,)))

    assert text.endswith(": 179.0 to 181.0, -5.2 to 10.0, 0.0 to 0.0")


def crop(shade: int) -> np.ndarray:
    return np.full((64, 64, 3), shade, np.uint8)


@pytest.mark.parametrize(
    ("num_frames", "shown", "grid"), [(1, [0], (1, 1)), (5, [0, 1, 2, 3, 4], (2, 3)), (61, range(0, 61, 4), (4, 4))]
)
def test_the_sheet_shows_up_to_16_crops(num_frames: int, shown: list[int], grid: tuple[int, int]) -> None:
    sheet = CropSheet(num_frames)
    for number in range(num_frames):
        sheet(number, crop(100 + number))

    drawn = sheet.draw()

    rows, columns = grid
    assert drawn.shape == (rows * 68 - 4, columns * 68 - 4, 3)
    # The lower right corner of a tile is free of its label.
    corners = [drawn[i // columns * 68 + 63, i % columns * 68 + 63, 0] - 100 for i in range(len(shown))]
    assert corners == list(shown)


def test_a_sheet_without_crops() -> None:
    with pytest.raises(ConfigurationError, match="encode a video first"):
        CropSheet(3).draw()
