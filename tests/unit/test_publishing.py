"""What the Comfy registry wants of the pack, and what the publish action makes of it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from golden_cases import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ACTIONS = ROOT / ".github" / "workflows"
SHIPPED = [ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py"), *(ROOT / "hunyuan_core").rglob("*.py")]
TAG = f"v{PYPROJECT['project']['version']}"


def steps(action: str, job: str) -> list[dict[str, Any]]:
    return yaml.safe_load((ACTIONS / action).read_text())["jobs"][job]["steps"]


def publish(step: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the publish action in a folder with a copy of the project's file."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    (script,) = (found["run"] for found in steps("publish.yml", "publish") if found.get("name") == step)
    command = ["/bin/bash", "-e", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)  # noqa: S603 - our own


def test_the_name_is_one_that_the_registry_takes() -> None:
    name = PYPROJECT["project"]["name"]

    assert re.fullmatch(r"[A-Za-z](?:[._-]?[A-Za-z0-9]){0,99}", name)
    assert "comfyui" not in name.lower()


def test_the_frontend_has_a_lower_bound_only() -> None:
    (line,) = (line for line in PYPROJECT["project"]["dependencies"] if line.startswith("comfyui-frontend-package"))

    assert re.fullmatch(r"comfyui-frontend-package>=[\d.]+", line)
    assert re.fullmatch(r">=\d+\.\d+\.\d+", PYPROJECT["tool"]["comfy"]["requires-comfyui"])


def test_the_icon_is_a_small_picture() -> None:
    picture = ElementTree.parse(ROOT / PYPROJECT["tool"]["comfy"]["Icon"]).getroot()  # noqa: S314 - our own file

    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert 0 < int(picture.attrib["width"]) <= 800
    assert 0 < int(picture.attrib["height"]) <= 400


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_that_ships_runs_text_or_installs_packages(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"eval", "exec", "compile", "os.system", "__import__"}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"subprocess", "pip", "ensurepip"}


def test_the_test_action_runs_what_decides() -> None:
    assert ".ci/run" in [step.get("run") for step in steps("test.yml", "test")]


@pytest.mark.parametrize(("tag", "is_right"), [(TAG, True), (f"{TAG}.1", False), ("v", False)])
def test_only_a_tag_of_the_version_is_published(tag: str, is_right: bool, tmp_path: Path) -> None:
    run = publish("Compare the tag with the version", tmp_path, GITHUB_REF_NAME=tag)

    assert (run.returncode == 0) is is_right


def test_the_action_fills_in_who_publishes_and_from_where(tmp_path: Path) -> None:
    run = publish(
        "Say who publishes, and from where",
        tmp_path,
        PUBLISHER="someone",
        GITHUB_REPOSITORY="someone/pack",
        GITHUB_REF_NAME=TAG,
        GITHUB_SERVER_URL="https://github.com",
    )

    assert run.returncode == 0, run.stderr
    filled = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert filled["project"].pop("urls") == {"Repository": "https://github.com/someone/pack"}
    assert filled["tool"]["comfy"].pop("PublisherId") == "someone"
    address = filled["tool"]["comfy"].pop("Icon")
    assert address == f"https://raw.githubusercontent.com/someone/pack/{TAG}/{PYPROJECT['tool']['comfy']['Icon']}"
    assert filled["project"] == PYPROJECT["project"]
    assert filled["tool"]["comfy"].items() <= PYPROJECT["tool"]["comfy"].items()
