"""A network through ``torch.compile``, with a way back where that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .errors import ConfigurationError

MODES = {"default": "default", "graphs": "reduce-overhead", "max": "max-autotune"}
"""Ways to compile, and torch's names for them. *graphs* replays CUDA graphs; *max* does, and tries kernels for long."""
_MAX_CAUSE = 200


class CompiledNetwork:
    """Calls a network through ``torch.compile``; without, from the first failure on, and says so once.

    A failure is one of compiling or of capturing a graph: no C++ compiler, no Triton, a platform that torch does not
    support. Nothing was computed by then, so the result is the network's own. Compiled it differs by rounding.

    One graph is made for each combination of shapes; the UNet has one in a run at default settings of any length.

    Args:
        network: On its device.
        mode: A key of ``MODES``. A network that is not on a CUDA device by now has no graphs, and each mode is default.
        warn: Gets one line if it fails.
        backend: As ``torch.compile`` takes it.

    Attributes:
        is_compiled: Whether calls still go through ``torch.compile``.

    Raises:
        ConfigurationError: If there is no such mode.
    """

    def __init__(
        self, network: nn.Module, mode: str, warn: Callable[[str], None], backend: str | Callable[..., Any] = "inductor"
    ) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"A compile mode is one of {', '.join(MODES)}; got {mode!r}.")
        self.network = network
        self.mode = mode
        self._warn = warn
        self._has_graphs = mode != "default" and next(network.parameters()).is_cuda
        self.is_compiled = True
        try:
            # Breaks would leave parts uncompiled in silence. Shapes are few, and fixed ones make faster kernels.
            self._call = torch.compile(
                network,
                fullgraph=True,
                dynamic=False,
                backend=backend,
                mode=MODES[mode] if self._has_graphs else None,
            )
        except RuntimeError as error:  # Python or a system that torch.compile does not know
            self._give_up(error)

    def __call__(self, *arguments: Any) -> torch.Tensor:
        """Call the network."""
        if self.is_compiled:
            try:
                if not self._has_graphs:
                    return self._call(*arguments)
                torch.compiler.cudagraph_mark_step_begin()
                # A graph writes its next result into the same memory.
                return self._call(*arguments).clone()
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:  # torch's own errors of compiling are of this kind
                self._give_up(error)
        return self.network(*arguments)

    def _give_up(self, error: RuntimeError) -> None:
        self.is_compiled = False
        self._call = self.network
        # What torch says of it ends with a blank line; how to report a bug to its authors follows.
        cause = " ".join(str(error).partition("\n\n")[0].split())
        self._warn(
            "torch.compile failed, and the network runs without it: slower, same result. It needs a C++ compiler, "
            f"and Triton on a GPU. ({type(error).__name__}: {cause[:_MAX_CAUSE]})"
        )
