"""The released size on a GPU: plain eager form against the product, eager, compiled and approximate.

Weights and inputs are random, which costs the same arithmetic as trained ones. Times are medians of CUDA events between
calls that follow each other, after a warm-up; the roofline is a large matrix product and a large copy in the same run.
Each result is written to ``<out>/<name of the device>.json`` as soon as it is there, in place of an earlier one of that
name, so that a run may be cut off, or made in parts.

Usage: python benchmarks/gpu.py [--out FOLDER] [--seconds N] [SECTION ...]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from gpu_clock import GIB, Timing, Waits, free, kernels, measure, peak_memory, stopwatch
from gpu_kernels import attention_times, convolution_times
from gpu_networks import (
    Scale,
    Window,
    face_in,
    random_appearance,
    random_motion,
    random_network,
    random_pictures,
    random_pipeline,
    usual,
    window_tflop,
)
from results import Result, gated, skipped

from hunyuan_core.compilation import MODES, CompiledNetwork
from hunyuan_core.config import ModelConfig, SamplingConfig
from hunyuan_core.errors import HunyuanPortraitError
from hunyuan_core.models.layout import prefers_channels_last, to_channels_last
from hunyuan_core.models.memory import MemoryMode
from hunyuan_core.models.memory_plan import PLANS, MemoryEstimate, MemoryPlan, Workload, plan_memory
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import PRESETS, Preset, SpeedConfig, context_windows

MIN_SPEEDUP, MIN_PRESET_SPEEDUPS = 2.2, {"default": 2.2, "fast": 5.0, "turbo": 9.0}
MAX_JOB_GIB = 7.5
JOB_FRAMES, JOB_STEPS = 25, 2
"""Of the job whose memory is measured; more steps take more time and no more memory."""
RESULTS = Path(__file__).parent / "results"


class Bench:
    """What the sections share; made when first asked for."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.failures: list[str] = []

    @cached_property
    def unet(self) -> Any:
        """The UNet, its layout the product's."""
        unet = random_network("unet", self.scale)
        if prefers_channels_last(self.scale.device, self.scale.dtype):
            to_channels_last(unet)
        return unet

    @cached_property
    def window(self) -> Window:
        """Of that UNet."""
        unet = self.unet  # not made of inference tensors, which could not be laid out again
        with torch.inference_mode():
            return Window(unet, self.scale)

    @cached_property
    def tflop(self) -> float:
        """Of a window call."""
        return window_tflop(self.scale)

    @cached_property
    def plain(self) -> Timing:
        """The plain form, with channels first as in the release."""
        _lay_out(self.unet, torch.contiguous_format)
        timing = self.measure(self.window.plain)
        if prefers_channels_last(self.scale.device, self.scale.dtype):
            to_channels_last(self.unet)
        return timing

    @cached_property
    def matrix_tflops(self) -> float:
        """10¹² operations a second of a large matrix product."""
        n, options = self.scale.matrix, {"device": self.scale.device, "dtype": self.scale.dtype}
        a, b = torch.randn(n, n, **options), torch.randn(n, n, **options)
        return 2 * n**3 / self.measure(lambda: a @ b).seconds / 1e12

    @property
    def eager_plan(self) -> MemoryPlan:
        """Everything on the device."""
        return PLANS["all"]

    def measure(self, call: Callable[[], object]) -> Timing:
        """Time a call."""
        with torch.inference_mode():
            return measure(call, self.scale.device, self.scale.warm_up, self.scale.rounds)

    def gate(self, limit: float) -> float | None:
        """A limit, where limits mean something."""
        return limit if self.scale.has_gates else None

    def compiled(self, unet: Any, mode: str) -> CompiledNetwork:
        """Compile as ``--compile`` does; what fails is in ``failures``."""
        self.failures = []
        torch._dynamo.reset()
        return CompiledNetwork(unet, mode, self.failures.append, self.scale.backend)

    def report(self, name: str, timing: Timing, at_least: float | None = None, **more: Any) -> Result:
        """Report a window call against the plain form."""
        seconds = timing.seconds
        metrics = {
            "milliseconds_per_window": seconds * 1000,
            "spread": timing.spread,
            "peak_gib": timing.peak_gib,
            "plain_milliseconds_per_window": self.plain.seconds * 1000,
            "plain_spread": self.plain.spread,
            "plain_peak_gib": self.plain.peak_gib,
            "tflop_per_window": self.tflop,
            "share_of_matrix_product": self.tflop / seconds / self.matrix_tflops,
            "window_frames_per_second_25_steps": self.scale.window / (seconds * 25),
            **more,
        }
        limit = None if at_least is None else self.gate(at_least)
        return gated(name, metrics, self.plain.seconds / seconds, at_least=limit, baseline="plain form, eager")


