"""Every shipped workflow in a real browser, by the hands of a user; needs Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_cases import ROOT
from PIL import Image

from .adaptation import PREFIX, Adaptation, adapt
from .browser import Browser
from .install import PACK_FOLDER
from .server import Server
from .videos import read_facts

# No test can have these: what they are is checked when they are read. The frontend offers to download them.
ABSENT = {"missing model yoloface_v5m.pt", "missing model yolox_l.onnx"}
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    """A ComfyUI that runs every node each time; else those that another workflow has alike would show nothing."""
    return start_server("--cache-none")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_dropped_workflow_is_its_api_twin_and_runs(
    path: Path, browser: Browser, server: Server, portrait: Path, clip: Path
) -> None:
    api = json.loads((path.parent / "api" / path.name).read_text())
    driver = read_facts(clip)
    drawn = [node["inputs"] for node in api.values() if node["class_type"] == f"{PREFIX}DrawnExample"]
    with Image.open(portrait) as image:
        # What draws its own people runs as it is.
        adaptation = Adaptation() if drawn else adapt(api, image.size, (driver.width, driver.height))

    browser.drop(path)
    assert set(browser.problems()) <= ABSENT
    assert browser.prompt()["output"] == api

    num_frames = drawn[0]["num_frames"] if drawn else driver.num_frames

    browser.change(adaptation.values, adaptation.cut)
    assert browser.prompt()["output"] == adaptation.apply(api)
    end = browser.run()
    assert end["event"] == "execution_success", end["detail"]
    result = server.client.wait(end["detail"]["prompt_id"])
    assert not result.cached
    videos = [name for _, name in result.saved() if name.endswith((".mp4", ".mov"))]
    assert videos
    for name in videos:
        assert read_facts(server.output / name).num_frames == num_frames
    num_videos = browser.show()
    browser.screenshot(path.stem)
    assert num_videos >= (1 if drawn else 2)  # what was loaded, and what was made
    assert set(browser.problems()) <= ABSENT


def test_an_unknown_node_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    workflow = json.loads((ROOT / "workflows" / "portrait_basic.json").read_text())
    workflow["nodes"][-1]["type"] = "HunyuanPortraitNobody"
    path = tmp_path / "unknown.json"
    path.write_text(json.dumps(workflow))
    browser.drop(path)
    unknown, overlay = browser.problems()
    assert unknown == "no node HunyuanPortraitNobody"
    assert "Missing Node Packs" in overlay


def test_templates_list_the_pack_and_open(browser: Browser) -> None:
    thumbnails = browser.templates(PACK_FOLDER)
    browser.screenshot("templates")
    assert set(thumbnails) == {path.stem for path in WORKFLOWS}
    assert all(width >= 256 for width in thumbnails.values())
    browser.choose("full_control")
    assert set(browser.problems()) == ABSENT
    api = json.loads((ROOT / "workflows" / "api" / "full_control.json").read_text())
    assert browser.prompt()["output"] == api


def test_a_help_page_opens(browser: Browser, pack_nodes: dict[str, dict[str, Any]]) -> None:
    node = "HunyuanPortraitDetectFaces"
    browser.drop(ROOT / "workflows" / "full_control.json")
    text = browser.help(node)
    browser.screenshot("help")
    page = (ROOT / "nodes" / "web" / "docs" / f"{node}.md").read_text()
    title = page.splitlines()[0].removeprefix("# ")
    assert title == pack_nodes[node]["display_name"]
    assert text.startswith(title)
    assert pack_nodes[node]["input"]["required"].keys() <= set(text.split())
