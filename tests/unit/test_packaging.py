from __future__ import annotations

import ast
import asyncio
import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest
from golden_cases import ROOT
from setuptools import find_packages

import hunyuan_core

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_requirements_equal_the_dependencies() -> None:
    assert (ROOT / "requirements.txt").read_text().splitlines() == PYPROJECT["project"]["dependencies"]


def test_the_version_is_said_once() -> None:
    version = PYPROJECT["project"]["version"]

    assert hunyuan_core.__version__ == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_only_the_core_is_installed() -> None:
    include = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]

    packages = find_packages(str(ROOT), include=include)

    assert "hunyuan_core" in packages
    assert {package.partition(".")[0] for package in packages} == {"hunyuan_core"}


def test_every_folder_of_the_core_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "hunyuan_core").rglob("*.py")}

    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_onnxruntimes_are_no_plain_dependency() -> None:
    assert not any("onnxruntime" in line for line in PYPROJECT["project"]["dependencies"])


def test_licence_files_are_whole() -> None:
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    assert "END OF TERMS AND CONDITIONS" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    for word in ("Tencent", "Stability AI", "academic", "non-commercial"):
        assert word in notice


def test_the_root_imports_nothing_at_module_level() -> None:
    body = ast.parse((ROOT / "__init__.py").read_text()).body
    imported = {ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)}

    assert imported <= {"from __future__ import annotations", "from typing import TYPE_CHECKING"}


def test_comfyui_finds_the_entry_point_alone(node_pack: ModuleType) -> None:
    # ComfyUI ignores comfy_entrypoint where NODE_CLASS_MAPPINGS exists.
    assert not hasattr(node_pack, "NODE_CLASS_MAPPINGS")
    assert asyncio.iscoroutinefunction(node_pack.comfy_entrypoint)
    assert (ROOT / "nodes" / "web").is_dir() is hasattr(node_pack, "WEB_DIRECTORY")


def test_a_failing_entry_point_logs_its_traceback_and_raises(
    node_pack: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "comfy_api", None)

    with caplog.at_level(logging.ERROR), pytest.raises(ImportError, match="comfy_api"):
        asyncio.run(node_pack.comfy_entrypoint())

    assert "Traceback" in caplog.text
    assert str(Path("nodes", "__init__.py")) in caplog.text


def test_a_comfyui_that_is_too_old_is_named_with_the_version_that_is_needed(
    node_pack: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = ModuleType("comfyui_version")
    monkeypatch.setitem(sys.modules, "comfyui_version", release)
    monkeypatch.setitem(sys.modules, "comfy_api", None)

    release.__version__ = "0.9.2"
    with pytest.raises(RuntimeError, match=r"needs ComfyUI 0\.16\.3 or later, and this is 0\.9\.2: update ComfyUI"):
        asyncio.run(node_pack.comfy_entrypoint())

    release.__version__ = "0.16.3"
    with pytest.raises(ImportError, match="comfy_api"):
        asyncio.run(node_pack.comfy_entrypoint())
