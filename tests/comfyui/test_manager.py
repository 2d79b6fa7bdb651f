"""ComfyUI-Manager installs the pack from a repository into the ComfyUI of a user who has nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from golden_cases import ROOT
from PIL import Image
from tiny_models import write_tiny_models

from .adaptation import adapt
from .install import BUILD, PACK_FOLDER, Installation
from .server import Server
from .videos import read_facts

USERS_OWN = ("custom_nodes", "input", "models", "output", "temp", "user")  # folders of a checkout that is in use
MANAGER = "comfyui-manager"
FOLDER = BUILD / "manager"  # beside the environment, for the hard links
REPOSITORY = FOLDER / f"{PACK_FOLDER}.git"  # of what is committed
BROUGHT = ("diffusers", "cv2")  # modules that the pack needs and ComfyUI does not bring

# Top-level entries in site-packages of everything that some requirements bring, as far as it is installed.
LIST_ENTRIES = """
import sys
from importlib.metadata import PackageNotFoundError, distribution
from packaging.requirements import Requirement

waiting, seen = [Requirement(line) for line in sys.argv[1:]], set()
while waiting:
    wanted = waiting.pop()
    key = wanted.name.lower(), *sorted(wanted.extras)
    try:
        package = distribution(wanted.name)
    except PackageNotFoundError:
        continue
    if key in seen:
        continue
    seen.add(key)
    print(*{file.parts[0] for file in package.files if file.parts[0] not in ("..", "__pycache__")}, sep="\\n")
    for requirement in map(Requirement, package.requires or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted.extras or {""}):
            waiting.append(requirement)
"""


@dataclass(frozen=True)
class Installed:
    """What ``cm-cli install`` left.

    Attributes:
        comfyui: The ComfyUI that it installed into.
        pack: The pack's folder in it.
        site_packages: Where the Manager put what was missing.
        log: All that it and pip printed.
    """

    comfyui: Installation
    pack: Path
    site_packages: Path
    log: str


@pytest.fixture(scope="module")
def installed(installation: Installation) -> Installed:
    shutil.rmtree(FOLDER, ignore_errors=True)
    fresh = _copy_comfyui(installation, FOLDER / "ComfyUI")
    python, site_packages = _make_environment_of_comfyui_alone(installation, FOLDER / "env")
    assert not [name for name in BROUGHT if (site_packages / name).exists()]
    _run("git", "clone", "--quiet", "--bare", str(ROOT), str(REPOSITORY))
    command = (str(python), "-m", "cm_cli", "install", f"file://localhost{REPOSITORY}", "--mode", "local")
    log = _run(*command, "--exit-on-fail", folder=fresh, COMFYUI_PATH=str(fresh), COLUMNS="500")
    print(log)
    return Installed(Installation(fresh, python), fresh / "custom_nodes" / PACK_FOLDER, site_packages, log)


def test_the_pack_is_there_as_committed(installed: Installed) -> None:
    assert "[INSTALLED]" in installed.log
    head = _run("git", "-C", str(REPOSITORY), "rev-parse", "HEAD")
    assert _run("git", "-C", str(installed.pack), "rev-parse", "HEAD") == head
    assert _run("git", "-C", str(installed.pack), "status", "--porcelain") == ""


def test_what_comfyui_lacks_is_installed_with_it(installed: Installed) -> None:
    # The Manager says [INSTALLED] whether or not pip could.
    assert "install script failed" not in installed.log
    for line in (installed.pack / "requirements.txt").read_text().splitlines():
        assert line.startswith("torch") or f"'install', '{line}'" in installed.log
    assert all((installed.site_packages / name).is_dir() for name in BROUGHT)
    requirements = str(installed.pack / "requirements.txt")
    check = ("-m", "pip", "install", "--dry-run", "--no-index", "--requirement", requirements)
    assert "Would install" not in _run(str(installed.comfyui.python), *check)


def test_comfyui_starts_with_it_and_makes_a_video(installed: Installed, portrait: Path, clip: Path) -> None:
    ids = set(json.loads((installed.pack / "tests" / "nodes" / "schema.json").read_text()))
    prompt = json.loads((installed.pack / "workflows" / "api" / "portrait_basic.json").read_text())
    facts = read_facts(clip)
    with Image.open(portrait) as image:
        prompt = adapt(prompt, image.size, (facts.width, facts.height)).apply(prompt)
    for node in prompt.values():
        node["inputs"].pop("arcface", None)  # onnxruntime is the user's to choose

    base = installed.comfyui.folder
    with Server(installed.comfyui, base, with_pack=False) as server:
        write_tiny_models(server.models / "hunyuan_portrait")
        for kind, name, path in (("LoadImage", "image", portrait), ("LoadVideo", "file", clip)):
            for node in prompt.values():
                if node["class_type"] == kind:
                    node["inputs"][name] = server.client.upload(path)
        nodes = server.client.object_info()
        result = server.client.run(prompt)

    module = f"custom_nodes.{PACK_FOLDER}"
    assert {name for name, node in nodes.items() if node["python_module"] == module} == ids
    assert result.status == "success", result.error
    ((_, video),) = result.saved()
    assert read_facts(server.output / video).num_frames == facts.num_frames


def _copy_comfyui(installation: Installation, target: Path) -> Path:
    """Copy ComfyUI's code without what a user has put into it."""
    top = str(installation.folder)

    def left_out(folder: str, _: list[str]) -> set[str]:
        return {*USERS_OWN, ".git", ".venv", "venv"} if folder == top else {"__pycache__"}

    shutil.copytree(top, target, ignore=left_out)
    for name in USERS_OWN:
        (target / name).mkdir()
    return target


def _make_environment_of_comfyui_alone(installation: Installation, folder: Path) -> tuple[Path, Path]:
    """Make a virtual environment with what ComfyUI and the Manager brought into the shared one, and nothing else.

    Its files are hard links: to take one away or replace it leaves the shared environment as it is.

    Returns:
        Its interpreter and its ``site-packages``.
    """
    _run(str(installation.python), "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    lines = (installation.folder / "requirements.txt").read_text().splitlines()
    requirements = [line.partition("#")[0].strip() for line in lines]
    names = [*filter(None, requirements), MANAGER, "pip", "setuptools"]
    source, target = _site_packages(installation.python), _site_packages(python)
    for entry in set(_run(str(installation.python), "-c", LIST_ENTRIES, *names).split()):
        if (source / entry).is_dir():
            shutil.copytree(source / entry, target / entry, copy_function=os.link)
        else:
            os.link(source / entry, target / entry)
    # The Manager's choice over pip, where it is there.
    os.link(installation.python.parent / "uv", python.parent / "uv")
    return python, target


def _site_packages(python: Path) -> Path:
    return Path(_run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())


def _run(*command: str, folder: Path | None = None, **environment: str) -> str:
    """Run a program in a folder to its end; gives all that it printed."""
    misleading = ("COMFYUI_FOLDERS_BASE_PATH", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if name not in misleading}
    done = subprocess.run(  # noqa: S603 - nothing from outside
        command,
        cwd=folder,
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-5000:]}"
    return done.stdout