def roofline(bench: Bench) -> Iterator[Result]:
    """What the device can do at most."""
    n = bench.scale.matrix**2 * 4
    source = torch.empty(n, dtype=torch.uint8, device=bench.scale.device)
    target = torch.empty_like(source)
    seconds = bench.measure(lambda: target.copy_(source)).seconds
    metrics = {
        "matrix_product_tflop_per_second": bench.matrix_tflops,
        "copy_gb_per_second": 2 * n / seconds / 1e9,
        "dtype": str(bench.scale.dtype).removeprefix("torch."),
    }
    yield Result("gpu/roofline", metrics, "pass")


def eager(bench: Bench) -> Iterator[Result]:
    """The window without compiling, in each memory mode and with the other layout."""
    for mode in MemoryMode:
        bench.window.predictor.memory_mode = mode
        yield bench.report(f"gpu/eager_{mode.name.lower()}", bench.measure(bench.window.default))
    bench.window.predictor.memory_mode = MemoryMode.TOGETHER
    for name, layout in (("channels_first", torch.contiguous_format), ("channels_last", torch.channels_last)):
        _lay_out(bench.unet, layout)
        yield bench.report(f"gpu/eager_{name}", bench.measure(bench.window.default))
    _lay_out(bench.unet, _usual_layout(bench.scale))
    with torch.inference_mode():
        found = kernels(bench.window.default, bench.scale.device)
    yield Result("gpu/eager_kernels", found, "pass")


def waits(bench: Bench) -> Iterator[Result]:
    """How often the step loop waits for the device, after its first window."""
    scale = bench.scale
    pipeline = replace(random_pipeline(scale, bench.eager_plan), compiled=None)
    found = Waits(scale.device)
    config = usual(scale, num_inference_steps=2)
    with found.recorded():
        pipeline.sample(
            random_appearance(scale),
            random_motion(scale, scale.window + 5),
            config,
            on_progress=lambda num_done, total: found.count(num_done < total),
        )
    metrics = {"waits": sum(found.places.values()), "places": dict(found.places), "steps": 2}
    yield gated("gpu/waits", metrics, metrics["waits"], at_most=0.0, baseline="one run of two steps")


def job(bench: Bench) -> Iterator[Result]:
    """Peak of a whole job of 25-frame windows, in the plan that is chosen for 7.5 GiB and in the others."""
    scale = bench.scale
    num_frames = JOB_FRAMES + 2 * scale.padding
    workload = Workload(size=scale.side * 8, num_frames=num_frames, context_window=scale.window)
    estimate = MemoryEstimate(scale.model, workload, scale.dtype)
    chosen = plan_memory(int(MAX_JOB_GIB * GIB), estimate)
    for name, plan in [("chosen", chosen), *((name, PLANS[name]) for name in scale.plans)]:
        free(scale.device)
        held = torch.cuda.memory_allocated(scale.device) / GIB if scale.device.type == "cuda" else 0.0
        pipeline = random_pipeline(scale, plan)
        free(scale.device)
        seconds: dict[str, float] = {}
        with peak_memory(scale.device) as peak:
            _run_job(pipeline, scale, seconds)
        metrics = {
            "peak_gib": peak[0] - held,
            "reserved_gib": peak[1],
            "estimated_gib": estimate.peak(plan) / GIB,
            "plan": str(plan),
            "frames": JOB_FRAMES,
            "steps": JOB_STEPS,
            **{f"{stage}_seconds": value for stage, value in seconds.items()},
        }
        limit = bench.gate(1.0) if name == "chosen" else None
        baseline = f"{MAX_JOB_GIB} GiB"
        yield gated(f"gpu/job_{name}", metrics, metrics["peak_gib"] / MAX_JOB_GIB, at_most=limit, baseline=baseline)
        del pipeline


def _run_job(pipeline: Pipeline, scale: Scale, seconds: dict[str, float]) -> None:
    config = usual(scale, num_inference_steps=JOB_STEPS)
    frames, track = random_pictures(JOB_FRAMES)
    made: dict[str, Any] = {}
    stages: dict[str, Callable[[], Any]] = {
        "appearance": lambda: pipeline.encode_appearance(
            frames[0], face_in(len(frames[0])), size=scale.side * 8, config=config
        ),
        "motion": lambda: pipeline.encode_motion(frames, track),
        "sampling": lambda: pipeline.sample(made["appearance"], made["motion"], config),
        "decoding": lambda: len(list(pipeline.decode(made["sampling"]))),
    }
    for name, stage in stages.items():
        seconds[name] = stopwatch(lambda name=name, stage=stage: made.update({name: stage()}), scale.device)


def parts(bench: Bench) -> Iterator[Result]:
    """Kernels that could be chosen otherwise: of attention, and of convolutions in each layout."""
    yield Result("gpu/attention_milliseconds", attention_times(bench.scale, bench.measure), "pass")
    yield Result("gpu/convolution_milliseconds", convolution_times(bench.scale, bench.measure), "pass")


