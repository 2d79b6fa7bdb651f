"""What each approximation saves, and how far it takes the picture from the full run.

The arithmetic is counted, for 100 frames at 512×512 and the released network: every UNet call that the run makes, by
its branches and by whether its deep part ran, times what such a call costs on the meta device. The pictures are made by
the released weights where ``--portrait``, ``--driving`` and the other options of ``hunyuan-portrait animate`` name
inputs, else by a tiny untrained network on random inputs: its PSNR says that an approximation runs and which one bends
a smooth function more, and nothing about how a portrait looks.

Usage: python benchmarks/quality.py [--plot] [options of ``hunyuan-portrait animate``]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from count import count
from plain import plain_unet
from results import Result, gated
from torch import nn

from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.data import Appearance, Branch, Motion
from hunyuan_core.models.attention import Context
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import DeepFeatures, UNet
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import PRESETS, SpeedConfig, context_windows

NUM_FRAMES, NUM_TOKENS, SIDE = 100, 64, 64
"""Of the counted run."""
TINY_FRAMES, TINY_SIDE = 20, 4
"""Of the run whose picture is compared where there are no weights."""
PLOT = Path("build/benchmarks/quality.png")
GATES = {"preset fast": 5.0, "preset turbo": 9.0}

Call = tuple[int, int, int]
"""Branches of a UNet call, its outer layers (0: it runs as a whole), and its frames."""


@dataclass(frozen=True)
class Case:
    """One setting that is tried.

    Attributes:
        sampling: Changes to the default SamplingConfig.
    """

    name: str
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    sampling: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> SamplingConfig:
        """The whole configuration."""
        return replace(SamplingConfig(), **self.sampling)


KEEP_NOISE = SamplingConfig.num_padding_frames
CASES = [
    Case("same output"),
    Case("15 Karras steps", sampling={"num_inference_steps": 15}),
    Case("10 Karras steps", sampling={"num_inference_steps": 10}),
    Case("15 steps DPM++ 2M", SpeedConfig(sampler="dpmpp_2m"), {"num_inference_steps": 15}),
    Case("15 steps UniPC", SpeedConfig(sampler="unipc"), {"num_inference_steps": 15}),
    Case("10 Align Your Steps", SpeedConfig(schedule="align_your_steps"), {"num_inference_steps": 10}),
    Case(
        "10 Align Your Steps, DPM++ 2M",
        SpeedConfig(schedule="align_your_steps", sampler="dpmpp_2m"),
        {"num_inference_steps": 10},
    ),
    Case("guidance in (0.3, 60]", SpeedConfig(guidance_interval=(0.3, 60.0))),
    Case("deep features every 2nd step", SpeedConfig(feature_interval=2)),
    Case("deep features every 3rd step", SpeedConfig(feature_interval=3)),
    Case("every 2nd step extrapolated", SpeedConfig(extrapolation_interval=2)),
    Case("2 of 3 steps extrapolated", SpeedConfig(extrapolation_interval=3, extrapolation_order=2)),
    Case("padding 5", SpeedConfig(noise_padding=KEEP_NOISE), {"num_padding_frames": 5}),
    # 15 frames and 7 put the same frames into one chunk of the decoder, 5 does not.
    Case("padding 7", SpeedConfig(noise_padding=KEEP_NOISE), {"num_padding_frames": 7}),
    Case("no circle", SpeedConfig(is_circular=False)),
    *(Case(f"preset {name}", preset.speed, preset.sampling) for name, preset in PRESETS.items()),
]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is animated, and by which networks."""

    pipeline: Pipeline
    appearance: Appearance
    motion: Motion
    weights: str


