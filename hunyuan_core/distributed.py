"""Several processes that work together, one per GPU, as torchrun and ``accelerate launch`` start them.

Tensors pass through main memory (gloo): it works alike on CPUs and all GPUs, and what is passed in a step, 0.4 MB a
frame at 512×512, is little beside the time that the step takes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import distributed

from .errors import ConfigurationError, HunyuanPortraitError

if TYPE_CHECKING:  # Some builds of torch lack it.
    from torch.distributed.distributed_c10d import Store

_MEETING = timedelta(minutes=10)
_PATIENCE = timedelta(days=30)
"""One process may wait for another's whole video. One that ends is noticed at once, because its connections close."""


@dataclass(frozen=True, eq=False)
class Processes:
    """This process among those of one run; made by ``join``.

    Attributes:
        rank: From 0, over all machines.
        local_rank: From 0, on this machine.
        size: Number of processes.
        store: Small texts that all of them read and write.
    """

    rank: int
    local_rank: int
    size: int
    store: Store

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that reads the inputs and writes the output."""
        return self.rank == 0

    def gpu(self) -> torch.device:
        """Give this process a GPU of its own.

        Raises:
            ConfigurationError: If there are more processes on this machine than GPUs.
        """
        count = torch.cuda.device_count()
        if self.local_rank >= count:
            raise ConfigurationError(
                f"Process {self.local_rank} of this machine has no GPU: there are {count}, counted from 0. Start as "
                f"many processes as GPUs (--nproc-per-node {count}), or choose one for all by --device."
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def map(self, function: Callable[[int], torch.Tensor], items: Sequence[int]) -> Iterator[torch.Tensor]:
        """Do what ``map`` does, each process a share; every process gets all values, in order.

        All processes call it with the same items. Each value is bit for bit what its process computed. In the last
        round, processes without an item compute the last one again, in time that they would spend waiting.

        Args:
            function: Its values are alike in shape and dtype.

        Raises:
            HunyuanPortraitError: If another process ended.
        """
        for start in range(0, len(items), self.size):
            own = function(items[min(start + self.rank, len(items) - 1)])
            sent = own.cpu().contiguous()
            received = [torch.empty_like(sent) for _ in range(self.size)]
            with _together():
                distributed.all_gather(received, sent)
            for value in received[: len(items) - start]:
                yield value.to(own.device)

    @torch.inference_mode()
    def share(self, tensors: Mapping[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """Give the first process's tensors to all.

        Args:
            tensors: By name; of the first process alone.

        Returns:
            The tensors, on the CPU.

        Raises:
            HunyuanPortraitError: If another process ended.
        """
        tensors = {name: tensor.cpu().contiguous() for name, tensor in (tensors or {}).items()}
        kinds = [
            [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in tensors.items()
        ]
        text = torch.tensor(list(json.dumps(kinds).encode()), dtype=torch.uint8)
        length = torch.tensor([len(text)])
        with _together():
            distributed.broadcast(length, 0)
            text = text if self.is_first else torch.empty(int(length), dtype=torch.uint8)
            distributed.broadcast(text, 0)
            for name, dtype, shape in json.loads(bytes(text.tolist())):
                if not self.is_first:
                    tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                if tensors[name].numel():
                    distributed.broadcast(tensors[name], 0)
        return tensors

    def wait(self) -> None:
        """Wait until every process is here.

        Raises:
            HunyuanPortraitError: If another process ended.
        """
        with _together():
            distributed.barrier()


class WorkList:
    """Numbered pieces of work, each for one process only: whoever is free takes the next one.

    So a long video delays nobody, which fixed shares would.

    Args:
        num_items: The same in all processes.
        processes: None is this process alone.
        name: Tells this list from others of the same run.
    """

    def __init__(self, num_items: int, processes: Processes | None = None, name: str = "work") -> None:
        self.num_items = num_items
        self._name = name
        self._store = _OwnStore() if processes is None else processes.store

    def __iter__(self) -> Iterator[int]:
        """Take the next piece."""
        while (number := self._store.add(f"{self._name}: taken", 1) - 1) < self.num_items:
            yield number

    def finish(self, number: int, result: str) -> None:
        """Tell all processes what came of a piece."""
        self._store.set(f"{self._name}: {number}", result)

    def results(self) -> list[str | None]:
        """What came of each piece so far; None where it is not finished."""
        names = [f"{self._name}: {number}" for number in range(self.num_items)]
        return [self._store.get(name).decode() if self._store.check([name]) else None for name in names]


class _OwnStore:
    """The store of a process that is alone; torch has none on every system."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._texts: dict[str, str] = {}

    def add(self, key: str, amount: int) -> int:
        self._counts[key] += amount
        return self._counts[key]

    def set(self, key: str, value: str) -> None:
        self._texts[key] = value

    def get(self, key: str) -> bytes:
        return self._texts[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self._texts for key in keys)


@cache
def join() -> Processes | None:
    """Meet the other processes of this run, once; None if this process is alone.

    Raises:
        ConfigurationError: If the environment is not as torchrun sets it, or the others do not come.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=_MEETING)))
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE)
        return Processes(rank, int(os.environ.get("LOCAL_RANK", rank)), size, store)
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the processes of this run cannot meet "
            f"({str(error).splitlines()[0]}). Start them by torchrun or accelerate launch, or unset WORLD_SIZE."
        ) from error


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise HunyuanPortraitError(
            f"Another process of this run ended ({str(error).splitlines()[0]}); see its message, then start all again."
        ) from error
