"""The shipped workflows as files; tests/comfyui opens and runs them."""

from __future__ import annotations

import ast
import importlib
import json
import re
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from golden_cases import ROOT
from PIL import Image

from hunyuan_core.checkpoints import FILES
from hunyuan_core.toy import TOY_SAMPLING, TOY_SIZE

FOLDER = ROOT / "workflows"
PATHS = sorted(FOLDER.glob("*.json"))
NAMES = [path.stem for path in PATHS]
CORE_NODES = {
    *("AlignYourStepsScheduler", "CreateVideo", "GetVideoComponents", "ImageScale", "KSamplerSelect", "LoadImage"),
    *("ImageStitch", "LoadVideo", "PreviewAny", "RandomNoise", "SamplerCustomAdvanced", "SaveVideo"),
}
NOTE, MUTED = "MarkdownNote", 2
TOY = "toy_portrait"
OF_RELEASED = [name for name in NAMES if name != TOY]


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def read_api(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "api" / f"{name}.json").read_text())


def pack_nodes() -> set[str]:
    """Ids of the pack's nodes, read from the source as ComfyUI-Manager does it."""
    calls = (
        node
        for path in (ROOT / "nodes").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Schema"
    )
    return {ast.literal_eval(keyword.value) for call in calls for keyword in call.keywords if keyword.arg == "node_id"}


