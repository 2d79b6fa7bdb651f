"""Counts what makes a host wait for its device, with the meta device in the device's place.

There, reading a value is an error anyway. What is seen beside it: tensors made of numbers on the device, tensors copied
between it and main memory, and those that meet a tensor of the other place in one operation.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_MAKERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
_COPIES = (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)


class HostTraffic(TorchDispatchMode):
    """Counts while ``is_counting``.

    Attributes:
        waits: Number of waits, by kind.
        background_copies: Copies that nobody waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_counting = False
        self.waits: Counter[str] = Counter(tensors_of_numbers=0, copies=0, tensors_elsewhere=0)
        self.background_copies = 0
        self._makers = _Makers(self)

    def __enter__(self) -> HostTraffic:
        self._makers.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._makers.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_iter((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        if not self.is_counting or len({tensor.device for tensor in tensors}) < 2:
            return out
        if func.overloadpacket in _COPIES:
            given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False))
            if {**given, **kwargs}.get("non_blocking"):
                self.background_copies += 1
            else:
                self.waits["copies"] += 1
        # A scalar in main memory is handed over with the call.
        elif any(tensor.device.type == "cpu" and tensor.ndim > 0 for tensor in tensors):
            self.waits["tensors_elsewhere"] += 1
        return out


class _Makers(TorchFunctionMode):
    """Sees what makes tensors of numbers, which no operation shows on the meta device."""

    def __init__(self, traffic: HostTraffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.traffic.is_counting and func in _MAKERS and out.device.type != "cpu":
            self.traffic.waits["tensors_of_numbers"] += 1
        return out