def run(inputs: Inputs | None = None) -> Iterator[Result]:
    """Try every case against the default settings, which are the full run."""
    inputs = inputs or _tiny(TINY_FRAMES, TINY_SIDE)
    costs = _Costs()
    plain = costs.plain()
    full: tuple[torch.Tensor, np.ndarray] | None = None
    for case in CASES:
        calls = _calls(case)
        tflop = sum(costs(call) * times for call, times in calls.items())
        start = time.perf_counter()
        latents, frames = _animate(inputs, case)
        seconds = time.perf_counter() - start
        if full is None:
            full = latents, frames
        metrics = {
            "unet_calls": sum(calls.values()),
            "branch_calls": sum(branches * times for (branches, _, _), times in calls.items()),
            "unet_tflop": round(tflop, 1),
            "unet_tflop_plain": round(plain, 1),
            "psnr_latents_db": _psnr(latents, full[0], float(full[0].max() - full[0].min())),
            "psnr_frames_db": _psnr(torch.from_numpy(frames), torch.from_numpy(full[1]), 255.0),
            "seconds_of_the_compared_run": round(seconds, 3),
            "pictures_by": inputs.weights,
        }
        name = f"quality/{case.name.replace(' ', '_')}"
        yield gated(name, metrics, plain / tflop, at_least=GATES.get(case.name), baseline="plain form, UNet arithmetic")


class _Costs:
    """10¹² operations of a UNet call at the released size, counted when first asked for."""

    def __init__(self) -> None:
        with torch.device("meta"):
            self.unet = UNet(UNetConfig()).half()
        self._known: dict[tuple[int, int], float] = {}
        self.window = SamplingConfig.context_window

    def __call__(self, call: Call) -> float:
        branches, num_outer, frames = call
        if (branches, num_outer) not in self._known:
            self._known[branches, num_outer] = self._count(branches, num_outer)
        # Counted for a whole window; but for the little attention over time it is proportional to the frames.
        return self._known[branches, num_outer] * frames / self.window

    def _count(self, num_branches: int, num_outer: int) -> float:
        config = self.unet.config
        with torch.device("meta"):
            tokens = torch.empty(NUM_TOKENS, config.cross_attention_dim)
            motion = torch.empty(self.window, *tokens.shape)
            pose = torch.empty(1, config.block_out_channels[0], SIDE, SIDE)
            latents = torch.empty(4, SIDE, SIDE)
            predictor = VideoPredictor(self.unet, tokens, motion, latents, (12.5, 0, 0), pose)
            x = torch.empty(self.window, 4, SIDE, SIDE)
        branches = ((Branch.MOTION,), (Branch.UNCONDITIONAL, Branch.MOTION), tuple(Branch))[num_branches - 1]
        deep = DeepFeatures(num_outer) if num_outer else None
        predictor.call = lambda *arguments: self.unet(*arguments, deep)
        whole = _total(lambda: predictor(x, 0.0, range(self.window), branches))
        # The second call finds the features that the first one kept.
        return whole if deep is None else _total(lambda: predictor(x, 0.0, range(self.window), branches))

    def plain(self) -> float:
        """Of the whole counted run in its plain form."""
        options = {"device": "meta", "dtype": torch.float16}
        tokens = torch.empty(3, self.window, NUM_TOKENS, self.unet.config.cross_attention_dim, **options)
        sample = torch.empty(3, self.window, 8, SIDE, SIDE, **options)
        pose = torch.empty(3, self.window, self.unet.config.block_out_channels[0], SIDE, SIDE, **options)
        scalar, ids = torch.empty((), device="meta"), torch.empty(3, 3, device="meta")
        call = _total(lambda: plain_unet(self.unet, sample, scalar, ids, tokens, tokens, pose))
        config = SamplingConfig()
        num_frames = NUM_FRAMES + 2 * config.num_padding_frames
        num_windows = len(context_windows(num_frames, config.context_window, config.context_overlap))
        return call * num_windows * config.num_inference_steps


def _total(call: Callable[[], object]) -> float:
    return sum(count(nn.Identity(), call).values())


