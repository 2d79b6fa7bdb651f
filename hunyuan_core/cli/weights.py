"""``hunyuan-portrait download``, ``convert`` and ``verify``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..checkpoints import FILES, PREVIEW_FILES, FileReport, convert, download, verify
from ..checkpoints.files import models_folder
from .options import add_models_option
from .progress import bar, say


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
    parser.add_argument(
        "--preview-decoder", action="store_true", help="fetch the small decoder of --decoder tiny instead, 10 MB"
    )
    parser.set_defaults(run=_download, stopped="Interrupted; run the command again to go on from there.")

    parser = commands.add_parser(
        "convert",
        help="convert the .pth files to safetensors once",
        description="Convert the .pth files to safetensors beside them: they load faster and carry no code.",
    )
    add_models_option(parser)
    parser.set_defaults(run=_convert, stopped="Interrupted; what was converted before stays.")

    parser = commands.add_parser(
        "verify",
        help="report which weight files are there, missing, damaged or of another model",
        description="Report which weight files are there, missing, damaged or of another model.",
    )
    add_models_option(parser)
    parser.set_defaults(run=_verify, stopped="Interrupted.")


def _download(options: argparse.Namespace) -> int:
    def accept(text: str) -> bool:
        print(text)
        if options.accept_licences:
            return True
        if sys.stdin is None or not sys.stdin.isatty():
            say("No terminal to ask on; give --accept-licences to accept.")
            return False
        return input("Accept these licences? [y/N] ").strip().lower() in ("y", "yes")

    with bar("Downloading", "B", unit_scale=True) as update:
        reports = download(
            accept,
            options.models,
            files=PREVIEW_FILES if options.preview_decoder else FILES,
            on_progress=lambda name, num_done, total: update(num_done, total, name),
        )
    return _report(reports, options.models)


def _convert(options: argparse.Namespace) -> int:
    with bar("Converting", "file") as update:
        reports = convert(options.models, lambda name, num_done, total: update(num_done, total))
    return _report(reports, options.models)


def _verify(options: argparse.Namespace) -> int:
    with bar("Verifying", "file") as update:
        reports = verify(options.models, on_progress=lambda name, num_done, total: update(num_done, total))
    return _report(reports, options.models)


def _report(reports: list[FileReport], folder: Path | None) -> int:
    """Print a line a file; 1 if one is not as it should be."""
    say(f"Models folder: {models_folder(folder)}")
    for report in reports:
        print(report)
    return 0 if all(report.is_ok for report in reports) else 1
