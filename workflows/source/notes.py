"""What the note beside each workflow says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from hunyuan_core.checkpoints.files import ModelFile

from .model_files import DWPOSE_FILES, FOLDER, NEEDED_FILES, model_link, shown_name

PORTRAIT, DRIVING = "portrait.png", "driving_video.mp4"
"""Names that stand in the nodes until the user chooses files."""

# Estimates from the counted operations of a 100-frame video; only the H100's arithmetic rate was measured.
TIME = """\
Estimated from the operation count, not measured: about 1 second for each frame of video on an RTX 4090, a quarter of
that on an H100, at 512×512 with 25 steps. The progress bar is exact after the first step. On a CPU it takes hours."""

MEMORY = "The *Sampler* takes 6.7 GiB at its fastest and steps down to 4.4 GiB by itself where there is less."

YOUR_FILES = f"""\
- **Portrait**: a picture with one clear face (`{PORTRAIT}` is a placeholder: choose or upload your own).
- **Driving video**: somebody who looks into the camera and talks or turns the head (`{DRIVING}` is a placeholder
too)."""


def note(
    title: str,
    what: str,
    *,
    start: str = YOUR_FILES,
    models: str,
    change: str,
    cost: str = f"{MEMORY} {TIME}",
    files: Iterable[ModelFile] = NEEDED_FILES,
) -> str:
    """Put a note together.

    Args:
        start: What to set before the first run.
        models: How the model files come in.
        change: What to change first.
        cost: Memory and time.
        files: Those that the workflow uses.
    """
    sections = (
        f"# {title}",
        what,
        "## Before the first run",
        start,
        "## Models",
        models,
        "## Change first",
        change,
        "## Memory and time",
        cost,
        "## Licence of the weights",
        _licences(files) or "Apache-2.0.",
    )
    # A line break inside a paragraph would be shown as one.
    return "\n\n".join(_unwrapped(section) for section in sections)


def all_at_once(without: Iterable[str] = ()) -> str:
    """Say how *Load HunyuanPortrait (all)* gets its files."""
    left_out = set(without)
    table = _table(file for file in NEEDED_FILES if file.name not in left_out)
    package = "" if "arcface" in left_out else f"{ONNX}\n\n"
    return (
        "Turn on `download_missing` in **Load HunyuanPortrait (all)** and run: it fetches what is missing (7.9 GB) "
        f"and thereby accepts the licences below. {GATED}, then log in with `hf auth login` or set `HF_TOKEN`. Or put "
        f"the files into `models/{FOLDER}` yourself:\n\n{table}\n\n{package}"
        "To try the graph without the released weights set `weights` to *toy*: the small model that the pack carries. "
        "It knows drawn faces only, such as those of *HunyuanPortrait Drawn Example*; the workflow *toy_portrait* "
        "shows it."
    )


def one_by_one(files: Iterable[ModelFile], packages: str) -> str:
    """Say how the separate loaders get their files.

    Args:
        packages: A sentence on the Python packages that are needed.
    """
    return (
        "ComfyUI lists what is missing when the workflow opens; or choose the *download* entry in each loader. All "
        f"files go into `models/{FOLDER}`. {GATED}.\n\n{_table(files)}\n\n{packages}"
    )


ONNX = (
    "`arcface.onnx` needs one package more: install `onnxruntime` (or `onnxruntime-gpu`, never both) into ComfyUI's "
    "Python. Or disconnect `arcface`; the identity is then left out."
)
CARRIED = (
    "None to fetch: `weights` *toy* of **Load HunyuanPortrait (all)** lies in the pack, with its face detector, under "
    "Apache-2.0.\n\nIts identity network needs one package: install `onnxruntime` (or `onnxruntime-gpu`, never both) "
    "into ComfyUI's Python. Or disconnect `arcface`; the identity is then left out."
)
GATED = "SVD's VAE is gated: first accept its licence on its Hugging Face page"


def _table(files: Iterable[ModelFile]) -> str:
    rows = (
        f"| [{shown_name(file)}]({model_link(file)['url']}) | {_size(file.size)} |{_origin(file)}" for file in files
    )
    return "\n".join(("| file | size | what |", "| --- | --- | --- |", *rows))


def _origin(file: ModelFile) -> str:
    """Say what a file is, and whose name it bears after a download by hand, if that is another."""
    downloaded = PurePosixPath(file.remote_filename).name
    return f" {file.purpose}{f': rename `{downloaded}`' if downloaded != shown_name(file) else ''} |"


def _licences(files: Iterable[ModelFile]) -> str:
    sources = {file.source: None for file in (*files,)}
    lines = (
        f"- [{source.repository}](https://huggingface.co/{source.repository}): {source.licence}" for source in sources
    )
    return "\n".join(lines)


def _size(num_bytes: int) -> str:
    number = (
        f"{num_bytes / 1e9:.1f}\N{NO-BREAK SPACE}GB"
        if num_bytes >= 1e9
        else f"{num_bytes / 1e6:.0f}\N{NO-BREAK SPACE}MB"
    )
    return number if num_bytes >= 1e6 else f"{num_bytes / 1e3:.0f}\N{NO-BREAK SPACE}kB"


def _unwrapped(text: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        if lines and lines[-1] and line and not line.startswith(("- ", "#", "|")):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


ALL_FILES = (*NEEDED_FILES, *DWPOSE_FILES)
