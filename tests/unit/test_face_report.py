from __future__ import annotations

import re

import numpy as np
import pytest

from hunyuan_core.data import FaceTrack
from hunyuan_core.faces.report import describe_track, frame_ranges


def track(boxes: list[tuple[int, int, int, int]], filled: tuple[int, ...] = ()) -> FaceTrack:
    is_detected = np.ones(len(boxes), bool)
    is_detected[list(filled)] = False
    return FaceTrack(np.array(boxes, float), np.zeros((len(boxes), 5, 2)), is_detected)


def at(x: int, y: int = 200, size: int = 120) -> tuple[int, int, int, int]:
    return x, y, x + size, y + size + 20


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([4, 5], "4-5"),
        ([0, 2, 3, 4, 9], "0, 2-4, 9"),
        (list(range(0, 40, 2)), ", ".join(str(n) for n in range(0, 40, 2))),
        (list(range(0, 42, 2)), ", ".join(str(n) for n in range(0, 40, 2)) + ", …"),
    ],
)
def test_ranges_of_frames(numbers: list[int], text: str) -> None:
    assert frame_ranges(numbers) == text


def test_the_report_of_a_quiet_track() -> None:
    boxes = [at(200), at(201), at(202, size=110), at(203, size=100)]

    report = describe_track(track(boxes, filled=(1, 2)), 600, 800)

    assert report.splitlines() == [
        "frames: 4 of 800×600 pixels",
        "2 without a face, filled from their neighbours: 1-2",
        "face size (shorter side) in pixels: smallest 100, median 115, largest 120",
    ]


@pytest.mark.parametrize(
    ("boxes", "warnings"),
    [
        ([at(200, size=95)], ["the face is small"]),
        ([at(200, size=96)], []),
        # The square around a face of 120 pixels at 200 reaches from 70 to 450.
        ([at(200), at(300), at(380)], []),
        ([at(200), at(300), at(400)], ["leaves the square"]),
        ([at(200), at(315)], []),
        ([at(200), at(350), at(230)], ["jumps at 1"]),
        ([at(200), at(500), at(200)], ["leaves the square .* in 1;", "jumps at 1-2"]),
    ],
)
def test_what_will_hurt_is_said(boxes: list[tuple[int, int, int, int]], warnings: list[str]) -> None:
    lines = [line for line in describe_track(track(boxes), 600, 800).splitlines() if line.startswith("Warning:")]

    assert len(lines) == len(warnings)
    for line, warning in zip(lines, warnings, strict=True):
        assert re.search(warning, line)
