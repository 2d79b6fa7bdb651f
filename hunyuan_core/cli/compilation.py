"""The option that compiles the UNet."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..compilation import MODES, CompiledNetwork
from ..pipeline import Pipeline
from .progress import say, warn


def add_compile_option(parser: argparse.ArgumentParser) -> None:
    """Offer to compile."""
    parser.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=tuple(MODES),
        metavar="MODE",
        help="run the UNet through torch.compile, which takes minutes once and pays off in longer runs: default, "
        "graphs (CUDA graphs as well) or max (tries kernels for long as well); the result differs by rounding",
    )


def with_compiled_unet(options: argparse.Namespace, pipeline: Pipeline) -> Pipeline:
    """Compile if that was asked for; where it cannot be or fails, warn and go on without."""
    if options.compile is None:
        return pipeline
    if pipeline.residency.plan.is_streamed:
        warn("--compile is left out: the UNet is streamed from main memory, block by block (see --memory)")
        return pipeline
    say("Compiling the UNet: the first windows of the sampling take minutes")
    return replace(pipeline, compiled=CompiledNetwork(pipeline.unet, options.compile, warn))
