from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from hunyuan_core.errors import MissingDependencyError
from hunyuan_core.evaluation import METRICS, Measurement, Report, plot

WORST_RED = (209, 36, 47)


def report(**series: list[float | None]) -> Report:
    measurements = {name: Measurement(name, tuple(values)) for name, values in series.items()}
    missing = {name: "needs a face detector." for name in METRICS if name not in series}
    return Report(4, 512, 640, measurements, missing, {"reference": (), "result": (0, 1, 3)})


MIXED = report(psnr=[30.0, math.inf, 20.0, 28.0], landmark_distance=[None, 1.0, 5.0, None])


def test_means_and_worst_frames() -> None:
    psnr, distance = MIXED.measurements.values()

    assert (psnr.mean, psnr.worst, psnr.worst_frame, psnr.num_infinite) == (26, 20, 2, 1)
    assert (distance.mean, distance.worst, distance.worst_frame, distance.num_infinite) == (3, 5, 2, 0)
    assert distance.measured == {1: 1.0, 2: 5.0}
    assert Measurement("psnr", (math.inf, math.inf)).mean == math.inf
    assert Measurement("psnr", (math.inf, math.inf)).worst_frame == 0


def test_text() -> None:
    lines = MIXED.to_text().splitlines()

    assert lines[0] == "4 frames of 640×512 pixels (width×height)"
    psnr, distance = lines[3], lines[4]
    assert psnr.split()[:5] == ["PSNR", "[dB]", "26", "20", "2"]
    assert psnr.endswith("higher is better; mean of the 3 frames that are not identical")
    assert distance.split()[:6] == ["Landmark", "distance", "[pixels]", "3", "5", "2"]
    assert distance.endswith("lower is better; 2 frames without a face left out")
    assert psnr.index("higher") == distance.index("lower")
    assert "Frames of the result without a face: 0-1, 3" in lines
    assert not any("Frames of the reference" in line for line in lines)
    assert "  SSIM: needs a face detector." in lines


def strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_json() -> None:
    content = strict(MIXED.to_json())

    assert (content["num_frames"], content["width"], content["height"]) == (4, 640, 512)
    assert content["metrics"]["psnr"] == {
        "title": "PSNR",
        "unit": "dB",
        "is_higher_better": True,
        "mean": 26,
        "worst": 20,
        "worst_frame": 2,
        "values": [30, "inf", 20, 28],
    }
    assert content["metrics"]["landmark_distance"]["values"] == [None, 1, 5, None]
    assert content["frames_without_face"] == {"reference": [], "result": [0, 1, 3]}
    assert set(content["metrics"]) | set(content["not_measured"]) == set(METRICS)


def test_json_of_identical_videos() -> None:
    psnr = strict(report(psnr=[math.inf] * 4).to_json())["metrics"]["psnr"]

    assert (psnr["mean"], psnr["worst"], psnr["values"]) == ("inf", "inf", ["inf"] * 4)


def is_colour(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (image == np.array(colour, np.uint8)).all(axis=-1)


def test_the_plot_has_a_panel_for_each_metric() -> None:
    pytest.importorskip("matplotlib")

    one, two = plot(report(psnr=[30.0, 25.0, 20.0, 28.0])), plot(MIXED)
    three = plot(report(psnr=[30.0] * 4, ssim=[0.5] * 4, motion_error=[None, 1.0, 2.0, None]))

    assert one.dtype == np.uint8
    assert [image.shape for image in (one, two, three)] == [(240, 600, 3), (240, 1200, 3), (480, 1200, 3)]
    left, right = np.hsplit(two, 2)
    assert is_colour(one, WORST_RED).any()
    assert is_colour(left, WORST_RED).any()
    assert is_colour(right, WORST_RED).any()
    # The fourth place stays empty.
    assert is_colour(three[240:, 600:], (255, 255, 255)).all()


def test_the_plot_of_identical_videos_says_so() -> None:
    pytest.importorskip("matplotlib")

    image = plot(report(psnr=[math.inf] * 4))

    assert image.shape == (240, 600, 3)
    assert not is_colour(image, WORST_RED).any()
    assert (image[100:140, 200:400] < 100).any()


def test_plotting_leaves_pyplot_alone() -> None:
    pytest.importorskip("matplotlib")
    code = (
        "import sys; from hunyuan_core.evaluation import Measurement, Report, plot;"
        "plot(Report(1, 1, 1, {'psnr': Measurement('psnr', (30.0,))}, {}, {}));"
        "print('matplotlib.figure' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603

    assert done.stdout.split() == ["True", "False"]


def test_without_matplotlib_only_the_plot_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    assert "PSNR" in MIXED.to_text()
    with pytest.raises(MissingDependencyError, match=r"needed for plots.*pip install matplotlib"):
        plot(MIXED)
