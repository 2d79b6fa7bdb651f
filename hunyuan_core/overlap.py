"""Reading and writing while something else computes, with the order, the values and the errors of doing without.

Decoders, scalers and encoders of video release Python's lock, so a thread is enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

ItemT = TypeVar("ItemT")

_END: object = object()


@contextmanager
def read_ahead(items: Iterable[ItemT], depth: int = 2) -> Iterator[Iterator[ItemT]]:
    """Make the next items in a second thread while the last one is used.

    An error comes where the item would have come. The thread ends with the block, whatever ends that.

    Args:
        items: Gone through in that thread, so they must not need this one.
        depth: Items that wait at most.
    """
    iterator = iter(items)
    worker = ThreadPoolExecutor(1, "read-ahead")

    def read() -> Iterator[ItemT]:
        waiting = deque(worker.submit(next, iterator, _END) for _ in range(depth))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(worker.submit(next, iterator, _END))
            yield item  # pyright: ignore[reportReturnType]

    try:
        yield read()
    finally:
        worker.shutdown(cancel_futures=True)


@contextmanager
def write_behind(
    write: Callable[[np.ndarray], None], max_waiting_bytes: int = 2**25
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write frames in a second thread while the next ones are made; the block ends when all are written.

    An error comes with one of the next frames, or at the end of the block; after it nothing more is written.

    Args:
        write: Called in that thread, in order.
        max_waiting_bytes: Of the frames that wait; one always may.
    """
    worker = ThreadPoolExecutor(1, "write-behind")
    waiting: deque[Future[None]] = deque()
    is_whole = True

    def write_next(frame: np.ndarray) -> None:
        nonlocal is_whole
        if is_whole:
            is_whole = False
            write(frame)
            is_whole = True

    def hand_over(frame: np.ndarray) -> None:
        while waiting and (waiting[0].done() or (len(waiting) + 1) * frame.nbytes > max_waiting_bytes):
            waiting.popleft().result()
        waiting.append(worker.submit(write_next, frame))

    try:
        yield hand_over
        while waiting:
            waiting.popleft().result()
    finally:
        worker.shutdown(cancel_futures=True)
