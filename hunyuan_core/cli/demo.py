"""``hunyuan-portrait demo``: the model that the package carries animates one drawn person by another."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..ablation import Reenactor
from ..demo import Scene, measure, side_by_side, strip
from ..errors import MediaError
from ..faces.detection import select_face
from ..faces.tracking import track_faces
from ..pipeline import Pipeline
from ..toy import TOY_LIMITS, TOY_SAMPLING, TOY_SIZE, toy_reader_file
from ..training.toyworld.detector import DrawnFaceDetector
from ..video import write_image, write_video
from .animate import add_options, animate
from .model import TOY
from .progress import bar, say

NUM_FRAMES = 50
_RATE = Fraction(25)


def add_commands(commands: Any) -> None:
    """Add ``demo``."""
    parser = commands.add_parser(
        "demo",
        help="see an animation, without any file of your own",
        description="Draw a portrait and a driver, two people whom the carried model has never seen, animate the one "
        f"by the other, and show driver, result and truth side by side, with figures. Note that {TOY_LIMITS}.",
    )
    parser.add_argument("--out", type=Path, default=Path("build/demo"), metavar="FOLDER", help="(default: build/demo)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the people and the motion")
    parser.add_argument("--portrait", type=Path, metavar="P", help="animate this picture in place of the drawn one")
    parser.add_argument("--driving", type=Path, metavar="V", help="by this video in place of the drawn one")
    parser.set_defaults(run=_demo, stopped="Interrupted; the drawn inputs may be there, the result is not.")


def _demo(options: argparse.Namespace) -> int:
    folder: Path = options.out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"--out {folder} cannot be made a folder ({error.strerror}); choose another.") from error
    scene = Scene.draw(options.seed, NUM_FRAMES)
    portrait, driving = options.portrait or folder / "portrait.png", options.driving or folder / "driving.mp4"
    if options.portrait is None:
        write_image(portrait, scene.portrait())
    if options.driving is None:
        write_video(driving, scene.driver(), _RATE)
    if options.portrait is not None or options.driving is not None:
        return _animate_files(portrait, driving, folder / "animated.mp4")
    pipeline, detector = Pipeline.toy(), DrawnFaceDetector(toy_reader_file())
    say(f"Note: {TOY_LIMITS}")
    with bar("Animating", "window") as update:
        result = Reenactor(pipeline).animate(
            scene.portrait(),
            select_face(detector.detect(scene.portrait())),
            scene.driver(),
            track_faces(scene.driver(), detector),
            size=TOY_SIZE,
            config=TOY_SAMPLING,
            on_progress=update,
        )
    drawn = {"driver": list(scene.driver()), "result": result, "truth": list(scene.truth())}
    videos = {"portrait": [scene.portrait()] * len(result), **drawn}
    write_image(folder / "demo.jpg", strip(drawn))
    write_video(folder / "demo.mp4", side_by_side(videos), _RATE)
    say(f"The same again: hunyuan-portrait animate --weights {TOY} --portrait {portrait} --driving {driving} --out O")
    print(f"{measure(scene, result, detector.reader)}\n{folder / 'demo.mp4'}")
    return 0


def _animate_files(portrait: Path, driving: Path, out: Path) -> int:
    parser = argparse.ArgumentParser()
    add_options(parser)
    files = ["--portrait", portrait, "--driving", driving, "--out", out]
    return animate(parser.parse_args(["--weights", TOY, *map(str, files)]))
