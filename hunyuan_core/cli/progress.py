"""Progress bars and messages of the command line, all on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


def say(message: str) -> None:
    """Tell the user something."""
    tqdm.write(message, file=sys.stderr)


def warn(message: str) -> None:
    """Tell the user something that may spoil the result."""
    say(f"warning: {message}")


@contextmanager
def bar(title: str, unit: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a progress bar; yields a function that takes the number done and optionally the total."""
    # In a log file each refresh is another line.
    interval = 0.1 if sys.stderr.isatty() else 10
    with tqdm(
        total=total, desc=title, unit=unit, file=sys.stderr, dynamic_ncols=True, mininterval=interval
    ) as progress:

        def update(num_done: int, total: int | None = None) -> None:
            if total is not None:
                progress.total = total
            progress.update(num_done - progress.n)

        yield update
