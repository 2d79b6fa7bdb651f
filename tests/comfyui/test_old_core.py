"""The pack in the oldest ComfyUI that can be had: every node registers, and every workflow makes its videos."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from golden_cases import ROOT
from PIL import Image

from .adaptation import adapt
from .install import OLDEST, PACK_FOLDER, Installation, install_oldest
from .server import Server
from .videos import read_facts

# That of the toy model draws its own driver.
WORKFLOWS = sorted(path for path in (ROOT / "workflows" / "api").glob("*.json") if path.stem != "toy_portrait")

# ComfyUI 0.9 has no input for a box.
LOAD_IN_OLDER = """
import asyncio, importlib.util, sys
sys.path.insert(0, sys.argv[1])
from comfy.cli_args import args
args.cpu = True
import utils.install_util  # before nodes, as main.py does: another module of that name comes later
import comfyui_version, nodes, server
from comfy_api.latest import io
comfyui_version.__version__ = "0.9.2"
del io.BoundingBox
path = sys.argv[2]
spec = importlib.util.spec_from_file_location("the_pack", path + "/__init__.py", submodule_search_locations=[path])
pack = sys.modules["the_pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
asyncio.run(pack.comfy_entrypoint())
"""


@pytest.fixture(scope="module")
def oldest(installation: Installation) -> Installation:
    return install_oldest(installation.python)


@pytest.fixture(scope="module")
def old_server(oldest: Installation, start_server: Callable[..., Server]) -> Iterator[Server]:
    server = start_server(comfyui=oldest)
    yield server
    server.stop()


def test_it_is_the_version_that_the_pack_asks_for(old_server: Server, node_pack: ModuleType) -> None:
    assert old_server.client.get("/system_stats")["system"]["comfyui_version"] == OLDEST.comfyui
    assert OLDEST.comfyui == node_pack.OLDEST_COMFYUI


def test_every_node_registers(old_server: Server) -> None:
    nodes = old_server.client.object_info()
    ids = {name for name, node in nodes.items() if node["python_module"] == f"custom_nodes.{PACK_FOLDER}"}
    assert ids == set(json.loads((ROOT / "tests" / "nodes" / "schema.json").read_text()))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_makes_its_videos(path: Path, old_server: Server, portrait: Path, clip: Path) -> None:
    facts = read_facts(clip)
    with Image.open(portrait) as image:
        size = image.size
    prompt = json.loads(path.read_text())
    result = old_server.client.run(adapt(prompt, size, (facts.width, facts.height)).apply(prompt))
    assert result.status == "success", result.error
    videos = [name for _, name in result.saved() if name.endswith(".mp4")]
    assert videos
    assert {read_facts(old_server.output / name).num_frames for name in videos} == {facts.num_frames}


def test_an_older_one_is_told_what_is_needed(oldest: Installation) -> None:
    command = [str(oldest.python), "-c", LOAD_IN_OLDER, str(oldest.folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=oldest.folder)  # noqa: S603
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"RuntimeError: HunyuanPortrait needs ComfyUI {OLDEST.comfyui} or later, and this is 0.9.2: update ComfyUI."
    )
    assert "BoundingBox" in done.stderr
