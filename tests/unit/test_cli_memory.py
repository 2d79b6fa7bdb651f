"""What the command line says of memory and time."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import make_clip
from PIL import Image

from hunyuan_core.cli import estimate, main
from hunyuan_core.cli.memory import placement, workload_of
from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.models.memory_plan import PLANS, Workload
from hunyuan_core.sampling import SpeedConfig

BOX = ["--portrait-box", "20,20,80,80", "--driving-box", "20,20,80,80"]
QUICK = ["--weights", "untrained-tiny", "--num-inference-steps", "2", "--num-padding-frames", "0", "--size", "64"]


def animate(folder: Path, *more: str) -> list[np.ndarray]:
    portrait, driving, out = folder / "p.png", folder / "d.mp4", folder / "out.mp4"
    if not driving.exists():
        Image.fromarray(np.full((128, 128, 3), 99, np.uint8)).save(portrait)
        make_clip(driving, num_frames=3)
    given = ["--portrait", str(portrait), "--driving", str(driving), "--out", str(out), *BOX, *QUICK, *more]
    assert main(["animate", *given]) == 0
    with av.open(str(out)) as container:
        record = json.loads(container.metadata["hunyuan_portrait"])
        assert record["computed_on"] == "cpu"
        return [*(frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)), record]


def test_it_says_what_it_needs_and_how_long_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *frames, record = animate(tmp_path)
    said = capsys.readouterr().err
    *streamed, other = animate(tmp_path, "--memory", "streamed")
    said_then = capsys.readouterr().err

    assert re.search(r"^Memory: all branches together; about \d+\.\d GiB \(appearance \d\.\d, motion ", said, re.M)
    assert re.search(r"^Sampling: 2 steps of 1 windows, [\d.e+-]+ TFLOP; at least about [\d.e+-]+ s by ", said, re.M)
    assert re.search(r"^Memory: .*, the UNet streamed from main memory; about", said_then, re.M)
    assert record["memory"] == "all branches together"
    assert other["memory"] == str(PLANS["streamed"])
    assert all(map(np.array_equal, frames, streamed))


def test_a_choice_overrides_what_is_free(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("hunyuan_core.cli.memory.free_bytes", lambda device: 100 * 2**30)
    options = argparse.Namespace(memory="auto", unet_weights="fp8")
    arguments = torch.device("cpu"), torch.float32, Workload()
    assert placement(options, *arguments, is_tiny=True)["plan"] == PLANS["all"]
    assert placement(options, *arguments, is_tiny=True)["unet_weights"] == "fp8"
    options.memory = "smallest"
    assert placement(options, *arguments, is_tiny=True)["plan"] == PLANS["smallest"]
    assert capsys.readouterr().err.count(" of 100.0 GiB free") == 3


def test_the_workload_is_that_of_the_settings() -> None:
    options = argparse.Namespace(pose="skeleton")
    config = SamplingConfig(image_guidance_scale=(2.0, 3.0), context_window=12, decode_chunk_size=4)
    speed = SpeedConfig(feature_interval=2)
    assert workload_of(options, config, speed, 256, 300) == Workload(256, 330, 3, 12, 4, 330, speed.num_outer_layers)
    options.pose = "black"
    assert workload_of(options, SamplingConfig(), SpeedConfig(), 512, 10) == Workload(512, 256, 2, 25, 8, 1, 0)


@pytest.mark.parametrize(
    ("config", "speed", "branches"),
    [
        (SamplingConfig(num_inference_steps=3), SpeedConfig(), [2, 2, 2]),
        (SamplingConfig(num_inference_steps=3, image_guidance_scale=(2.0, 1.0)), SpeedConfig(), [2, 3, 2]),
        (SamplingConfig(num_inference_steps=3), SpeedConfig(guidance_interval=(0.5, 100.0)), [1, 2, 1]),
        (SamplingConfig(num_inference_steps=10, strength=0.5), SpeedConfig(), [2] * 5),
    ],
)
def test_the_arithmetic_counts_the_branches_of_each_step(
    config: SamplingConfig, speed: SpeedConfig, branches: list[int]
) -> None:
    assert estimate.branches_by_step(config, speed) == branches


def test_the_arithmetic_is_that_of_the_released_network() -> None:
    flop, num_windows, num_steps = estimate.sampling_flop(UNetConfig(), SamplingConfig(), SpeedConfig(), 130, 512)
    # 62.33 TFLOP a window (benchmarks/count.py) and 0.3 % of what is constant in a video, which is counted with it.
    assert num_steps == 25
    assert flop / num_windows / num_steps / 1e12 == pytest.approx(62.33, rel=0.005)


def test_what_is_left_is_told_once_after_the_first_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first window takes 50 s, the others 2 s.
    clock = iter([100.0, *(100.0 + 2 * i for i in range(1, 20))])
    monkeypatch.setattr(estimate.time, "monotonic", lambda: next(clock))
    seen: list[int] = []
    progress = estimate.TimeLeft(lambda done, total: seen.append(done), 3)
    for done in range(1, 13):
        progress(done, 12)

    assert seen == list(range(1, 13))
    assert capsys.readouterr().err.splitlines() == ["Sampling: 6 s a step, about 18 s left"]


@pytest.mark.parametrize(
    ("num_windows", "told"), [(4, "Sampling: 8 s a step, about 16 s left"), (1, "Sampling: 4 s a step, about 4 s left")]
)
def test_windows_of_several_processes_are_done_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], num_windows: int, told: str
) -> None:
    together, total = min(2, num_windows), 3 * num_windows
    clock = iter([4.0 * -(-done // together) for done in range(1, total + 1)])
    monkeypatch.setattr(estimate.time, "monotonic", lambda: next(clock))
    progress = estimate.TimeLeft(lambda done, total: None, num_windows, num_processes=2)
    for done in range(1, total + 1):
        progress(done, total)

    assert capsys.readouterr().err.splitlines() == [told]
