"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from golden_cases import DATA_DIR, GOLDEN_DIR, ROOT
from hypothesis import settings

# No test is timed. CI decides what lands, so it tries the same examples each time; at a desk they are new ones.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The golden tensors: ``layout/`` and ``cases/``."""
    if not (GOLDEN_DIR / "cases").is_dir():
        pytest.skip(f"no golden tensors in {GOLDEN_DIR}; set GOLDEN_DIR")
    return GOLDEN_DIR


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A real portrait, ``source_image.png``, and a real driving clip, ``driving_video.mp4``."""
    if not DATA_DIR.is_dir():
        pytest.skip(f"no trial data in {DATA_DIR}; set DATA_DIR")
    return DATA_DIR


@pytest.fixture
def node_pack() -> Iterator[ModuleType]:
    """The repository's root, imported as ComfyUI does it: a package of its own, never on ``sys.path``."""
    name = "hunyuan_portrait_pack"
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None
    assert spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[name] = pack
    spec.loader.exec_module(pack)
    yield pack
    for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[module]
