"""The command ``train``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from .progress import bar, say


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train or fine-tune the networks",
        description="Train the networks as a TOML file says. Runs on several processes, of several machines too, under "
        "`torchrun`, or with GPUs `accelerate launch`. Leaves weights in the layout of the released ones, and prints "
        "their folder.",
    )
    parser.set_defaults(run=train, stopped="Interrupted; go on with --resume.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the TOML file")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the output folder")
    parser.add_argument(
        "--export", action="store_true", help="train nothing; write the weights of the newest checkpoint"
    )


def train(options: argparse.Namespace) -> int:
    """Run the command."""
    from ..training.config import read_config
    from ..training.loop import export_newest
    from ..training.loop import train as run

    config = read_config(options.config)
    if options.export:
        print(export_newest(config))
        return 0
    every, total = config.output.log_every, config.optimiser.num_steps
    with ExitStack() as stack:
        update = None

        def report(num_done: int, losses: Mapping[str, float]) -> None:
            nonlocal update
            if update is None:  # here, so that of several processes one alone draws a bar
                update = stack.enter_context(bar("Training", "step", total, initial=num_done - 1))
            update(num_done)
            if num_done % every == 0 or num_done == total:
                values = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
                say(f"step {num_done}/{total}  {values}")

        weights = run(config, report, is_resumed=options.resume).weights
    if os.environ.get("RANK", "0") == "0":
        print(weights)
    return 0
