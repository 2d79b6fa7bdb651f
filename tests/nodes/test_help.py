"""The help pages and the English locale say what the nodes say; the Chinese locale covers as much.

After a change of a node or a workflow, run with UPDATE_HELP=1: it writes the English locale anew, and the inputs,
outputs and workflows of the pages. Left to do by hand are `locales/zh/nodeDefs.json`, and what else the pages say.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "nodes" / "web" / "docs"
LOCALES = ROOT / "locales"
UPDATE = bool(os.environ.get("UPDATE_HELP"))

HEADINGS = {"en": ("Inputs", "Outputs", "Shown in"), "zh": ("输入", "输出", "示例工作流")}
WORDS = {
    "en": {
        "or": " or ",
        "comma": ", ",
        "optional": "optional",
        "file": "a file",
        "up": "{} and more",
        "default": "default",
        "entry": "- {name} ({facts}): {meaning}",
    },
    "zh": {
        "or": " 或 ",
        "comma": "，",
        "optional": "可选",
        "file": "文件",
        "up": "{} 以上",
        "default": "默认",
        "entry": "- {name}（{facts}）：{meaning}",
    },
}
LARGEST_IN_A_BROWSER = 2**53


def english(nodes: dict[str, Any]) -> dict[str, Any]:
    """``nodeDefs.json`` of the language that the nodes are written in."""
    definitions = {}
    for name, node in sorted(nodes.items()):
        schema = node.GET_SCHEMA()
        inputs = {}
        for entry in schema.inputs:
            inputs[entry.id] = {"name": entry.display_name or entry.id, "tooltip": entry.tooltip}
            if entry.as_dict().get("control_after_generate"):
                inputs["control_after_generate"] = {"name": "control after generate"}
        definitions[name] = {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": inputs,
            "outputs": {
                str(i): {"name": output.display_name, "tooltip": output.tooltip}
                for i, output in enumerate(schema.outputs)
            },
        }
    return definitions


def categories(nodes: dict[str, Any]) -> set[str]:
    return {part for node in nodes.values() for part in node.GET_SCHEMA().category.split("/")}


def read(language: str, name: str) -> Any:
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


def allowed(entry: Any, words: dict[str, str]) -> str | None:
    """Write the values that an input takes; None where its type says it."""
    options = entry.as_dict()
    if entry.id.endswith(("_name", "_file")):
        return words["file"]
    if "options" in options:
        return ", ".join(f"`{option}`" for option in options["options"])
    if "min" not in options:
        return None
    if options["max"] > LARGEST_IN_A_BROWSER:
        return words["up"].format(options["min"])
    return f"{options['min']:g} … {options['max']:g}"


def default(entry: Any, words: dict[str, str]) -> str | None:
    options = entry.as_dict()
    value = options.get("default")
    if value is None or options.get("forceInput"):
        return None
    return f"{words['default']} `{json.dumps(value) if isinstance(value, bool) else value}`"


def line(name: str, facts: list[str | None], text: dict[str, str], words: dict[str, str]) -> str:
    label = f"`{name}`" if text["name"] == name else f"`{name}` {text['name']}"
    known = words["comma"].join(fact for fact in facts if fact)
    return words["entry"].format(name=label, facts=known, meaning=text["tooltip"])


def kind(entry: Any, words: dict[str, str]) -> str:
    return entry.get_io_type().replace("HUNYUANPORTRAIT_", "").replace(",", words["or"])


def lists(node: Any, language: str, texts: dict[str, Any]) -> dict[str, str]:
    """What a page lists below the headings: no tables, as the page is a column of 250 pixels beside the graph."""
    words, schema = WORDS[language], node.GET_SCHEMA()
    inputs = [
        line(
            entry.id,
            [
                kind(entry, words),
                words["optional"] if entry.optional else None,
                allowed(entry, words),
                default(entry, words),
            ],
            texts["inputs"][entry.id],
            words,
        )
        for entry in schema.inputs
    ]
    outputs = [
        line(output.display_name, [kind(output, words)], text, words)
        for output, text in zip(schema.outputs, texts["outputs"].values(), strict=True)
    ]
    shown = words["comma"].join(f"*{name}*" for name in workflows_with(schema.node_id))
    return dict(zip(HEADINGS[language], ("\n".join(inputs), "\n".join(outputs), shown), strict=True))


def workflows_with(node: str) -> list[str]:
    """Not read off the API files, which lack the nodes that are switched off."""
    return [
        path.stem
        for path in sorted((ROOT / "workflows").glob("*.json"))
        if any(entry["type"] == node for entry in json.loads(path.read_text(encoding="utf-8"))["nodes"])
    ]


def section(page: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n\n(.*?)\n(?=\n## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no '## {heading}' with text below it"
    return found[1]


def test_the_english_locale_is_what_the_nodes_say(nodes: dict[str, Any]) -> None:
    found = english(nodes)
    if UPDATE:
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")
    assert read("en", "nodeDefs") == found


def test_the_chinese_locale_covers_every_text(nodes: dict[str, Any]) -> None:
    def keys(texts: Any) -> Any:
        return {name: keys(text) for name, text in texts.items()} if isinstance(texts, dict) else None

    assert keys(read("zh", "nodeDefs")) == keys(english(nodes))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_category_has_a_name(nodes: dict[str, Any], language: str) -> None:
    assert set(read(language, "main")["nodeCategories"]) == categories(nodes)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_lists_what_its_node_has(nodes: dict[str, Any], language: str) -> None:
    texts = read(language, "nodeDefs")
    for name, node in nodes.items():
        path = DOCS / (f"{name}.md" if language == "en" else f"{name}/{language}.md")
        page = path.read_text(encoding="utf-8")
        for heading, text in lists(node, language, texts[name]).items():
            if UPDATE:
                page = page.replace(f"## {heading}\n\n{section(page, heading)}\n", f"## {heading}\n\n{text}\n")
                path.write_text(page, encoding="utf-8")
            assert section(page, heading) == text, f"{path}: run with UPDATE_HELP=1"


def test_every_node_has_a_page_and_every_page_a_node(nodes: dict[str, Any]) -> None:
    assert {path.stem for path in DOCS.iterdir()} == set(nodes)
