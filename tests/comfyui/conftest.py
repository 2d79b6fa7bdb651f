"""A running ComfyUI with this checkout and the tiny networks in it, and what goes through it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip, moving_frames
from golden_cases import DATA_DIR, ROOT
from PIL import Image

from .browser import Browser, prepare_browser
from .client import Client
from .install import BUILD, PACK_FOLDER, Installation, find_installation
from .server import Server
from .videos import cut

NUM_FRAMES = 12
LOADERS = {"LoadImage": "image", "LoadVideo": "file"}  # core's readers of the input folder: which input names a file


@pytest.fixture(scope="session")
def installation() -> Installation:
    """ComfyUI's code and environment; this process has another one."""
    found = find_installation()
    if found is None:
        message = "no ComfyUI in build/comfyui: run `make test-comfyui`, or `python tests/comfyui/install.py` once"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a face; colour ramps where there is no DATA_DIR."""
    if DATA_DIR.is_dir():
        return DATA_DIR / "source_image.png"
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(moving_frames(1, 512, 512)[0]).save(path)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driving video of NUM_FRAMES frames with sound; colour ramps where there is no DATA_DIR."""
    path = tmp_path_factory.mktemp("clip") / "driving.mp4"
    if DATA_DIR.is_dir():
        return cut(DATA_DIR / "driving_video.mp4", path, NUM_FRAMES)
    return make_clip(
        path, num_frames=NUM_FRAMES, size=(512, 512), rate=30, audio_codec="aac", audio_seconds=NUM_FRAMES / 30
    )


@pytest.fixture(scope="session")
def start_server(
    installation: Installation, portrait: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Start another ComfyUI, as ``start_server("--cache-none")``; it has inputs and tiny networks."""
    from pose_networks import save_pose
    from tiny_models import write_tiny_models

    with ExitStack() as stack:

        def start(
            *arguments: str, environment: dict[str, str] | None = None, comfyui: Installation = installation
        ) -> Server:
            base = tmp_path_factory.mktemp("comfyui")
            server = Server(comfyui, base, arguments=arguments, environment=environment)
            write_tiny_models(server.models / "hunyuan_portrait")
            save_pose(server.models / "hunyuan_portrait" / "dw-ll_ucoco_384.onnx")
            _fill_input(server.input, portrait, clip)
            return stack.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Iterator[Server]:
    """The ComfyUI that all tests share; its log is left in ``build/comfyui/server.log``."""
    server = start_server()
    yield server
    shutil.copy(server.base / "comfyui.log", BUILD / "server.log")


@pytest.fixture(scope="session")
def strange_server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A ComfyUI with previews, in which other people's nodes hand over anything (see ``strangers``)."""
    paths = tmp_path_factory.mktemp("paths") / "extra_model_paths.yaml"
    paths.write_text(json.dumps({"strangers": {"custom_nodes": str(Path(__file__).parent / "strangers")}}))
    # What a run does not need stays cached for the next one.
    return start_server("--cache-classic", "--preview-method", "latent2rgb", "--extra-model-paths-config", str(paths))


@pytest.fixture
def client(server: Server) -> Client:
    """A user of the shared ComfyUI whom nobody else's messages reach."""
    return Client(server.url)


@pytest.fixture(scope="session")
def pack_nodes(server: Server) -> dict[str, dict[str, Any]]:
    """ComfyUI's description of each node that the pack registered, by id."""
    module = f"custom_nodes.{PACK_FOLDER}"
    return {name: node for name, node in server.client.object_info().items() if node["python_module"] == module}


@pytest.fixture(scope="module")
def browser(server: Server) -> Iterator[Browser]:
    """A headless Chromium with the shared ComfyUI opened in it; screenshots go to ``build/comfyui/screenshots``.

    Closed with its tests: a page without a GPU draws all the time.
    """
    missing = prepare_browser()
    if missing:
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with Browser(server.url) as browser:
        yield browser


def _fill_input(folder: Path, portrait: Path, clip: Path) -> None:
    """Put the portrait and the clip where each shipped workflow looks for them."""
    names = {("LoadImage", "source_image.png"), ("LoadVideo", "driving_video.mp4")}
    for path in (ROOT / "workflows" / "api").glob("*.json"):
        for node in json.loads(path.read_text()).values():
            kind = node["class_type"]
            if kind in LOADERS:
                names.add((kind, node["inputs"][LOADERS[kind]]))
    for kind, name in names:
        shutil.copy(portrait if kind == "LoadImage" else clip, folder / name)