def _calls(case: Case) -> Counter[Call]:
    """UNet calls of the counted run: the product's own loop, over a UNet that notes its calls and computes nothing."""
    calls: Counter[Call] = Counter()

    class NotedUNet(UNet):
        def forward(
            self,
            sample: torch.Tensor,
            timestep: torch.Tensor,
            added_time_ids: torch.Tensor,
            context: Context,
            pose_features: torch.Tensor | None = None,
            deep: DeepFeatures | None = None,
        ) -> torch.Tensor:
            num_outer = 0 if deep is None or deep.features is None else deep.num_outer_layers
            if deep is not None and deep.features is None:
                deep.features = sample[:, :, :1]
            calls[sample.shape[0], num_outer, sample.shape[1]] += 1
            return sample[:, :, :4]

    inputs = _tiny(NUM_FRAMES, 1)
    unet = NotedUNet(inputs.pipeline.unet.config).eval().requires_grad_(False)
    pipeline = replace(inputs.pipeline, unet=unet)
    pipeline.sample(inputs.appearance, inputs.motion, case.config, speed=case.speed)
    return calls


def _animate(inputs: Inputs, case: Case) -> tuple[torch.Tensor, np.ndarray]:
    """Latents and frames without the padding."""
    pipeline, padding = inputs.pipeline, case.config.num_padding_frames
    latents = pipeline.sample(inputs.appearance, inputs.motion, case.config, speed=case.speed)
    frames = np.stack(list(pipeline.decode(latents)))
    return latents.samples[padding : len(latents.samples) - padding], frames


def _psnr(actual: torch.Tensor, expected: torch.Tensor, peak: float) -> float | None:
    """Peak signal-to-noise ratio, dB; None where nothing differs."""
    error = float((actual.double() - expected.double()).square().mean())
    return None if error == 0 else round(10 * math.log10(peak**2 / error), 2)


def _tiny(num_frames: int, side: int) -> Inputs:
    """Untrained networks and random inputs."""
    pipeline = Pipeline.untrained_tiny(device="cpu")
    width = pipeline.unet.config.cross_attention_dim
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(NUM_TOKENS, width, generator=generator)
    latents = torch.randn(4, side, side, generator=generator)
    motion = torch.randn(num_frames, NUM_TOKENS, width, generator=generator)
    zeros = torch.zeros(num_frames, 3)
    return Inputs(
        pipeline,
        Appearance(tokens, latents, torch.zeros(512)),
        Motion(motion, (0,), (0,), zeros, zeros),
        "untrained tiny network on random inputs: PSNR says nothing about portraits",
    )


def _released(arguments: list[str]) -> Inputs:
    """The released weights and the inputs that the options of ``animate`` name."""
    from hunyuan_core.cli.animate import add_options
    from hunyuan_core.cli.options import SUBJECTS, find_detectors, find_driving, find_face, find_track
    from hunyuan_core.video import read_image

    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args([*arguments, "--out", "unused.mp4"])
    pipeline = Pipeline.from_pretrained(options.models, device=options.device, has_identity=not options.no_identity)
    portrait, video = read_image(options.portrait), find_driving(options)
    detectors = find_detectors(options, SUBJECTS)
    face = find_face(portrait, detectors["portrait"], options, "portrait")
    track = find_track(video, detectors["driving"], options)
    appearance = pipeline.encode_appearance(portrait, face, size=options.size)
    return Inputs(pipeline, appearance, pipeline.encode_motion(video, track), "released weights")


def plot(results: list[Result], path: Path = PLOT) -> None:
    """Draw speed against PSNR."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for result in results:
        psnr, ratio = result.metrics["psnr_frames_db"], result.ratio
        if psnr is not None and ratio is not None:
            axes.scatter(ratio, psnr, marker="*" if "preset" in result.name else "o", s=60)
            label = result.name.removeprefix("quality/").replace("_", " ")
            axes.annotate(label, (ratio, psnr), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("UNet arithmetic of the plain form over that of the setting (counted, released size)")
    axes.set_ylabel("PSNR to the full run, dB")
    axes.set_title(results[0].metrics["pictures_by"], fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> int:
    """Print one JSON object a line; the exit status is 1 if a gate failed."""
    arguments = sys.argv[1:]
    has_plot = "--plot" in arguments
    arguments = [argument for argument in arguments if argument != "--plot"]
    results = []
    for result in run(_released(arguments) if arguments else None):
        print(result.to_json(), flush=True)
        results.append(result)
    if has_plot:
        plot(results)
    return int(any(result.status == "fail" for result in results))


if __name__ == "__main__":
    sys.exit(main())
