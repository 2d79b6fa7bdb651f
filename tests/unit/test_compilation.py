"""The compiled UNet: the same result, and a way back from every failure."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch._dynamo
import torch._inductor.config as inductor
from torch._dynamo.testing import CompileCounter

from hunyuan_core.cli.animate import add_options
from hunyuan_core.cli.compilation import with_compiled_unet
from hunyuan_core.compilation import MODES, CompiledNetwork
from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.data import Appearance, Motion
from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.models import UNet
from hunyuan_core.models.memory_plan import PLANS
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import SpeedConfig

SMALL = UNetConfig(
    block_out_channels=(32,),
    num_attention_heads=(1,),
    has_attention=(True,),
    layers_per_block=1,
    cross_attention_dim=64,
    addition_time_embed_dim=8,
)
CONFIG = SamplingConfig(num_inference_steps=2, context_window=5, context_overlap=2, num_padding_frames=1)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    tiny = Pipeline.untrained_tiny(device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return replace(tiny, unet=UNet(SMALL).eval().requires_grad_(False))


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    # Code that dynamo has seen holds its arguments longer, which tests of memory would count.
    torch._dynamo.reset()


def sample(pipeline: Pipeline, num_frames: int = 7, speed: SpeedConfig | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_frames)
    width = SMALL.cross_attention_dim
    tokens = torch.randn(num_frames, 4, width, generator=generator)
    image = torch.randn(4, width, generator=generator), torch.randn(4, 4, 4, generator=generator)
    zeros = torch.zeros(num_frames, 3)
    motion = Motion(tokens, (0,), (0,), zeros, zeros)
    return pipeline.sample(Appearance(*image, torch.zeros(512)), motion, CONFIG, speed=speed).samples


def test_videos_of_any_length_share_one_graph_and_give_the_same(pipeline: Pipeline) -> None:
    warnings: list[str] = []
    counter = CompileCounter()
    compiled = replace(pipeline, compiled=CompiledNetwork(pipeline.unet, "default", warnings.append, counter))
    assert torch.equal(sample(compiled, 7), sample(pipeline, 7))
    # Between two videos the weights may have been in main memory.
    for module in pipeline.unet.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(parameter.clone(), requires_grad=False))
    assert torch.equal(sample(compiled, 11), sample(pipeline, 11))
    assert (counter.frame_count, warnings) == (1, [])


def test_approximations_are_compiled_too(pipeline: Pipeline) -> None:
    warnings: list[str] = []
    counter = CompileCounter()
    compiled = replace(pipeline, compiled=CompiledNetwork(pipeline.unet, "default", warnings.append, counter))
    speed = SpeedConfig(feature_interval=2, num_outer_layers=1)
    assert torch.equal(sample(compiled, speed=speed), sample(pipeline, speed=speed))
    # The whole UNet and its outer layers.
    assert (counter.frame_count, warnings) == (2, [])


def test_without_a_compiler_it_goes_on_and_says_so_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(inductor, "pattern_matcher", False)  # making its patterns takes seconds
    monkeypatch.setattr(inductor, "compile_threads", 1)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    warnings: list[str] = []
    # The UNet would take half a minute to come as far as its first kernel.
    guider, image = pipeline.pose_guider, torch.rand(1, 3, 16, 16)
    compiled = CompiledNetwork(guider, "default", warnings.append)
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(compiled(image), guider(image))
    assert not compiled.is_compiled
    (warning,) = warnings
    assert "no-such-compiler" in warning
    assert "\n" not in warning
    assert "needs a C++ compiler" in warning


def test_a_back_end_that_torch_does_not_have_is_left_out(pipeline: Pipeline) -> None:
    warnings: list[str] = []
    compiled = CompiledNetwork(pipeline.unet, "default", warnings.append, "no-such-backend")
    assert torch.equal(sample(replace(pipeline, compiled=compiled)), sample(pipeline))
    assert len(warnings) == 1
    assert "no-such-backend" in warnings[0]


def test_what_is_wrong_with_the_inputs_is_told_as_without_it(pipeline: Pipeline) -> None:
    compiled = CompiledNetwork(pipeline.unet, "default", [].append, "eager")
    with pytest.raises(ShapeError, match="sample must be"):
        compiled(torch.zeros(1, 2, 3, 4, 4), torch.zeros(1), torch.zeros(1, 3), None)


def test_an_unknown_mode_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ConfigurationError, match="default, graphs, max"):
        CompiledNetwork(pipeline.unet, "fastest", [].append)


def test_a_streamed_unet_is_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    streamed = Pipeline.untrained_tiny(device="cpu", plan=PLANS["streamed"])
    assert with_compiled_unet(argparse.Namespace(compile="default"), streamed).compiled is None
    assert "--compile is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "mode"), [([], None), (["--compile"], "default"), *((["--compile", mode], mode) for mode in MODES)]
)
def test_the_option_chooses_the_mode(pipeline: Pipeline, given: list[str], mode: str | None) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args(["--portrait", "p.png", "--driving", "v.mp4", "--out", "o.mp4", *given])
    compiled = with_compiled_unet(options, pipeline).compiled
    assert (None if compiled is None else compiled.mode) == mode
