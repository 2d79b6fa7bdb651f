"""Times, memory, kernels and waits of a GPU. On a CPU the same calls work, so that a test can run what uses them."""

from __future__ import annotations

import gc
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

GIB = 2**30
MAX_SECONDS = 20.0
"""Of one measurement after its warm-up; slower calls are measured fewer times."""


@dataclass(frozen=True)
class Timing:
    """How long calls took.

    Attributes:
        seconds: Median from one call's end to the next one's.
        spread: The longest over the shortest.
        peak_gib: Allocated at the peak, everything included.
    """

    seconds: float
    spread: float
    peak_gib: float


def measure(call: Callable[[], object], device: torch.device, warm_up: int, rounds: int) -> Timing:
    """Time calls that follow each other without a wait between them, as in a run."""
    for _ in range(warm_up):
        call()
    seconds = stopwatch(call, device)
    rounds = max(min(rounds, int(MAX_SECONDS / max(seconds, 1e-6))), 2)
    with peak_memory(device) as peak:
        marks = [_mark(device)]
        for _ in range(rounds):
            call()
            marks.append(_mark(device))
        wait(device)
    times = [_between(*pair) for pair in pairwise(marks)]
    return Timing(statistics.median(times), max(times) / max(min(times), 1e-9), peak[0])


def stopwatch(call: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of one call, to the end of its work on the device."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Wait for all work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give back what nobody refers to."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[float]]:
    """Yield a list that holds, at the end, GiB allocated at the peak and GiB reserved; zeros on a CPU."""
    peak = [0.0, 0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield peak
    if device.type == "cuda":
        peak[:] = torch.cuda.max_memory_allocated(device) / GIB, torch.cuda.max_memory_reserved(device) / GIB


class Waits:
    """Counts the operations that make the host wait, as PyTorch reports them, while ``is_counting``.

    Attributes:
        places: Number of waits by file and line.
    """

    def __init__(self, device: torch.device) -> None:
        self.places: Counter[str] = Counter()
        self._has_gpu = device.type == "cuda"
        self._warnings: list[warnings.WarningMessage] = []

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record, from ``count(True)`` on."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                self.count(False)
        waits = [warning for warning in found if "called a synchronizing" in str(warning.message)]
        self.places.update(f"{warning.filename}:{warning.lineno}" for warning in waits)

    def count(self, is_counting: bool) -> None:
        """Begin or end to count."""
        if self._has_gpu:
            torch.cuda.set_sync_debug_mode("warn" if is_counting else "default")


def kernels(call: Callable[[], object], device: torch.device, num_named: int = 15) -> dict[str, Any]:
    """Number of kernels of a call, their time, and the milliseconds of those that take the most."""
    is_cuda = device.type == "cuda"
    call()
    wait(device)
    with profile(activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU]) as trace:
        call()
        wait(device)
    kind = DeviceType.CUDA if is_cuda else DeviceType.CPU
    times: Counter[str] = Counter()
    count = 0
    for event in trace.events() or []:
        if event.device_type == kind:
            times[event.name[:100]] += event.time_range.elapsed_us() / 1000
            count += 1
    slowest = {name: round(milliseconds, 3) for name, milliseconds in times.most_common(num_named)}
    return {"kernels": count, "kernel_milliseconds": round(sum(times.values()), 3), "slowest_milliseconds": slowest}


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: Any, end: Any) -> float:
    return end - start if isinstance(end, float) else start.elapsed_time(end) / 1000
