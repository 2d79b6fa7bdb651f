"""Holds the arrows of the house: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from golden_cases import ROOT

CORE = ROOT / "hunyuan_core"

# Each layer may import the layers before it; inside a layer only the arrows in BESIDE are allowed.
LAYERS = [
    {"errors", "angles", "optional", "onnx_session", "config", "data", "boxes", "overlap"},
    {"models", "faces", "pose", "sampling", "colour_match"},
    {
        "checkpoints",
        "video",
        "paste_back",
        "motion",
        "motion_editing",
        "appearance",
        "pose_features",
        "compilation",
        "locks",
        "distributed",
        "toy",
    },
    {"pipeline", "preview", "motion_files", "motion_report", "inspection", "evaluation"},
    {"jobs", "shared_sampling", "training", "ablation"},
    {"batch", "demo", "toy_benchmark"},
    {"cli", "__init__"},
]
BESIDE = {
    ("optional", "errors"),
    ("config", "errors"),
    ("data", "errors"),
    ("onnx_session", "errors"),
    ("onnx_session", "optional"),
    ("motion_editing", "motion"),
    ("toy", "checkpoints"),
    ("training", "ablation"),
    ("cli", "__init__"),
}
OUTSIDE = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "nodes", "folder_paths", "server", "execution"}
OWN = {"hunyuan_core", "benchmarks", "tests"}
HEAVY = {
    "av",
    "cv2",
    "diffusers",
    "huggingface_hub",
    "insightface",
    "matplotlib",
    "mediapipe",
    "onnxruntime",
    "torchmetrics",
    "transformers",
}
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def imports(path: Path, core: Path, nodes: Iterator[ast.AST] | None = None) -> Iterator[tuple[str, bool]]:
    """Yield (dotted name, is it inside the core) for the imports of a file, relative ones resolved to the core."""
    package = path.relative_to(core).parent.parts
    for node in nodes or ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            target = package[: len(package) - node.level + 1] + tuple(
                (node.module or "").split(".") * bool(node.module)
            )
            # ``from . import name`` at the top of the core: a module of it, or something that __init__ defines
            yield from ((".".join(target) or module_or_init(core, alias.name), True) for alias in node.names)


def module_or_init(core: Path, name: str) -> str:
    return name if (core / f"{name}.py").is_file() or (core / name).is_dir() else f"__init__.{name}"


def layer_of(part: str) -> int:
    for index, layer in enumerate(LAYERS):
        if part in layer:
            return index
    raise AssertionError(f"hunyuan_core/{part} has no layer yet: place it in LAYERS")


def may_import(source: str, target: str) -> bool:
    top = target.partition(".")[0]
    if source == top or target == "__init__.__version__" or (source, top) in BESIDE:
        return True
    return layer_of(top) < layer_of(source)


def wrong_arrows(core: Path) -> list[str]:
    wrong = []
    for path in python_files(core):
        source = path.relative_to(core).parts[0].removesuffix(".py")
        layer_of(source)
        for name, is_inside in imports(path, core):
            top = name.partition(".")[0]
            if (is_inside and not may_import(source, name)) or (not is_inside and top in OUTSIDE | OWN):
                wrong.append(f"{path.relative_to(core)} imports {name}")
    return wrong


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the statements that run when a module is imported: no function bodies, nothing under TYPE_CHECKING."""
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from run_at_import(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
            for name in ("body", "orelse", "finalbody", "handlers"):
                yield from run_at_import(getattr(statement, name, []))


def heavy_imports(core: Path) -> list[str]:
    return [
        f"{path.relative_to(core)} imports {name} at module level"
        for path in python_files(core)
        for name, is_inside in imports(path, core, run_at_import(ast.parse(path.read_text()).body))
        if not is_inside and name.partition(".")[0] in HEAVY
    ]


def test_the_arrows_of_the_core_point_one_way() -> None:
    assert wrong_arrows(CORE) == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    assert heavy_imports(CORE) == []
    assert heavy_imports(ROOT / "nodes") == []


def test_the_nodes_import_the_core_of_their_own_pack() -> None:
    # An absolute import would load a second copy of the core, and isinstance would fail between the two.
    names = [name for path in python_files(ROOT / "nodes") for name, inside in imports(path, ROOT) if not inside]

    assert [name for name in names if name.partition(".")[0] in OWN] == []


def test_no_file_has_a_vague_name() -> None:
    folders = [CORE, ROOT / "nodes", ROOT / "tests", ROOT / "benchmarks"]
    names = [path for folder in folders for path in folder.rglob("*") if path.stem in VAGUE]

    assert names == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("models/unet.py", "from ..faces import crops"),
        ("models/unet.py", "from ..faces.crops import square"),
        ("sampling/denoiser.py", "from ..models.unet import UNet"),
        ("errors.py", "from .config import UNetConfig"),
        ("config.py", "from . import data"),
        ("video.py", "from .pipeline import animate"),
        ("pipeline.py", "from .cli import main"),
        ("data.py", "from . import public_name"),
        ("faces/track.py", "from .. import pipeline"),
        ("data.py", "import folder_paths"),
        ("data.py", "import comfy.model_management as mm"),
        ("pipeline.py", "def f():\n    from comfy.utils import ProgressBar"),
        ("pipeline.py", "from hunyuan_core.models import unet"),
        ("pipeline.py", "import nodes"),
    ],
)
def test_the_check_sees_a_wrong_arrow(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / "pipeline.py").touch()
    (tmp_path / "data.py").touch()
    (tmp_path / file).write_text(line)

    assert len(wrong_arrows(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("models/unet.py", "from .attention import Attention\nfrom ..config import UNetConfig\nimport torch"),
        ("pipeline.py", "from . import data\nfrom .faces import track\nfrom .video import read"),
        ("video.py", "from . import __version__"),
        ("cli.py", "from . import animate\nfrom .pipeline import run"),
        ("__init__.py", "from .pipeline import animate"),
    ],
)
def test_the_check_allows_a_right_arrow(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / "data.py").touch()
    (tmp_path / file).write_text(line)

    assert wrong_arrows(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "is_wrong"),
    [
        ("import cv2", True),
        ("try:\n    from onnxruntime import InferenceSession\nexcept ImportError:\n    pass", True),
        ("class A:\n    import av", True),
        ("def f():\n    import cv2", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import diffusers", False),
    ],
)
def test_the_check_sees_a_heavy_import(tmp_path: Path, source: str, is_wrong: bool) -> None:
    (tmp_path / "video.py").write_text(source)

    assert bool(heavy_imports(tmp_path)) is is_wrong


def loaded_heavy(modules: list[str]) -> str:
    code = f"import sys, {', '.join(modules)}\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    # The command is this test's own text.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["hunyuan_core", "hunyuan_core.cli"])
def test_importing_a_front_door_loads_nothing_heavy(module: str) -> None:
    assert loaded_heavy([module]) == ""


def test_importing_every_module_loads_nothing_heavy() -> None:
    paths = [path.relative_to(ROOT).with_suffix("").parts for path in python_files(CORE)]

    assert loaded_heavy([".".join(parts).removesuffix(".__init__") for parts in paths]) == ""
