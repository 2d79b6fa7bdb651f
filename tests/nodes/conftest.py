"""The node classes in a real ComfyUI, in this process and without a server; on the CPU."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
COMFYUI = Path(os.environ.get("COMFYUI_PATH", ROOT / "build" / "comfyui" / "ComfyUI"))
PACK = "hunyuan_portrait_pack"


def pytest_ignore_collect() -> bool | None:
    """These tests run in ComfyUI's environment (`make test-comfyui`); elsewhere there is nothing to import."""
    return None if importlib.util.find_spec("comfy_aimdo") or importlib.util.find_spec("torchsde") else True


def _import_from_root(name: str, file: Path) -> ModuleType:
    """Import a package of the repository without putting its root on ``sys.path``: ``nodes`` would hide ComfyUI's."""
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if pytest_ignore_collect() is None:
    # What tests/support uses; the pack has a copy of its own under its own name.
    _import_from_root("hunyuan_core", ROOT / "hunyuan_core" / "__init__.py")


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """ComfyUI's ``folder_paths``, with every folder in a temporary place."""
    if not COMFYUI.is_dir():
        pytest.skip(f"no ComfyUI in {COMFYUI}; run `make test-comfyui`, or set COMFYUI_PATH")
    sys.path.insert(0, str(COMFYUI))
    from comfy.cli_args import args

    args.cpu = True
    import folder_paths

    base = tmp_path_factory.mktemp("comfyui")
    folder_paths.models_dir = str(base / "models")
    for kind in ("input", "output", "temp"):
        (base / kind).mkdir()
        getattr(folder_paths, f"set_{kind}_directory")(str(base / kind))
    return folder_paths


@pytest.fixture(scope="session")
def models_folder(comfyui: ModuleType) -> Path:
    """``models/hunyuan_portrait`` with the tiny networks under the released names."""
    from tiny_models import write_tiny_models

    folder = Path(comfyui.models_dir) / "hunyuan_portrait"
    write_tiny_models(folder)
    return folder


@pytest.fixture(scope="session")
def pack(comfyui: ModuleType) -> ModuleType:
    """The pack as ComfyUI imports it: a package of its own, never on ``sys.path``."""
    return _import_from_root(PACK, ROOT / "__init__.py")


@pytest.fixture(scope="session")
def nodes(pack: ModuleType, models_folder: Path) -> dict[str, type]:
    """Every node class of the pack by its id."""

    async def collect() -> list[type]:
        extension = await pack.comfy_entrypoint()
        await extension.on_load()
        return await extension.get_node_list()

    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(collect())}
