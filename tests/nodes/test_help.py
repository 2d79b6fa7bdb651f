"""The help pages' tables and the English locale say what the nodes say; the Chinese locale covers as much.

After a change of a node, run with UPDATE_HELP=1: it writes the English locale and the tables of both languages anew.
What is then left to do by hand is `locales/zh/nodeDefs.json`, and the pages' text.
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

# A table is what lies between its heading and the next one.
HEADINGS = {"en": ("## Inputs", "## Outputs"), "zh": ("## 输入", "## 输出")}
COLUMNS = {
    "en": (("Input", "Type", "Range", "Default", "Meaning"), ("Output", "Type", "Meaning")),
    "zh": (("输入", "类型", "范围", "默认值", "说明"), ("输出", "类型", "说明")),
}
WORDS = {
    "en": {"or": " or ", "optional": " (optional)", "file": "a file", "text": "text", "up": "{} and more"},
    "zh": {"or": " 或 ", "optional": "（可选）", "file": "文件", "text": "文本", "up": "{} 以上"},
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


def allowed(entry: Any, language: str) -> str:
    """Write the values that an input takes."""
    words, options = WORDS[language], entry.as_dict()
    if entry.id.endswith(("_name", "_file")):
        return words["file"]
    if "options" in options:
        return ", ".join(f"`{option}`" for option in options["options"])
    kind = entry.get_io_type()
    if kind == "BOOLEAN":
        return "`true`, `false`"
    if kind == "STRING":
        return words["text"]
    if "min" not in options:
        return "–"
    if options["max"] > LARGEST_IN_A_BROWSER:
        return words["up"].format(options["min"])
    step = options.get("step", 1)
    return f"{options['min']:g} … {options['max']:g}" + (f" ({step:g})" if step != 1 else "")


def default(entry: Any) -> str:
    options = entry.as_dict()
    value = options.get("default")
    if value is None or options.get("forceInput"):
        return "–"
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def label(name: str, translation: str) -> str:
    return f"`{name}`" if translation == name else f"`{name}` {translation}"


def tables(node: Any, language: str, texts: dict[str, Any]) -> list[str]:
    """The tables of inputs and outputs of a page."""
    words, schema = WORDS[language], node.GET_SCHEMA()
    inputs = [
        (
            label(entry.id, texts["inputs"][entry.id]["name"]),
            entry.get_io_type().replace(",", words["or"]) + (words["optional"] if entry.optional else ""),
            allowed(entry, language),
            default(entry),
            texts["inputs"][entry.id]["tooltip"],
        )
        for entry in schema.inputs
    ]
    outputs = [
        (label(output.display_name, text["name"]), output.get_io_type(), text["tooltip"])
        for output, text in zip(schema.outputs, texts["outputs"].values(), strict=True)
    ]
    return [
        "\n".join(f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), *rows))
        for columns, rows in zip(COLUMNS[language], (inputs, outputs), strict=True)
    ]


def section(page: str, heading: str) -> str:
    found = re.search(rf"^{heading}\n\n(.*?)\n(?=\n## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no '{heading}' with a table below it"
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
def test_every_page_has_the_tables_of_its_node(nodes: dict[str, Any], language: str) -> None:
    texts = read(language, "nodeDefs")
    for name, node in nodes.items():
        path = DOCS / (f"{name}.md" if language == "en" else f"{name}/{language}.md")
        page = path.read_text(encoding="utf-8")
        for heading, table in zip(HEADINGS[language], tables(node, language, texts[name]), strict=True):
            if UPDATE:
                page = page.replace(f"{heading}\n\n{section(page, heading)}\n", f"{heading}\n\n{table}\n")
                path.write_text(page, encoding="utf-8")
            assert section(page, heading) == table, f"{path}: run with UPDATE_HELP=1"


def test_every_node_has_a_page_and_every_page_a_node(nodes: dict[str, Any]) -> None:
    assert {path.stem for path in DOCS.iterdir()} == set(nodes)
