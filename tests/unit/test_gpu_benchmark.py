"""The GPU's benchmark, run on the CPU with tiny networks: all of its code but CUDA's events and counters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gpu
import pytest
import torch
from gpu_networks import Scale

from hunyuan_core.compilation import MODES
from hunyuan_core.config import ModelConfig, PoseGuiderConfig, UNetConfig

TINY = ModelConfig.tiny()
UNET = UNetConfig(
    block_out_channels=(32,),
    num_attention_heads=(1,),
    has_attention=(True,),
    layers_per_block=1,
    cross_attention_dim=64,
    addition_time_embed_dim=8,
)
SCALE = Scale(
    torch.device("cpu"),
    torch.float32,
    replace(TINY, unet=UNET),
    window=5,
    side=8,
    num_frames=3,
    steps=2,
    padding=1,
    plans=("smallest",),
    matrix=32,
    warm_up=1,
    rounds=2,
    has_gates=False,
    backend="eager",
)


@pytest.fixture(autouse=True)
def _short_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "JOB_FRAMES", 3)
    monkeypatch.setattr(gpu, "JOB_STEPS", 1)


def test_every_section_runs(tmp_path: Path) -> None:
    with torch.compiler.set_stance("force_eager"):  # tracing takes half a minute; test_compilation.py does it
        results = list(gpu.run(SCALE, out=tmp_path))
    assert [(result.name, result.metrics) for result in results if result.status != "pass"] == []
    names = [result.name for result in results]
    expected = {"gpu/waits", "gpu/job_chosen", "gpu/run_turbo_compiled", *(f"gpu/compiled_{mode}" for mode in MODES)}
    assert expected < set(names)
    written = json.loads((tmp_path / "cpu.json").read_text())
    assert [record["name"] for record in written] == names


def test_a_later_run_replaces_its_own_results_only(tmp_path: Path) -> None:
    for names in (["roofline", "parts"], ["roofline"]):
        list(gpu.run(SCALE, names, out=tmp_path))
    written = json.loads((tmp_path / "cpu.json").read_text())
    assert sorted(record["name"] for record in written) == [
        "gpu/attention_milliseconds",
        "gpu/convolution_milliseconds",
        "gpu/roofline",
    ]


def test_a_section_that_fails_leaves_the_others(tmp_path: Path) -> None:
    # Groups of 32 channels cannot be made of 31.
    broken = replace(SCALE, model=replace(SCALE.model, pose_guider=PoseGuiderConfig(out_channels=31)))
    results = list(gpu.run(broken, ["waits", "roofline"], out=tmp_path))
    assert [(result.name, result.status) for result in results] == [("gpu/waits", "fail"), ("gpu/roofline", "pass")]
    assert "RuntimeError" in results[0].metrics["error"]


def test_no_section_begins_when_time_is_over(tmp_path: Path) -> None:
    results = list(gpu.run(SCALE, ["roofline"], seconds=-1, out=tmp_path))
    assert [(result.name, result.status) for result in results] == [("gpu/roofline", "skipped")]
    assert list(tmp_path.iterdir()) == []
