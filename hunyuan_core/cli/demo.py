"""``hunyuan-portrait demo``: the main job on a drawn portrait and a drawn driver."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..checkpoints import find_models
from ..demo import FACE_BOX, draw_driver, draw_portrait
from ..errors import MediaError, WeightsError
from ..video import write_image, write_video
from .animate import UNTRAINED, add_options, animate
from .progress import say

NUM_FRAMES = 50


def add_commands(commands: Any) -> None:
    """Add ``demo``."""
    parser = commands.add_parser(
        "demo",
        help="animate a drawn portrait, without any file of your own",
        description="Draw a portrait and a driver and animate the one by the other: with the released weights if they "
        f"are found, else with {UNTRAINED}, whose picture is noise.",
    )
    parser.add_argument("--out", type=Path, default=Path("build/demo"), metavar="FOLDER", help="(default: build/demo)")
    parser.set_defaults(run=_demo, stopped="Interrupted; the drawn inputs may be there, the result is not.")


def _demo(options: argparse.Namespace) -> int:
    folder: Path = options.out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"--out {folder} cannot be made a folder ({error.strerror}); choose another.") from error
    portrait, driving, out = (folder / name for name in ("portrait.png", "driving.mp4", "animated.mp4"))
    write_image(portrait, draw_portrait())
    write_video(driving, draw_driver(NUM_FRAMES), Fraction(25))
    try:
        find_models()
        weights = "released"
    except WeightsError as error:
        say(f"{error}\nGoing on without them.")
        weights = UNTRAINED
    box = ",".join(map(str, FACE_BOX))
    arguments = ["--portrait", portrait, "--driving", driving, "--out", out, "--weights", weights, "--no-identity"]
    say(f"Running: hunyuan-portrait animate {' '.join(map(str, arguments))} --portrait-box {box} --driving-box {box}")
    parser = argparse.ArgumentParser()
    add_options(parser)
    return animate(parser.parse_args([*map(str, arguments), "--portrait-box", box, "--driving-box", box]))
