"""Block-wise streaming of the UNet's weights from main memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
from torch import nn

from .unet import Stage, UNet

NUM_SLOTS = 2
"""Blocks that are on the device at once: the one that runs, and the one that comes next."""

_ALIGNMENT = 256
_CONTEXT = ("attn2.to_k.", "attn2.to_v.", "attn2.processor.")
"""Projections of image and motion tokens. They run outside of the blocks, between calls, so they stay on the device."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """One tensor of a block: whose it is, and where it lies in the block's memory."""

    owner: nn.Module
    name: str
    home: torch.Tensor
    offset: int

    def view(self, memory: torch.Tensor) -> torch.Tensor:
        """The same tensor in another memory, (bytes,) uint8."""
        part = memory[self.offset : self.offset + self.home.nbytes].view(self.home.dtype)
        return _like(self.home, part.as_strided(self.home.shape, self.home.stride()))


class WeightStream:
    """Keeps a UNet's blocks in main memory and copies each to the device just before it runs.

    A block is a residual block, a transformer or a resampling convolution. The weights of a block are one piece of
    (on CUDA: pinned) memory, and the device has NUM_SLOTS pieces for the largest. While a block runs, the next one is
    copied on a stream of its own. The result is the same bit for bit, because the same kernels see the same numbers.

    The hooks change tensors between blocks, which a graph of the whole UNet cannot hold: do not compile it.

    Args:
        unet: Its weights are where they shall stay; they are moved into other memory there.
        device: What computes.

    Attributes:
        num_copies: Blocks that were copied so far.
    """

    def __init__(self, unet: UNet, device: torch.device) -> None:
        self.device = device
        self.num_copies = 0
        is_cuda = device.type == "cuda"
        modules = blocks_of(unet)
        self._memories: list[torch.Tensor] = []
        self._entries: list[list[_Entry]] = []
        with torch.inference_mode(False):
            for module in modules:
                memory, entries = _pack(module, is_pinned=is_cuda)
                self._memories.append(memory)
                self._entries.append(entries)
        self.tensors = {id(entry.home) for entries in self._entries for entry in entries}
        for index, module in enumerate(modules):
            module.register_forward_pre_hook(lambda *_, index=index: self._enter(index))
            module.register_forward_hook(lambda *_, index=index: self._leave(index), always_call=True)
        self._stream = torch.cuda.Stream(device) if is_cuda else None
        self._slots: list[torch.Tensor] = []
        self._holds: list[int | None] = []
        self._views: dict[tuple[int, int], list[torch.Tensor]] = {}
        self._arrived: list[Any] = []
        self._left: list[Any] = []
        self._last = 0
        self._is_running = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have memory for the blocks on the device; the UNet must not be called outside."""
        size = max(memory.nbytes for memory in self._memories)
        with torch.inference_mode(False):
            self._slots = [torch.empty(size, dtype=torch.uint8, device=self.device) for _ in range(NUM_SLOTS)]
        if self._stream is not None:
            # Kernels that were started before may still use this memory.
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
        self._holds = [None] * NUM_SLOTS
        self._arrived, self._left = [None] * NUM_SLOTS, [None] * NUM_SLOTS
        try:
            yield
        finally:
            if self._stream is not None:
                # A block that was fetched for nothing may still be on its way into memory that is given back here.
                torch.cuda.current_stream(self.device).wait_stream(self._stream)
            self._slots, self._views = [], {}

    def _enter(self, index: int) -> None:
        slot = self._fetch(index)
        if self._stream is not None:
            torch.cuda.current_stream(self.device).wait_event(self._arrived[slot])
        key = index, slot
        if key not in self._views:
            with torch.inference_mode(False):
                self._views[key] = [entry.view(self._slots[slot]) for entry in self._entries[index]]
        for entry, tensor in zip(self._entries[index], self._views[key], strict=True):
            setattr(entry.owner, entry.name, tensor)
        self._last, self._is_running = slot, True
        self._fetch((index + 1) % len(self._memories))

    def _leave(self, index: int) -> None:
        for entry in self._entries[index]:
            setattr(entry.owner, entry.name, entry.home)
        self._is_running = False
        if self._stream is not None:
            self._left[self._last] = torch.cuda.current_stream(self.device).record_event()

    def _fetch(self, index: int) -> int:
        """Have a block in a slot, or on its way there."""
        if index in self._holds:
            return self._holds.index(index)
        slot = 1 - self._last if self._is_running else self._last
        memory = self._memories[index]
        target = self._slots[slot][: memory.nbytes]
        if self._stream is None:
            target.copy_(memory)
        else:
            with torch.cuda.stream(self._stream):
                if self._left[slot] is not None:
                    self._stream.wait_event(self._left[slot])
                target.copy_(memory, non_blocking=True)
                self._arrived[slot] = self._stream.record_event()
        self._holds[slot] = index
        self.num_copies += 1
        return slot


def blocks_of(unet: UNet) -> list[nn.Module]:
    """All blocks in the order in which a call runs them."""
    blocks: list[nn.Module] = []
    for stage in cast("list[Stage]", [*unet.down_blocks, unet.mid_block, *unet.up_blocks]):
        for i, resnet in enumerate(stage.resnets):
            blocks.append(resnet)
            # The middle stage has one transformer less than residual blocks.
            blocks += stage.attentions[i : i + 1]
        blocks += [*stage.downsamplers, *stage.upsamplers]
    return blocks


def streamed_bytes(unet: UNet) -> int:
    """Bytes of weights that are on the device while a UNet is streamed."""
    blocks = [list(_tensors(block)) for block in blocks_of(unet)]
    inside = [sum(_aligned(tensor.nbytes) for _, _, tensor in block) for block in blocks]
    outside = sum(tensor.nbytes for tensor in chain(unet.parameters(), unet.buffers()))
    outside -= sum(tensor.nbytes for block in blocks for _, _, tensor in block)
    return outside + NUM_SLOTS * max(inside)


def _tensors(block: nn.Module) -> Iterator[tuple[nn.Module, str, torch.Tensor]]:
    """Owner, name and tensor of what is streamed."""
    for prefix, owner in block.named_modules():
        for name, tensor in chain(owner.named_parameters(recurse=False), owner.named_buffers(recurse=False)):
            if not any(part in f"{prefix}.{name}" for part in _CONTEXT):
                yield owner, name, tensor


def _pack(block: nn.Module, *, is_pinned: bool) -> tuple[torch.Tensor, list[_Entry]]:
    """Move a block's tensors into one piece of memory."""
    found = list(_tensors(block))
    size = sum(_aligned(tensor.nbytes) for _, _, tensor in found)
    memory = torch.empty(size, dtype=torch.uint8, device=found[0][2].device, pin_memory=is_pinned)
    entries, offset = [], 0
    for owner, name, tensor in found:
        packed = _Entry(owner, name, tensor.detach(), offset).view(memory)
        packed.detach().copy_(tensor.detach())
        packed = nn.Parameter(packed, requires_grad=False) if isinstance(tensor, nn.Parameter) else packed
        setattr(owner, name, packed)
        entries.append(_Entry(owner, name, packed, offset))
        offset += _aligned(tensor.nbytes)
    return memory, entries


def _like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return nn.Parameter(other, requires_grad=False) if isinstance(tensor, nn.Parameter) else other


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
