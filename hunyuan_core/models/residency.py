"""Which network is on the device, and when."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import nn

from ..errors import HunyuanPortraitError
from .memory_plan import STAGES, MemoryPlan, smaller
from .unet import UNet
from .weight_streaming import WeightStream

P = ParamSpec("P")
Value = TypeVar("Value")

_REMEDIES = {
    "appearance": "a smaller size",
    "motion": "the CPU",
    "sampling": "a smaller context_window or size",
    "decoding": "a smaller decode_chunk_size (the picture changes a little) or size",
}


class Residency:
    """Moves networks between main memory and the device as a plan says.

    Args:
        networks: By name; where they are offloaded or streamed, in main memory.
        device: What computes.
        plan: What to begin with.
        say: Gets a line for each change of the plan.

    Attributes:
        plan: Only ever becomes smaller.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        device: torch.device,
        plan: MemoryPlan | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.networks = dict(networks)
        self.device = device
        self.plan = plan or MemoryPlan()
        self.say = say
        self._in_use: Counter[str] = Counter()
        self._homes: dict[str, list[tuple[nn.Module, str, torch.Tensor]]] = {}
        self._stream: WeightStream | None = None
        self._open: ExitStack | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Have a stage's networks on the device.

        Args:
            name: One of STAGES.

        Raises:
            HunyuanPortraitError: If the device's memory does not suffice; says what to change.
        """
        names = STAGES[name]
        self._in_use.update(names)
        try:
            self._settle()
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise HunyuanPortraitError(
                f"Out of memory while {name}: try {_REMEDIES[name]}, or close what else uses the device ({error})."
            ) from error
        finally:
            self._in_use.subtract(names)
            self._settle()

    def retry(self, attempt: Callable[[], Value], *, is_sampling: bool) -> Value:
        """Try something of a stage, after each lack of memory with the next smaller plan.

        Args:
            is_sampling: Whether a smaller plan helps even where the other networks are off the device already.
        """
        while True:
            try:
                return attempt()
            except RuntimeError as error:
                plan = smaller(self.plan) if is_sampling or not self.plan.is_offloaded else None
                if plan is None or not is_out_of_memory(error):
                    raise
            # Outside the handler, where the error no longer holds the failed call's tensors.
            self.shrink(plan)

    def shrink(self, plan: MemoryPlan) -> None:
        """Go on with a smaller plan, also in the middle of a stage."""
        self.plan = plan
        if self.say is not None:
            self.say(f"Out of memory; going on with {plan} (same result but for rounding, slower).")
        self._settle()
        free_cache(self.device)

    @torch.inference_mode(False)
    def _settle(self) -> None:
        """Bring what runs to the device, and where the plan says so, send the rest home."""
        if self.plan.is_offloaded:
            for name in self.networks:
                if not self._in_use[name]:
                    self._send_home(name)
        for name in self.networks:
            if self._in_use[name]:
                self._bring(name)

    def _bring(self, name: str) -> None:
        network = self.networks[name]
        is_streamed = self.plan.is_streamed and name == "unet"
        if is_streamed and self._stream is None:
            self._send_home(name)
            self._stream = WeightStream(cast("UNet", network), self.device)
        if is_streamed and self._stream is not None and self._open is None:
            self._open = ExitStack()
            self._open.enter_context(self._stream.opened())
        streamed = self._stream.tensors if is_streamed and self._stream is not None else set()
        moved = self._homes.setdefault(name, [])
        for owner, key, tensor in _tensors(network):
            if tensor.device != self.device and id(tensor) not in streamed:
                moved.append((owner, key, tensor))
                _put(owner, key, tensor, tensor.to(self.device))

    def _send_home(self, name: str) -> None:
        if name == "unet" and self._open is not None:
            self._open.close()
            self._open = None
        for owner, key, tensor in self._homes.pop(name, []):
            setattr(owner, key, tensor)
        for owner, key, tensor in _tensors(self.networks[name]):
            if tensor.device.type != "cpu" and not tensor.is_meta:
                _put(owner, key, tensor, tensor.cpu())


def in_stage(name: str) -> Callable[[Callable[P, Value]], Callable[P, Value]]:
    """Run a method of an object with a ``residency`` within a stage."""

    def wrap(method: Callable[P, Value]) -> Callable[P, Value]:
        @wraps(method)
        def run(*args: P.args, **kwargs: P.kwargs) -> Value:
            with cast("Any", args[0]).residency.stage(name):
                return method(*args, **kwargs)

        return run

    return wrap


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full, of a GPU or of the machine."""
    is_known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    # Torch's CPU allocator and MPS raise plain RuntimeErrors.
    text = str(error).lower()
    return is_known or "out of memory" in text or "can't allocate memory" in text


def free_cache(device: torch.device) -> None:
    """Give back what failed calls left behind."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _tensors(network: nn.Module) -> list[tuple[nn.Module, str, torch.Tensor]]:
    return [
        (owner, key, tensor)
        for owner in network.modules()
        for key, tensor in chain(owner.named_parameters(recurse=False), owner.named_buffers(recurse=False))
    ]


def _put(owner: nn.Module, key: str, old: torch.Tensor, new: torch.Tensor) -> None:
    setattr(owner, key, nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new)
