"""``hunyuan-portrait download``, ``convert`` and ``verify``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..checkpoints import FileReport, convert, default_folder, download, verify
from ..checkpoints.reports import Progress
from .options import add_models_option
from .progress import say


def add_commands(commands: Any) -> None:
    """Add ``download``, ``convert`` and ``verify``."""
    parser = commands.add_parser(
        "download",
        help="fetch the released weights from Hugging Face",
        description="Fetch the released weights, after their licences were shown and accepted. A broken download goes "
        "on where it stopped. The endpoint is taken from HF_ENDPOINT, the token from HF_TOKEN or `hf auth login`.",
    )
    add_models_option(parser)
    parser.add_argument("--accept-licences", action="store_true", help="accept the licences without being asked")
    parser.set_defaults(run=_download)

    parser = commands.add_parser(
        "convert",
        help="convert the .pth files to safetensors once",
        description="Convert the .pth files to safetensors beside them: they load faster and carry no code.",
    )
    add_models_option(parser)
    parser.set_defaults(run=_convert)

    parser = commands.add_parser(
        "verify",
        help="report which weight files are there, missing, damaged or of another model",
        description="Report which weight files are there, missing, damaged or of another model.",
    )
    add_models_option(parser)
    parser.set_defaults(run=_verify)


def _download(options: argparse.Namespace) -> int:
    def accept(text: str) -> bool:
        print(text)
        if options.accept_licences:
            return True
        if not sys.stdin.isatty():
            say("No terminal to ask on; give --accept-licences to accept.")
            return False
        return input("Accept these licences? [y/N] ").strip().lower() in ("y", "yes")

    with _bytes_bars() as update:
        return _report(download(accept, options.models, on_progress=update), options.models)


def _convert(options: argparse.Namespace) -> int:
    with _file_bar("Converting") as update:
        return _report(convert(options.models, update), options.models)


def _verify(options: argparse.Namespace) -> int:
    with _file_bar("Verifying") as update:
        return _report(verify(options.models, on_progress=update), options.models)


def _report(reports: list[FileReport], folder: Path | None) -> int:
    """Print a line a file; 1 if one is not as it should be."""
    say(f"Models folder: {folder or default_folder()}")
    for report in reports:
        print(report)
    return 0 if all(report.is_ok for report in reports) else 1


@contextmanager
def _file_bar(title: str) -> Iterator[Progress]:
    with tqdm(desc=title, unit="file", file=sys.stderr, dynamic_ncols=True) as bar:

        def update(name: str, num_done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name, refresh=False)
            bar.update(num_done - bar.n)

        yield update


@contextmanager
def _bytes_bars() -> Iterator[Progress]:
    bars: dict[str, tqdm] = {}

    def update(name: str, num_done: int, total: int) -> None:
        if name not in bars:
            for bar in bars.values():
                bar.close()
            bars[name] = tqdm(desc=name, total=total, unit="B", unit_scale=True, file=sys.stderr, dynamic_ncols=True)
        bars[name].update(num_done - bars[name].n)

    try:
        yield update
    finally:
        for bar in bars.values():
            bar.close()
