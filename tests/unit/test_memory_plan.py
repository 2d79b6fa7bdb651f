"""The plan for a whole job: what each stage needs, and what is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from live_bytes import LiveBytes
from torch import nn

from hunyuan_core.config import ModelConfig
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.models import build
from hunyuan_core.models.memory_plan import (
    MOTION_CHUNK,
    PLANS,
    MemoryEstimate,
    MemoryPlan,
    Workload,
    plan_memory,
    smaller,
    with_spare,
)
from hunyuan_core.motion import INTENSITY_CHUNK

GIB = 2**30


@pytest.fixture(scope="module")
def released() -> MemoryEstimate:
    return MemoryEstimate(ModelConfig(), Workload(num_frames=256), torch.float16)


@pytest.mark.parametrize(
    ("free", "name"),
    [
        (80, "all"),
        (12, "all"),
        (9, "offload"),
        (7.3, "one-branch"),
        (6.0, "chunked"),
        (5.0, "chunked"),
    ],
)
def test_the_fastest_plan_that_fits_is_chosen(released: MemoryEstimate, free: float, name: str) -> None:
    assert plan_memory(round(free * GIB), released) == PLANS[name]


def test_with_smaller_chunks_of_the_decoder_little_is_enough(released: MemoryEstimate) -> None:
    estimate = MemoryEstimate(ModelConfig(), Workload(decode_chunk_size=2), torch.float16)
    assert plan_memory(round(4.0 * GIB), estimate) == PLANS["streamed-one-branch"]
    assert plan_memory(round(2.9 * GIB), estimate) == PLANS["smallest"]


@pytest.mark.parametrize(
    ("workload", "free", "words"),
    [
        (Workload(), 4.0, ["4.9 GiB", "for decoding", "4.0 GiB are free", "lower decode_chunk_size (8;"]),
        (Workload(decode_chunk_size=1, context_window=100), 2.0, ["for sampling", "lower context_window (100)"]),
    ],
)
def test_where_nothing_fits_the_error_says_what_to_change(workload: Workload, free: float, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_memory(round(free * GIB), MemoryEstimate(ModelConfig(), workload, torch.float16))
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_plans_need_less_the_further_they_go(released: MemoryEstimate) -> None:
    for plan in PLANS.values():
        below = smaller(plan)
        if below is not None:
            assert released.stages(below)["sampling"] < released.stages(plan)["sampling"]
            assert released.peak(below) <= released.peak(plan)


def test_the_way_down_from_any_plan_ends_at_the_smallest() -> None:
    for plan in (*PLANS.values(), MemoryPlan(is_streamed=True)):
        below: MemoryPlan | None = plan
        while below is not None:
            plan, below = below, smaller(below)
        assert plan == PLANS["smallest"]


@pytest.mark.parametrize(
    "change",
    [{"num_frames": 2000}, {"size": 768}, {"num_branches": 3}, {"num_pose_images": 256}, {"num_outer_layers": 2}],
)
def test_what_a_job_asks_for_is_counted(released: MemoryEstimate, change: dict[str, int]) -> None:
    more = MemoryEstimate(ModelConfig(), replace(released.workload, **change), torch.float16)
    assert more.stages(PLANS["offload"])["sampling"] > released.stages(PLANS["offload"])["sampling"]


def test_eight_bits_take_half(released: MemoryEstimate) -> None:
    stored = MemoryEstimate(ModelConfig(), released.workload, torch.float16, "fp8")
    assert 0.49 < stored.weights["unet"] / released.weights["unet"] < 0.51
    assert plan_memory(round(7.3 * GIB), stored) == PLANS["offload"]


def test_spare_memory_is_left() -> None:
    assert with_spare(5 * GIB) == pytest.approx(5.75 * GIB, rel=1e-6)


def test_the_estimate_knows_the_chunk_of_the_motion_encoder() -> None:
    assert MOTION_CHUNK == INTENSITY_CHUNK


@pytest.mark.parametrize(("chunk", "size"), [(8, 512), (3, 512), (8, 256)])
def test_decoding_is_as_counted(chunk: int, size: int) -> None:
    with torch.device("meta"):
        vae = nn.Module.to(build("vae"), "meta", torch.half)
        latents, flags = torch.empty(chunk, 4, size // 8, size // 8).half(), torch.zeros(1, chunk).half()
        with torch.inference_mode(), LiveBytes() as count:
            vae.decoder(latents, num_frames=chunk, image_only_indicator=flags)  # pyright: ignore[reportCallIssue]
    assert activations(Workload(size=size, decode_chunk_size=chunk), "decoding") == pytest.approx(count.peak, rel=0.01)


@pytest.mark.parametrize("size", [512, 256])
def test_encoding_the_portrait_is_as_counted(size: int) -> None:
    with torch.device("meta"):
        vae = nn.Module.to(build("vae"), "meta")
        with torch.inference_mode(), LiveBytes() as count:
            vae.encode(torch.empty(1, 3, size, size))  # pyright: ignore[reportCallIssue]
    assert activations(Workload(size=size), "appearance") == pytest.approx(count.peak, rel=0.01)


def test_encoding_motion_is_as_counted() -> None:
    with torch.device("meta"):
        encoder = build("expression")
        with torch.inference_mode(), LiveBytes() as count:
            crops = torch.empty(2, MOTION_CHUNK, 3, 256, 256)
            encoder(crops[0])
    assert activations(Workload(), "motion") == pytest.approx(count.peak, rel=0.01)


def activations(workload: Workload, stage: str) -> int:
    estimate = MemoryEstimate(ModelConfig(), workload, torch.float16)
    names = {"decoding": ("vae",), "appearance": ("vision", "token_projection", "vae")}
    weights = sum(estimate.weights[n] for n in names.get(stage, ("expression", "head_pose", "refiner")))
    return estimate.stages(PLANS["offload"])[stage] - weights
