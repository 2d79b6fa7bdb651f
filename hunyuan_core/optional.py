"""Import of packages that only some functions need."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from .errors import MissingDependencyError


def require(module: str, purpose: str, install: str) -> ModuleType:
    """Import a module that may be absent.

    Args:
        module: Dotted name to import, e.g. ``"onnxruntime"``.
        purpose: What it is needed for, as it should read after "is needed for".
        install: What installs it, from ``pip install`` on.

    Raises:
        MissingDependencyError: If the import fails; names the purpose, the cause and the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"The package {module!r} is needed for {purpose} but cannot be imported ({error}). "
            # A pip of its own would often be that of another Python, as on portable installs.
            f'Install it: "{sys.executable}" -m {install}'
        ) from error