def compiled(bench: Bench, mode: str = "default") -> Iterator[Result]:
    """The window compiled; the first call's time is that of compiling."""
    window = bench.window
    with torch.inference_mode():
        expected = window.default()
    call = bench.compiled(bench.unet, mode)
    window.predictor.call = call
    try:
        with torch.inference_mode():
            first = stopwatch(window.default, bench.scale.device)
            error = (window.default() - expected).float().square().mean().sqrt() / expected.float().std()
        timing = bench.measure(window.default)
        with torch.inference_mode():
            found = kernels(window.default, bench.scale.device)
    finally:
        window.predictor.call = bench.unet
    more = {"compile_seconds": first, "rms_difference_to_eager": float(error), "failures": bench.failures}
    limit = MIN_SPEEDUP if mode == "default" else None
    result = bench.report(f"gpu/compiled_{mode}", timing, limit, **more, **found)
    yield result if not bench.failures else replace(result, status="fail")


def runs(bench: Bench, *, is_compiled: bool) -> Iterator[Result]:
    """Whole samplings of 100 frames, exact and by the presets, against as many calls of the plain form."""
    scale = bench.scale
    pipeline = random_pipeline(scale, bench.eager_plan)
    if is_compiled:
        pipeline = replace(pipeline, compiled=bench.compiled(pipeline.unet, "default"))
    appearance, motion = random_appearance(scale), random_motion(scale, scale.num_frames)
    full = usual(scale)
    num_frames = scale.num_frames + 2 * full.num_padding_frames
    num_windows = len(context_windows(num_frames, full.context_window, full.context_overlap))
    plain = num_windows * full.num_inference_steps * bench.plain.seconds
    for name, preset in {"default": Preset(SpeedConfig()), **PRESETS}.items():
        config = preset.apply(full)

        def sample(config: SamplingConfig = config, speed: SpeedConfig = preset.speed) -> None:
            pipeline.sample(appearance, motion, config, speed=speed)

        # The first run also compiles, or chooses kernels.
        first = stopwatch(sample, scale.device) if is_compiled else 0.0
        with peak_memory(scale.device) as peak:
            seconds = stopwatch(sample, scale.device)
        metrics = {
            "sampling_seconds": seconds,
            "first_run_seconds": first,
            "plain_seconds": plain,
            "frames": scale.num_frames,
            "frames_per_second": scale.num_frames / seconds,
            "peak_gib": peak[0],
            "failures": list(bench.failures),
        }
        kind = "compiled" if is_compiled else "eager"
        limit = bench.gate(MIN_PRESET_SPEEDUPS[name]) if is_compiled else None
        baseline = "plain form, eager: measured call times number of calls"
        result = gated(f"gpu/run_{name}_{kind}", metrics, plain / seconds, at_least=limit, baseline=baseline)
        yield result if not bench.failures else replace(result, status="fail")


SECTIONS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "roofline": roofline,
    "eager": eager,
    "waits": waits,
    "job": job,
    "parts": parts,
    "compiled": compiled,
    "runs": lambda bench: runs(bench, is_compiled=False),
    "runs_compiled": lambda bench: runs(bench, is_compiled=True),
    **{mode: (lambda bench, mode=mode: compiled(bench, mode)) for mode in MODES if mode != "default"},
}
"""In the order of what matters most; the last ones compile for minutes."""


def run(
    scale: Scale | None = None, names: Sequence[str] = (), seconds: float = float("inf"), out: Path = RESULTS
) -> Iterator[Result]:
    """Run the sections; none is begun after so many seconds."""
    if scale is None:
        if not torch.cuda.is_available():
            yield skipped("gpu", "no CUDA device")
            return
        scale = Scale(torch.device("cuda"), torch.float16, ModelConfig())
    start, bench = time.monotonic(), Bench(scale)
    for name in names or SECTIONS:
        if time.monotonic() - start > seconds:
            yield skipped(f"gpu/{name}", f"the {seconds:g} seconds were over")
            continue
        try:
            for result in SECTIONS[name](bench):
                save(result, out, scale.device)
                yield result
        # One section's failure, such as a full memory, must not lose the others.
        except (RuntimeError, HunyuanPortraitError) as error:
            result = Result(f"gpu/{name}", {"error": f"{type(error).__name__}: {error}"[:1000]}, "fail")
            save(result, out, scale.device)
            yield result
        free(scale.device)


def save(result: Result, folder: Path, device: torch.device) -> None:
    """Put a result into the device's file, in place of one of the same name."""
    title = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [other for other in kept if other["name"] != result.name]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps([*kept, asdict(result)], indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _usual_layout(scale: Scale) -> torch.memory_format:
    return torch.channels_last if prefers_channels_last(scale.device, scale.dtype) else torch.contiguous_format


def _lay_out(unet: torch.nn.Module, layout: torch.memory_format) -> None:
    for module in unet.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=layout)  # pyright: ignore[reportCallIssue]


def main() -> int:
    """Print one JSON object a line; the exit status is 1 if a gate failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no section after so many")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; choose of {', '.join(SECTIONS)}")
    has_failed = False
    for result in run(None, options.names, options.seconds, options.out):
        print(result.to_json(), flush=True)
        has_failed |= result.status == "fail"
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
