"""Help pages and translations without ComfyUI; `tests/nodes/test_help.py` compares them with the nodes."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
from golden_cases import ROOT

DOCS = ROOT / "nodes" / "web" / "docs"
NODES = sorted(path.stem for path in DOCS.glob("*.md"))
LOCALES = {path.name: path for path in (ROOT / "locales").iterdir()}
SECTIONS = {
    "en": ["When to use it", "Inputs", "Outputs", "Hints", "Errors", "Shown in"],
    "zh": ["何时使用", "输入", "输出", "提示", "常见报错", "示例工作流"],
}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NO_INPUTS = {"align_your_steps", "buffalo_l", "hunyuan_portrait"}  # choices, files and folders


def page(node: str, language: str) -> str:
    # ComfyUI shows the English one in every language that has none of its own.
    path = DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"
    return path.read_text(encoding="utf-8")


def sections(node: str, language: str) -> dict[str, str]:
    """The page's sections by their English heading."""
    names = dict(zip(SECTIONS[language], SECTIONS["en"], strict=True))
    parts = re.split(r"^## (.*)\n", page(node, language), flags=re.MULTILINE)[1:]
    return {names[heading]: text.strip() for heading, text in zip(parts[::2], parts[1::2], strict=True)}


def errors(node: str, language: str) -> list[str]:
    return re.findall(r"^- `(.*?)`(?: — |：)\S", sections(node, language)["Errors"], re.MULTILINE)


def node_texts(language: str) -> dict[str, Any]:
    return json.loads((LOCALES[language] / "nodeDefs.json").read_text(encoding="utf-8"))


def leaves(texts: Any, path: str = "") -> dict[str, str]:
    if isinstance(texts, str):
        return {path: texts}
    return {key: leaf for name in texts for key, leaf in leaves(texts[name], f"{path}/{name}").items()}


@pytest.fixture(scope="module")
def messages() -> set[str]:
    """Every text of the sources, with an ellipsis where a value goes in."""
    found = set()
    for path in [*(ROOT / "nodes").rglob("*.py"), *(ROOT / "hunyuan_core").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.add("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_the_languages_are_those_of_the_pages() -> None:
    assert set(LOCALES) == set(SECTIONS)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.*")}
    assert pages == {f"{node}{ending}" for node in NODES for ending in (".md", "/zh.md")}


@pytest.mark.parametrize("node", NODES)
def test_both_languages_of_a_page_say_the_same_things(node: str) -> None:
    english, chinese = sections(node, "en"), sections(node, "zh")

    assert [name for name in SECTIONS["en"] if name in english] == list(english) == list(chinese)
    assert set(SECTIONS["en"]) - set(english) <= {"Hints"}
    assert all(english.values())
    assert all(chinese.values())
    assert errors(node, "en") == errors(node, "zh") != []
    for name in ("Hints", "Errors"):
        assert english.get(name, "").count("\n") == chinese.get(name, "").count("\n")
    assert re.findall(r"\*(.*?)\*", english["Shown in"]) == re.findall(r"\*(.*?)\*", chinese["Shown in"])


@pytest.mark.parametrize("language", SECTIONS)
@pytest.mark.parametrize("node", NODES)
def test_a_page_is_headed_by_the_name_of_its_node(node: str, language: str) -> None:
    assert page(node, language).startswith(f"# {node_texts(language)[node]['display_name']}\n\n")


@pytest.mark.parametrize("node", NODES)
def test_every_error_of_a_page_is_in_the_sources(node: str, messages: set[str]) -> None:
    for error in errors(node, "en"):
        pattern = re.compile(".*".join(re.escape(part) for part in error.split("…")))
        assert any(pattern.search(message) for message in messages), error


@pytest.mark.parametrize("language", SECTIONS)
@pytest.mark.parametrize("node", NODES)
def test_every_input_that_a_page_speaks_of_exists(node: str, language: str) -> None:
    texts = node_texts("en").values()
    known = {name for text in texts for name in text["inputs"]}
    known |= {output["name"] for text in texts for output in text["outputs"].values()}

    spoken = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page(node, language)))

    assert spoken - known <= NO_INPUTS


@pytest.mark.parametrize("language", SECTIONS)
@pytest.mark.parametrize("node", NODES)
def test_no_link_of_a_page_is_dead(node: str, language: str) -> None:
    for target in re.findall(r"\]\((.*?)\)", page(node, language)):
        # ComfyUI resolves the pictures of a page from the folder of all pages, and other links not at all.
        assert target.startswith("https://") or (DOCS / target).is_file(), target


@pytest.mark.parametrize(
    "file", sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "locales").rglob("*.json"))
)
def test_locales_are_json_without_what_the_frontend_would_interpret(file: str) -> None:
    texts = json.loads((ROOT / file).read_text(encoding="utf-8"))
    # vue-i18n reads these as placeholders, links and plural forms.
    assert [text for text in leaves(texts).values() if set(text) & set("{}@|")] == []


def test_chinese_texts_are_chinese_and_keep_the_numbers() -> None:
    english, chinese = leaves(node_texts("en")), leaves(node_texts("zh"))
    for path, text in chinese.items():
        if path.endswith(("/tooltip", "/description")):
            assert CHINESE.search(text), path
        assert sorted(re.findall(r"[\d.]*\d", text)) == sorted(re.findall(r"[\d.]*\d", english[path])), path
