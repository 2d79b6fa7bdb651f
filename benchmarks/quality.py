"""What each approximation saves, and how far it takes the picture from the full run.

What is saved is counted for a whole job of 100 frames at 512×512 and the released size; see ``work``. The pictures are
made by the weights of ``--models FOLDER``, from the inputs that ``--portrait``, ``--driving`` and the other options of
``hunyuan-portrait animate`` name or else from the drawn ones of ``hunyuan-portrait demo``. Without options they are
made by a tiny untrained network on random inputs: its PSNR says that an approximation runs and which one bends a smooth
function more, and nothing about how a portrait looks.

Usage: python benchmarks/quality.py [--plot] [--models FOLDER] [options of ``hunyuan-portrait animate``]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from results import Result, gated
from work import GATES, NUM_TOKENS, job

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, Motion
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import PRESETS, SpeedConfig

NUM_FRAMES = 100
"""Of the counted run."""
TINY_FRAMES, TINY_SIDE, DRAWN_FRAMES = 20, 4, 24
"""Of the run whose picture is compared: without weights, and on drawn inputs."""
FOLDER = Path("build/benchmarks")
COLUMNS, THUMBNAIL, MARGIN = 6, 128, 170
"""Frames in a row of the contact sheet, and pixels."""


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
TEN, FIFTEEN = {"num_inference_steps": 10}, {"num_inference_steps": 15}
CASES = [
    Case("same output"),
    Case("15 Karras steps", sampling=FIFTEEN),
    Case("10 Karras steps", sampling=TEN),
    Case("15 steps DPM++ 2M", SpeedConfig(sampler="dpmpp_2m"), FIFTEEN),
    Case("15 steps UniPC", SpeedConfig(sampler="unipc"), FIFTEEN),
    Case("10 Align Your Steps", SpeedConfig(schedule="align_your_steps"), TEN),
    Case("10 Align Your Steps, DPM++ 2M", SpeedConfig(schedule="align_your_steps", sampler="dpmpp_2m"), TEN),
    Case("guidance in (0.3, 20]", SpeedConfig(guidance_interval=(0.3, 20.0))),
    Case("deep features every 2nd step", SpeedConfig(feature_interval=2)),
    Case("deep features every 3rd step", SpeedConfig(feature_interval=3)),
    Case("every 2nd step extrapolated", SpeedConfig(extrapolation_interval=2)),
    Case("2 of 3 steps extrapolated", SpeedConfig(extrapolation_interval=3, extrapolation_order=2)),
    # As 15 frames do, 7 put the first frame at the end of a chunk of the decoder; another number would measure that.
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
    for result, _ in tried(inputs or _tiny()):
        yield result


def tried(inputs: Inputs) -> Iterator[tuple[Result, np.ndarray]]:
    """Try every case; yields what it found, and some of the frames."""
    full: tuple[torch.Tensor, np.ndarray] | None = None
    for case in CASES:
        counted = job(case.config, case.speed, NUM_FRAMES)
        start = time.perf_counter()
        latents, frames = _animate(inputs, case)
        seconds = time.perf_counter() - start
        if full is None:
            full = latents, frames
        metrics = {
            **counted,
            "psnr_latents_db": _psnr(latents, full[0], float(full[0].max() - full[0].min())),
            "psnr_frames_db": _psnr(torch.from_numpy(frames), torch.from_numpy(full[1]), 255.0),
            "seconds_of_the_compared_run": round(seconds, 3),
            "pictures_by": inputs.weights,
        }
        ratio, gate = counted["tflop_plain"] / counted["tflop"], GATES.get(case.name.removeprefix("preset "))
        name = f"quality/{case.name.replace(' ', '_')}"
        columns = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
        yield gated(name, metrics, ratio, at_least=gate, baseline="plain path, all networks"), frames[columns]


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


def _tiny() -> Inputs:
    """Untrained networks and random inputs."""
    pipeline = Pipeline.untrained_tiny(device="cpu")
    width = pipeline.unet.config.cross_attention_dim
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(NUM_TOKENS, width, generator=generator)
    latents = torch.randn(4, TINY_SIDE, TINY_SIDE, generator=generator)
    motion = torch.randn(TINY_FRAMES, NUM_TOKENS, width, generator=generator)
    zeros = torch.zeros(TINY_FRAMES, 3)
    return Inputs(
        pipeline,
        Appearance(tokens, latents, torch.zeros(512)),
        Motion(motion, (0,), (0,), zeros, zeros),
        "untrained tiny network on random inputs: PSNR says nothing about portraits",
    )


def _given(arguments: list[str]) -> Inputs:
    """Weights and inputs that the options of ``animate`` name."""
    from hunyuan_core.cli.animate import add_options
    from hunyuan_core.cli.options import DTYPES, SUBJECTS, find_detectors, find_driving, find_face, find_track
    from hunyuan_core.video import read_image

    with tempfile.TemporaryDirectory() as folder:
        is_drawn = "--portrait" not in arguments
        if is_drawn:
            arguments = [*_drawn(Path(folder)), *arguments]
        parser = argparse.ArgumentParser()
        add_options(parser)
        options = parser.parse_args([*arguments, "--out", "unused.mp4"])
        dtype = None if options.dtype is None else DTYPES[options.dtype]
        pipeline = Pipeline.from_pretrained(
            options.models, device=options.device, dtype=dtype, has_identity=not options.no_identity
        )
        portrait, video = read_image(options.portrait), find_driving(options)
        detectors = find_detectors(options, SUBJECTS)
        face = find_face(portrait, detectors["portrait"], options, "portrait")
        track = find_track(video, detectors["driving"], options)
        appearance = pipeline.encode_appearance(portrait, face, size=options.size)
        motion = pipeline.encode_motion(video, track)
    weights = f"weights of {options.models or 'the models folder'}, {'drawn' if is_drawn else 'given'} inputs"
    return Inputs(pipeline, appearance, motion, weights)


def _drawn(folder: Path) -> list[str]:
    """Write drawn inputs; gives the options that name them."""
    from hunyuan_core.demo import FACE_BOX, draw_driver, draw_portrait
    from hunyuan_core.video import write_image, write_video

    portrait, driving = folder / "portrait.png", folder / "driving.mp4"
    write_image(portrait, draw_portrait())
    write_video(driving, draw_driver(DRAWN_FRAMES), Fraction(25))
    box = ",".join(map(str, FACE_BOX))
    inputs = ["--portrait", str(portrait), "--driving", str(driving)]
    return [*inputs, "--portrait-box", box, "--driving-box", box, "--no-identity"]


def plot(results: list[Result], path: Path) -> None:
    """Draw speed against PSNR."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for result in results:
        psnr, ratio = result.metrics["psnr_frames_db"], result.ratio
        if psnr is not None and ratio is not None:
            axes.scatter(ratio, psnr, marker="*" if "preset" in result.name else "o", s=60)
            axes.annotate(_label(result), (ratio, psnr), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("Arithmetic of the plain path over that of the setting (counted, 100 frames, released size)")
    axes.set_ylabel("PSNR to the full run, dB")
    axes.set_title(results[0].metrics["pictures_by"], fontsize=9)
    figure.savefig(path, dpi=120)


def contact_sheet(results: list[Result], rows: list[np.ndarray]) -> Image.Image:
    """Lay some frames of each setting side by side.

    Args:
        rows: (n, H, W, 3) uint8 RGB for each result.
    """
    sheet = Image.new("RGB", (MARGIN + THUMBNAIL * len(rows[0]), THUMBNAIL * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (result, frames) in enumerate(zip(results, rows, strict=True)):
        psnr = result.metrics["psnr_frames_db"]
        text = f"{_label(result)}\n{result.ratio:.1f} times less\n{'equal' if psnr is None else f'{psnr} dB'}"
        draw.multiline_text((6, y * THUMBNAIL + 6), text, fill="black")
        for x, frame in enumerate(frames):
            thumbnail = Image.fromarray(frame).resize((THUMBNAIL, THUMBNAIL))
            sheet.paste(thumbnail, (MARGIN + x * THUMBNAIL, y * THUMBNAIL))
    return sheet


def _label(result: Result) -> str:
    return result.name.removeprefix("quality/").replace("_", " ")


def main() -> int:
    """Print one JSON object a line; the exit status is 1 if a gate failed."""
    arguments = sys.argv[1:]
    has_plot = "--plot" in arguments
    arguments = [argument for argument in arguments if argument != "--plot"]
    results, rows = [], []
    for result, frames in tried(_given(arguments) if arguments else _tiny()):
        print(result.to_json(), flush=True)
        results.append(result)
        rows.append(frames)
    if has_plot:
        FOLDER.mkdir(parents=True, exist_ok=True)
        plot(results, FOLDER / "quality.png")
        contact_sheet(results, rows).save(FOLDER / "quality_frames.png")
    return int(any(result.status == "fail" for result in results))


if __name__ == "__main__":
    sys.exit(main())
