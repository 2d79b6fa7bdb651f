"""Starting ComfyUI with the pack: every node registers, and nothing heavy is loaded."""

from __future__ import annotations

import ast
import subprocess
from typing import Any

from golden_cases import ROOT

from .client import Client
from .install import Installation
from .server import Server

HEAVY = ["diffusers", "cv2", "mediapipe", "insightface", "onnxruntime", "transformers", "matplotlib", "torchmetrics"]

# What ComfyUI does with a pack, with the modules and the time that it costs; ComfyUI's own are loaded before.
LOAD_PACK = """
import asyncio, importlib.util, json, sys, time
sys.path.insert(0, sys.argv[1])
from comfy.cli_args import args
args.cpu = True
import nodes, server
from comfy_api.latest import io, ui, InputImpl
import comfy.samplers, comfy.sd, latent_preview
before = set(sys.modules)
start = time.perf_counter()
path = sys.argv[2]
spec = importlib.util.spec_from_file_location("the_pack", path + "/__init__.py", submodule_search_locations=[path])
pack = importlib.util.module_from_spec(spec)
sys.modules["the_pack"] = pack
spec.loader.exec_module(pack)

async def collect():
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    return [node.GET_SCHEMA().node_id for node in await extension.get_node_list()]

ids = asyncio.run(collect())
seconds = time.perf_counter() - start
print(json.dumps([ids, sorted({name.split(".")[0] for name in set(sys.modules) - before}), seconds]))
"""


def test_every_node_registers(pack_nodes: dict[str, dict[str, Any]]) -> None:
    sources = (path.read_text() for path in (ROOT / "nodes").glob("*.py"))
    classes = [node for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    own = {node.name for node in classes if {ast.unparse(base) for base in node.bases} == {"io.ComfyNode"}}
    assert set(pack_nodes) == own
    assert len(own) >= 20


def test_nothing_went_wrong_at_the_start(server: Server, client: Client) -> None:
    client.get("/system_stats")
    assert "IMPORT FAILED" not in server.log
    assert "could not be loaded" not in server.log


def test_starting_loads_nothing_heavy(installation: Installation, record_property: Any) -> None:
    command = [str(installation.python), "-c", LOAD_PACK, str(installation.folder), str(ROOT)]
    times = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=installation.folder)  # noqa: S603
        assert done.returncode == 0, done.stderr[-3000:]
        ids, modules, seconds = ast.literal_eval(done.stdout.strip().splitlines()[-1])
        assert len(ids) >= 20
        assert not set(modules) & set(HEAVY)
        times.append(seconds)
    # Shown, not held: it depends on the machine. 0.3 s is the aim.
    record_property("seconds_that_the_pack_adds", sorted(times)[1])
    print(f"the pack adds {sorted(times)[1]:.2f} s to ComfyUI's start (median of 3)")
