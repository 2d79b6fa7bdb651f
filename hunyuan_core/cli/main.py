"""Parser of the command line, and its errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from .. import __version__
from ..errors import HunyuanPortraitError
from . import animate, demo, inspect, weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those of the process if None.

    Returns:
        Exit status: 0 done, 1 something failed the check (verify, convert, download), 2 bad input, 130 interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="hunyuan-portrait",
        description="Animate a portrait by the motion of a driving video, with the HunyuanPortrait model.",
    )
    parser.add_argument("--version", action="version", version=f"hunyuan-portrait {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (animate, inspect, weights, demo):
        module.add_commands(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except HunyuanPortraitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError as error:
        reason = str(error).partition(". ")[0]
        print(f"error: The GPU's memory is full ({reason}); use a smaller --size or --context-window.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return 130
