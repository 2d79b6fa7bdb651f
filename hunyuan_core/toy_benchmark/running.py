"""All pairs, one after the other or in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import SamplingConfig
from ..errors import HunyuanPortraitError
from ..toy import TOY_SAMPLING
from .measuring import Outcome, measure_pair
from .model import Model, load_model
from .pairs import held_out_pair


@dataclass(frozen=True)
class Source:
    """What ``load_model`` is told."""

    folder: Path | None = None
    reader: Path | None = None
    device: str | None = None
    sampling: SamplingConfig = TOY_SAMPLING

    def load(self) -> Model:
        """Load the model; errors as ``load_model``."""
        return load_model(self.folder, self.reader, self.device, self.sampling)


def measure_pairs(
    source: Source, seed: int, num_pairs: int, num_processes: int, on_pair: Callable[[int], None]
) -> list[Outcome]:
    """Measure the first pairs of a seed; the answer does not depend on the number of processes but for rounding.

    Args:
        num_processes: Each has the model for itself and computes on one core; 1 computes here, on all.
        on_pair: Called with the number of pairs done.

    Raises:
        HunyuanPortraitError: As ``load_model`` and ``Pipeline``, or if a process dies.
    """
    run = _here(source, seed, num_pairs) if num_processes == 1 else _beside(source, seed, num_pairs, num_processes)
    outcomes = []
    for outcome in run:
        outcomes.append(outcome)
        on_pair(len(outcomes))
    return outcomes


def default_processes(device: torch.device) -> int:
    """One for each core, up to four; one on a GPU, which the pairs would share."""
    if device.type != "cpu":
        return 1
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 4)


def _here(source: Source, seed: int, num_pairs: int) -> Iterator[Outcome]:
    model = source.load()
    for i in range(num_pairs):
        yield measure_pair(held_out_pair(seed, i), model)


def _beside(source: Source, seed: int, num_pairs: int, num_processes: int) -> Iterator[Outcome]:
    # Forked processes hang in PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, _start, (source,)) as pool:
        jobs = [pool.submit(_measure, seed, i) for i in range(num_pairs)]
        try:
            for job in jobs:
                yield job.result()
        except BrokenProcessPool as error:
            raise HunyuanPortraitError(
                "A process of the evaluation died, most likely for lack of memory; use fewer with --processes."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_model: Model | None = None
"""Of this process."""


def _start(source: Source) -> None:
    global _model
    # The process that started this one decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _model = source.load()


def _measure(seed: int, index: int) -> Outcome:
    assert _model is not None  # noqa: S101
    return measure_pair(held_out_pair(seed, index), _model)
