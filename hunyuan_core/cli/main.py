"""Parser of the command line, and its errors."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from .. import __version__
from ..errors import HunyuanPortraitError
from .progress import say

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those of the process if None.

    Returns:
        Exit status: 0 done, 1 something failed the check (verify, convert, download), 2 bad input, 130 interrupted.
    """
    options = argparse.Namespace(stopped="Interrupted.")
    try:
        with _stopped_by_signals():
            # Not at module level: these take seconds to import, and an interrupt then should not show a traceback.
            from . import animate, batch, demo, evaluate, evaluate_toy, inspect, prepare, train, weights

            parser = _Parser(
                prog="hunyuan-portrait",
                description="Animate a portrait by the motion of a driving video, with the HunyuanPortrait model.",
            )
            parser.add_argument("--version", action="version", version=f"hunyuan-portrait {__version__}")
            commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
            for module in (animate, batch, evaluate, evaluate_toy, prepare, train, inspect, weights, demo):
                module.add_commands(commands)
            options = parser.parse_args(arguments)
            return options.run(options)
    except HunyuanPortraitError as error:
        say(f"error: {error}")
        return 2
    except (MemoryError, RuntimeError) as error:
        from ..models.residency import is_out_of_memory  # not at module level, as above

        if not is_out_of_memory(error):
            raise
        say(f"error: The memory is full ({str(error).partition('. ')[0]}); use a smaller --size or --context-window.")
        return 2
    except KeyboardInterrupt:
        say(options.stopped)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; keep Python from complaining once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and takes no abbreviations, which would break when an option is added."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})  # pyright: ignore[reportArgumentType]

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let being terminated and a closed terminal clean up as an interrupt does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
