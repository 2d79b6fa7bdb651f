"""``hunyuan-portrait inspect``: see what the model will see."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..inspection import contact_sheet
from ..video import write_image
from .options import add_face_options, add_models_option, find_driving, find_track


def add_commands(commands: Any) -> None:
    """Add ``inspect``."""
    parser = commands.add_parser(
        "inspect",
        help="draw what the model will see of a driving video",
        description="Write a contact sheet with face box, landmarks, crops and motion intensity of each 25 frames.",
    )
    parser.add_argument("driving", type=Path, metavar="V", help="driving video, GIF or folder of images")
    parser.add_argument("--out", type=Path, metavar="SHEET", help="image to write (default: V with .sheet.png)")
    add_models_option(parser)
    add_face_options(parser, ("driving",))
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    out = options.out or options.driving.with_name(f"{options.driving.stem}.sheet.png")
    video = find_driving(options)
    track = find_track(video, options)
    write_image(out, contact_sheet(video, track))
    print(out)
    return 0
