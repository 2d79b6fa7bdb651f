"""Make the shipped workflows anew: ``python -m workflows.source.make``, from the repository's root.

It starts the ComfyUI of ``make comfyui`` and opens it in Chromium. Run it after a node has changed, and look at what
git shows.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from tests.comfyui.browser import Browser
from tests.comfyui.install import install
from tests.comfyui.server import Server

from .graph import Graph, Output
from .graphs import WORKFLOWS
from .layout import arrange
from .thumbnails import write_thumbnail

FOLDER = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
NAMESPACE = uuid.UUID("6d0d2d3c-4f6e-5a55-9f0e-2f6b6f7c5a10")
NOTE = "MarkdownNote"


def make(graph: Graph, browser: Browser, folder: Path = FOLDER) -> None:
    """Write the files of one workflow.

    Raises:
        RuntimeError: If the frontend reads its own file otherwise than it wrote it.
    """
    sizes = _call(browser, "build", {"id": str(uuid.uuid5(NAMESPACE, graph.name)), "nodes": _specify(graph)})
    layout = arrange(graph, {int(node): tuple(size) for node, size in sizes.items()})
    boxes = [
        {"title": group.title, "colour": group.colour, "bounding": rectangle} for group, rectangle in layout.groups
    ]
    written = _call(browser, "place", {"places": layout.places, "boxes": boxes})
    if _call(browser, "reopen", written["workflow"])["output"] != written["output"]:
        raise RuntimeError(f"{graph.name} is another workflow after it was saved and opened.")
    _write(folder / f"{graph.name}.json", written["workflow"])
    _write(folder / "api" / f"{graph.name}.json", written["output"])


def _specify(graph: Graph) -> list[dict[str, Any]]:
    """Describe the nodes as page.js takes them."""
    note = {"id": 1, "type": NOTE, "title": "Read me", "values": {"text": graph.note}}
    plain = {"title": None, "is_muted": False, "models": [], "links": {}}
    specs = [
        {
            "id": node.id,
            "type": node.type,
            "title": node.title,
            "is_muted": node.is_muted,
            "models": node.models,
            "values": {name: value for name, value in node.inputs.items() if not isinstance(value, Output)},
            "links": {
                name: [value.node_id, value.name] for name, value in node.inputs.items() if isinstance(value, Output)
            },
        }
        for node in graph.nodes
    ]
    return [plain | note, *specs]


def _call(browser: Browser, function: str, argument: Any) -> Any:
    return browser.evaluate(f"({PAGE}).{function}({json.dumps(argument)})")


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Make all of them."""
    graphs = [workflow() for workflow in WORKFLOWS]
    with tempfile.TemporaryDirectory() as base, Server(install(), Path(base)) as server, Browser(server.url) as browser:
        for graph in graphs:
            make(graph, browser)
    for graph in graphs:
        write_thumbnail(graph.name, FOLDER / f"{graph.name}.jpg")


if __name__ == "__main__":
    main()