def node_box(node: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node with its title."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - 30, x + width, y + height


def group_box(group: dict[str, Any]) -> tuple[float, float, float, float]:
    x, y, width, height = group["bounding"]
    return x, y, x + width, y + height


def is_apart(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.fixture
def source(node_pack: ModuleType) -> ModuleType:
    """The descriptions that the files are made from."""
    return importlib.import_module(f"{node_pack.__name__}.workflows.source.graphs")


def test_each_workflow_has_a_picture_and_a_twin() -> None:
    assert len(NAMES) == 8
    assert sorted(path.stem for path in FOLDER.glob("*.jpg")) == NAMES
    assert sorted(path.stem for path in (FOLDER / "api").glob("*")) == NAMES


def test_every_node_of_the_pack_is_used() -> None:
    used = {node["type"] for name in NAMES for node in read(name)["nodes"]}
    assert pack_nodes() - used == set()
    assert used - pack_nodes() - CORE_NODES == {NOTE}


def test_every_node_but_load_motion_runs_without_a_change() -> None:
    # There is nothing to load before the first run.
    run = {node["class_type"] for name in NAMES for node in read_api(name).values()}
    assert pack_nodes() - run == {"HunyuanPortraitLoadMotion"}


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_made_from_their_source(name: str, source: ModuleType) -> None:
    # If this fails: python -m workflows.source.make
    (graph,) = [made for made in (make() for make in source.WORKFLOWS) if made.name == name]
    api, shown = read_api(name), {node["id"]: node for node in read(name)["nodes"]}
    assert shown.pop(1)["widgets_values"] == [graph.note]
    assert set(shown) == {node.id for node in graph.nodes}
    assert set(api) == {str(node.id) for node in graph.nodes if not node.is_muted}
    for node in graph.nodes:
        assert shown[node.id]["type"] == node.type
        assert shown[node.id].get("title") == node.title or node.title is None
        assert shown[node.id]["properties"].get("models", []) == list(node.models)
        if node.is_muted:
            continue
        twin = api[str(node.id)]
        assert twin["class_type"] == node.type
        for key, value in node.inputs.items():
            if key == "control_after_generate":  # the frontend's own
                assert value in shown[node.id]["widgets_values"]
            elif hasattr(value, "node_id"):
                assert twin["inputs"][key] == [str(value.node_id), _slot(shown[value.node_id], value.name)]
            else:
                assert twin["inputs"][key] == value


def _slot(node: dict[str, Any], name: str) -> int:
    return [output["name"] for output in node["outputs"]].index(name)


@pytest.mark.parametrize("name", NAMES)
def test_links_join_what_they_name(name: str) -> None:
    workflow = read(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, origin, out_slot, target, in_slot, kind in workflow["links"]:
        output, entry = nodes[origin]["outputs"][out_slot], nodes[target]["inputs"][in_slot]
        assert link in output["links"]
        assert link == entry["link"]
        assert kind == output["type"]
        assert entry["type"] == "*" or kind in entry["type"].split(",")
    ends = [entry["link"] for node in nodes.values() for entry in node.get("inputs", []) if entry["link"] is not None]
    assert sorted(ends) == sorted(link[0] for link in workflow["links"])


@pytest.mark.parametrize("name", NAMES)
def test_both_formats_agree(name: str) -> None:
    workflow, api = read(name), read_api(name)
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    shown = {str(node["id"]): node for node in workflow["nodes"] if node["type"] != NOTE and node["mode"] != MUTED}
    assert {key: node["type"] for key, node in shown.items()} == {key: node["class_type"] for key, node in api.items()}
    for key, node in shown.items():
        linked = {entry["name"]: links[entry["link"]] for entry in node["inputs"] if entry["link"] is not None}
        given = api[key]["inputs"]
        assert {name: value for name, value in given.items() if isinstance(value, list)} == linked
        for value in given.values():
            assert isinstance(value, list) or value in node["widgets_values"]


@pytest.mark.parametrize("name", OF_RELEASED)
def test_downloads_are_the_known_files(name: str) -> None:
    known = {
        f"https://huggingface.co/{file.source.repository}/resolve/{file.source.revision}/{file.remote_filename}"
        for file in FILES
    }
    found = 0
    for node in read(name)["nodes"]:
        values = (value for value in node.get("widgets_values", []) if isinstance(value, str))
        files = {value for value in values if re.fullmatch(r"\S+\.(pth|pt|onnx|safetensors)", value)}
        links = node["properties"].get("models", [])
        if node["type"] == "HunyuanPortraitLoadAll":  # by the released names
            assert len(links) == len(known) - 1  # the VAE's config.json is not needed
        else:
            assert {link["name"] for link in links} == files
        for link in links:
            assert link["directory"] == "hunyuan_portrait"
            assert link["url"] in known or link["url"].startswith("https://huggingface.co/yzd-v/DWPose/resolve/main/")
        found += len(links)
    assert found >= 10


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_this_machine_is_in_a_file(name: str) -> None:
    for path in (FOLDER / f"{name}.json", FOLDER / "api" / f"{name}.json"):
        text = path.read_text()
        assert not re.search(r'"(/|~|[A-Za-z]:\\)|localhost|127\.0\.0\.1|/tmp|/home|/root|/work', text)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_and_groups_hold_their_nodes(name: str) -> None:
    workflow = read(name)
    nodes = [node_box(node) for node in workflow["nodes"]]
    groups = [group_box(group) for group in workflow["groups"]]
    assert all(is_apart(a, b) for a, b in combinations(nodes, 2))
    assert all(is_apart(a, b) for a, b in combinations(groups, 2))
    for node, box in zip(workflow["nodes"], nodes, strict=True):
        around = [group for group in groups if not is_apart(group, box)]
        if node["type"] == NOTE:
            assert not around
            continue
        (group,) = around
        assert group[0] <= box[0]
        assert group[1] <= box[1]
        assert group[2] >= box[2]
        assert group[3] >= box[3]


@pytest.mark.parametrize("name", NAMES)
def test_links_go_from_left_to_right_or_down(name: str) -> None:
    workflow = read(name)
    places = {node["id"]: node["pos"] for node in workflow["nodes"]}
    for _, origin, _, target, *_ in workflow["links"]:
        (x1, y1), (x2, y2) = places[origin], places[target]
        assert x1 < x2 or (x1 == x2 and y1 < y2)


@pytest.mark.parametrize("name", OF_RELEASED)
def test_the_settings_are_the_released_ones(name: str) -> None:
    released = {"steps": 25, "strength": 1.0, "seed": 72580, "noise_seed": 72580, "size": 512, "weights": "released"}
    released |= {"image_guidance": 2.0, "motion_guidance": 2.0, "identity_strength": 1.0, "detector": "yoloface"}
    for node in read_api(name).values():
        if node["class_type"].startswith("HunyuanPortrait") or node["class_type"] == "RandomNoise":
            if node["class_type"] == "HunyuanPortraitSpeed":  # its steps are in place of the Sampler's
                released_here = {"preset": "none", "steps": 0, "padding": -1}
            else:
                released_here = released
            for key in released_here.keys() & node["inputs"].keys():
                assert node["inputs"][key] == released_here[key]


def test_the_toy_workflow_needs_nothing_and_has_the_settings_of_its_model() -> None:
    nodes = {node["class_type"]: node["inputs"] for node in read_api(TOY).values()}
    sampler = nodes["HunyuanPortraitSampler"]
    assert nodes["HunyuanPortraitLoadAll"]["weights"] == "toy"
    assert not {"LoadImage", "LoadVideo"} & set(nodes)
    assert not any(node["properties"].get("models") for node in read(TOY)["nodes"])
    assert nodes["HunyuanPortraitEncodeAppearance"]["size"] == TOY_SIZE
    assert nodes["HunyuanPortraitDecode"]["chunk_size"] == TOY_SAMPLING.decode_chunk_size
    assert (sampler["steps"], sampler["padding"]) == (TOY_SAMPLING.num_inference_steps, TOY_SAMPLING.num_padding_frames)
    for name in ("context_window", "context_overlap", "context_shift", "strength"):
        assert sampler[name] == getattr(TOY_SAMPLING, name)
    for name in ("image_guidance", "motion_guidance"):
        first, last = getattr(TOY_SAMPLING, f"{name}_scale")
        assert (sampler[name], sampler[f"{name}_end"]) == (first, last)


@pytest.mark.parametrize("name", NAMES)
def test_the_note_says_what_a_user_must_know(name: str) -> None:
    (note,) = [node for node in read(name)["nodes"] if node["type"] == NOTE]
    (text,) = note["widgets_values"]
    for word in ("first run", "## Change first", "## Memory and time"):
        assert word in text
    for word in ("models/hunyuan_portrait", "non-commercial"):
        assert (word in text) is (name != TOY)
    for file in (link["name"] for node in read(name)["nodes"] for link in node["properties"].get("models", [])):
        assert file in text or file == "arcface.onnx"  # not used with drawings


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_small(name: str) -> None:
    path = FOLDER / f"{name}.jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert image.size == (512, 512)
    assert path.stat().st_size < 60_000


def test_the_pictures_are_drawn_by_the_project(tmp_path: Path, node_pack: ModuleType) -> None:
    thumbnails = importlib.import_module(f"{node_pack.__name__}.workflows.source.thumbnails")
    assert sorted(thumbnails.SCHEMES) == NAMES
    thumbnails.write_thumbnail("low_vram", tmp_path / "drawn.jpg")
    with Image.open(tmp_path / "drawn.jpg") as drawn, Image.open(FOLDER / "low_vram.jpg") as shipped:
        # Another Pillow may round and write letters otherwise.
        difference = [abs(a - b) for a, b in zip(drawn.tobytes(), shipped.tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 2
