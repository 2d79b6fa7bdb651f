"""Networks that come to the device only for their stage, and what happens where memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, Motion, VideoLatents
from hunyuan_core.errors import HunyuanPortraitError
from hunyuan_core.models import NETWORKS
from hunyuan_core.models.memory import MemoryMode
from hunyuan_core.models.memory_plan import PLANS, STAGES, MemoryPlan
from hunyuan_core.models.residency import Residency, is_out_of_memory
from hunyuan_core.pipeline import Pipeline

CPU, META = torch.device("cpu"), torch.device("meta")
# From a low noise level, because the first steps of a whole run multiply what rounding leaves by 700.
QUICK = SamplingConfig(
    num_inference_steps=4, strength=0.5, num_padding_frames=1, context_window=4, context_overlap=1, context_shift=1
)
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.fixture(scope="module")
def given() -> tuple[Appearance, Motion]:
    generator = torch.Generator().manual_seed(2)
    tokens, latents = torch.randn(64, 64, generator=generator), torch.randn(4, 8, 8, generator=generator)
    motion = Motion(torch.randn(4, 64, 64, generator=generator), (0,), (0,), torch.zeros(4, 3), torch.zeros(4, 3))
    return Appearance(tokens, latents, torch.zeros(512)), motion


@pytest.fixture(scope="module")
def expected(given: tuple[Appearance, Motion]) -> torch.Tensor:
    return Pipeline.untrained_tiny(device="cpu").sample(*given, QUICK).samples


def is_on(network: nn.Module, device: torch.device) -> set[bool]:
    return {t.device == device for t in (*network.parameters(), *network.buffers())}


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_gives_the_same_video(name: str, given: tuple[Appearance, Motion], expected: torch.Tensor) -> None:
    plan = PLANS[name]
    actual = Pipeline.untrained_tiny(device="cpu", plan=plan).sample(*given, QUICK).samples
    if plan.mode is MemoryMode.TOGETHER:
        assert torch.equal(actual, expected)  # only where the weights are has changed
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_eight_bits_change_the_video_a_little_and_streaming_them_nothing(
    given: tuple[Appearance, Motion], expected: torch.Tensor
) -> None:
    stored, streamed = (
        Pipeline.untrained_tiny(device="cpu", unet_weights="fp8", plan=plan).sample(*given, QUICK).samples
        for plan in (None, PLANS["streamed"])
    )
    assert torch.equal(stored, streamed)
    # Measured: 0.11. An untrained network is no measure of what a portrait loses.
    assert 0 < (stored - expected).square().mean().sqrt() / expected.square().mean().sqrt() < 0.2


def test_each_network_is_there_for_its_stage_only() -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    networks = {name: getattr(pipeline, name) for name in NETWORKS}
    before = {name: {key: t.clone() for key, t in n.state_dict().items()} for name, n in networks.items()}
    residency = Residency(networks, META, MemoryPlan(is_offloaded=True))
    for stage, names in STAGES.items():
        with residency.stage(stage):
            assert {name for name in NETWORKS if is_on(networks[name], META) == {True}} == set(names)
            assert all(is_on(networks[name], CPU) == {True} for name in set(NETWORKS) - set(names))
        assert all(is_on(network, CPU) == {True} for network in networks.values())
    for name, network in networks.items():
        assert all(torch.equal(tensor, before[name][key]) for key, tensor in network.state_dict().items())


def test_a_stage_within_another_leaves_it_its_networks() -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    residency = Residency({name: getattr(pipeline, name) for name in NETWORKS}, META, MemoryPlan(is_offloaded=True))
    with residency.stage("decoding"):
        with residency.stage("appearance"):
            pass
        assert is_on(pipeline.vae, META) == {True}
        assert is_on(pipeline.vision, META) == {False}
    assert is_on(pipeline.vae, META) == {False}


def test_of_a_streamed_unet_only_a_part_is_there() -> None:
    unet = Pipeline.untrained_tiny(device="cpu").unet
    total = sum(p.nbytes for p in unet.parameters())
    residency = Residency({"unet": unet}, META, PLANS["smallest"])
    for _ in range(2):
        with residency.stage("sampling"):
            there = sum(p.nbytes for p in unet.parameters() if p.is_meta)
            assert unet.conv_in.weight.is_meta
            assert unet.cross_attentions[0].to_k.weight.is_meta
            assert 0 < there < 0.35 * total
        assert is_on(unet, CPU) == {True}


def out_of_memory(pipeline: Pipeline, fails: Callable[[MemoryPlan], bool]) -> None:
    """Let calls of the UNet fail as a full GPU does, while a condition on the plan holds."""

    def check(*_: object) -> None:
        if fails(pipeline.residency.plan):
            raise torch.cuda.OutOfMemoryError(FULL)

    pipeline.unet.conv_out.register_forward_hook(check)


@pytest.mark.parametrize(
    ("fails", "plans"),
    [
        (lambda plan: not plan.is_offloaded, ["offload"]),
        (lambda plan: plan.mode is MemoryMode.TOGETHER, ["offload", "one-branch"]),
        (lambda plan: not plan.is_streamed, ["offload", "one-branch", "chunked", "smallest"]),
    ],
)
def test_where_memory_runs_out_it_goes_on_with_less(
    fails: Callable[[MemoryPlan], bool], plans: list[str], given: tuple[Appearance, Motion], expected: torch.Tensor
) -> None:
    said: list[str] = []
    pipeline = Pipeline.untrained_tiny(device="cpu", say=said.append)
    out_of_memory(pipeline, fails)
    actual = pipeline.sample(*given, QUICK).samples

    assert said == [f"Out of memory; going on with {PLANS[n]} (same result but for rounding, slower)." for n in plans]
    assert pipeline.residency.plan == PLANS[plans[-1]]
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_where_nothing_helps_the_error_says_what_does(given: tuple[Appearance, Motion]) -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    out_of_memory(pipeline, lambda plan: True)
    with pytest.raises(HunyuanPortraitError, match=r"Out of memory while sampling.*smaller context_window") as caught:
        pipeline.sample(*given, QUICK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("is_offloaded", [True, False])
def test_decoding_gets_the_other_networks_out_of_the_way_and_never_changes_the_chunks(is_offloaded: bool) -> None:
    said: list[str] = []
    pipeline = Pipeline.untrained_tiny(device="cpu", plan=MemoryPlan(is_offloaded=is_offloaded), say=said.append)
    frames = VideoLatents(torch.randn(6, 4, 8, 8), 1)
    expected = list(pipeline.decode(frames, 4))
    sizes = []

    def check(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        sizes.append(len(inputs[0]))
        if not pipeline.residency.plan.is_offloaded or is_offloaded:
            raise torch.cuda.OutOfMemoryError(FULL)

    pipeline.vae.decoder.conv_in.register_forward_pre_hook(check)
    if is_offloaded:
        with pytest.raises(HunyuanPortraitError, match=r"decoding: try a smaller decode_chunk_size"):
            list(pipeline.decode(frames, 4))
        assert sizes == [4]
    else:
        assert all(map(np.array_equal, pipeline.decode(frames, 4), expected))
        assert sizes == [4, 4, 2]
        assert len(said) == 1


def test_other_errors_pass(given: tuple[Appearance, Motion]) -> None:
    pipeline = Pipeline.untrained_tiny(device="cpu")

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    pipeline.unet.conv_out.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        pipeline.sample(*given, QUICK)


def test_a_full_memory_is_known_in_all_its_forms() -> None:
    assert is_out_of_memory(torch.cuda.OutOfMemoryError(FULL))
    assert is_out_of_memory(MemoryError("Unable to allocate 2 GiB for an array"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
