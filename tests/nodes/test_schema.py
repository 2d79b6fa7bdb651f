"""What the nodes promise: a saved workflow must not break unseen, and everything is explained where the mouse is."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest

SNAPSHOT = Path(__file__).with_name("schema.json")
SOURCES = Path(__file__).parents[2] / "nodes"


def describe(node: Any) -> dict[str, Any]:
    """Whatever a saved workflow relies on: inputs in their order with type and default, and the outputs' types."""
    schema = node.GET_SCHEMA()
    inputs = {}
    for entry in schema.inputs:
        options = entry.as_dict()
        inputs[entry.id] = {"type": entry.get_io_type(), "is_optional": bool(entry.optional)}
        # Choices of files depend on the machine.
        for name in ("default", "min", "max"):
            if name in options and not entry.id.endswith(("_name", "_file")):
                inputs[entry.id][name] = options[name]
    return {"inputs": inputs, "outputs": [[output.get_io_type(), output.display_name] for output in schema.outputs]}


def test_nothing_changed_unseen(nodes: dict[str, Any]) -> None:
    """After a change that is meant, run with UPDATE_SCHEMA=1; ids, inputs and outputs that were shipped stay."""
    found = {name: describe(node) for name, node in sorted(nodes.items())}
    if os.environ.get("UPDATE_SCHEMA"):
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_id_is_ours_and_the_class_has_its_name(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        assert name.startswith("HunyuanPortrait")
        assert node.__name__ == name
        assert node.GET_SCHEMA().category.split("/")[0] == "HunyuanPortrait"


def test_everything_has_a_tooltip(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        schema = node.GET_SCHEMA()
        assert schema.description, name
        assert schema.search_aliases, name
        for entry in [*schema.inputs, *schema.outputs]:
            assert entry.tooltip, f"{name}: {entry.id}"


def test_the_manager_finds_every_node_by_reading_the_source(nodes: dict[str, Any]) -> None:
    assert {name for path in SOURCES.glob("*.py") for name in scan(ast.parse(path.read_text()))} == set(nodes)


def scan(tree: ast.Module) -> list[str]:
    """ComfyUI-Manager's rule: direct children of ComfyNode, by a literal ``node_id`` of the Schema, else their name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & {
            "ComfyNode",
            "io.ComfyNode",
        }:
            literal = [
                keyword.value.value
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("Schema")
                for keyword in call.keywords
                if keyword.arg == "node_id" and isinstance(keyword.value, ast.Constant)
            ]
            found.append(literal[0] if literal else node.name)
    return found


@pytest.mark.parametrize("file", sorted(path.name for path in SOURCES.glob("*.py")))
def test_only_the_bridge_knows_comfyui(file: str) -> None:
    inside = {"comfy", "folder_paths", "server", "execution", "comfy_execution", "latent_preview", "nodes"}
    for node in ast.walk(ast.parse((SOURCES / file).read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & inside
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] not in inside
