"""The command ``train``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from ..training.config import read_config
from .progress import say


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train or fine-tune the networks",
        description="Train the networks as a TOML file says. Runs on several processes under `accelerate launch` or "
        "`torchrun`.",
    )
    parser.set_defaults(run=train, stopped="Interrupted; go on with --resume.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the TOML file")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the output folder")


def train(options: argparse.Namespace) -> int:
    """Run the command."""
    from ..training.loop import train as run

    config = read_config(options.config)
    every = config.output.log_every

    def report(num_done: int, losses: Mapping[str, float]) -> None:
        if num_done % every == 0 or num_done == config.optimiser.num_steps:
            values = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            say(f"step {num_done}/{config.optimiser.num_steps}  {values}")

    print(run(config, report, is_resumed=options.resume).weights)
    return 0
