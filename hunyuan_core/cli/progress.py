"""Progress bars and messages of the command line, all on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_name = ""


def speak_as(name: str) -> None:
    """Put a name before each message and draw no bars, because other processes write to the same terminal."""
    global _name
    _name = name


def say(message: str) -> None:
    """Tell the user something."""
    if sys.stderr is not None:  # None where the process was started without one, as some services are
        tqdm.write(f"[{_name}] {message}" if _name else message, file=sys.stderr)


def warn(message: str) -> None:
    """Tell the user something that may spoil the result."""
    say(f"warning: {message}")


@contextmanager
def bar(title: str, unit: str, total: int | None = None, **options: Any) -> Iterator[Callable[..., None]]:
    """Show a progress bar; yields a function that takes the number done and, if it changes, the total and the title."""
    stream = sys.stderr
    with open(os.devnull, "w") as nowhere:
        # In a log file each refresh is another line.
        interval = 0.1 if stream is not None and stream.isatty() else 10
        with tqdm(
            total=total,
            desc=title,
            unit=unit,
            file=stream or nowhere,
            dynamic_ncols=True,
            mininterval=interval,
            disable=bool(_name),
            **options,
        ) as progress:

            def update(num_done: int, total: int | None = None, title: str | None = None) -> None:
                if title is not None:
                    progress.set_description_str(title, refresh=False)
                if total is not None:
                    progress.total = total
                progress.update(num_done - progress.n)

            yield update
