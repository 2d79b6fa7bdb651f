"""``hunyuan-portrait inspect``: see what the model will see."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..inspection import contact_sheet
from ..video import write_image
from .options import (
    add_face_options,
    add_models_option,
    check_faces,
    check_output,
    find_detectors,
    find_driving,
    find_track,
)


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
    parser.set_defaults(run=_inspect, stopped="Interrupted; nothing was written.")


def _inspect(options: argparse.Namespace) -> int:
    driving = options.driving.resolve()
    out = options.out or driving.with_name(f"{driving.stem or 'root'}.sheet.png")
    check_faces(options, ("driving",))
    check_output(out, [driving])
    if out.suffix.lower() != ".png":
        raise ConfigurationError(f"--out {out} must end in .png.")
    video = find_driving(options)
    track = find_track(video, find_detectors(options, ("driving",))["driving"], options)
    write_image(out, contact_sheet(video, track))
    print(out)
    return 0
