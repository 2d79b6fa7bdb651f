"""The pictures in the list of templates: schemes of what each workflow does, from the project's drawn world.

They show no output of the model: the drawn portrait is drawn again with the driver's movements.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hunyuan_core.demo import EXAMPLE_SEED, Scene
from hunyuan_core.sampling.sigmas import karras_sigmas

SIDE = 512
QUALITY = 85
NUM_FRAMES = 24
SHOWN = (2, 6, 10, 14, 18, 22)
BACKGROUND, TEXT, FAINT, ACCENT = (30, 33, 40), (238, 240, 244), (150, 156, 168), (244, 180, 76)
OTHERS = (27, 332)
"""Seeds of further people."""


class Scheme:
    """A square picture with a title, to be filled."""

    def __init__(self, title: str) -> None:
        self.image = Image.new("RGB", (SIDE, SIDE), BACKGROUND)
        self.canvas = ImageDraw.Draw(self.image)
        self.text(SIDE // 2, 34, title, 36)
        self.text(SIDE // 2, 494, "scheme, not a result", 18, FAINT)

    def text(self, x: int, y: int, text: str, size: int, colour: tuple[int, int, int] = TEXT) -> None:
        """Write centred around a point."""
        self.canvas.text((x, y), text, colour, ImageFont.load_default(size), anchor="mm")

    def picture(self, pixels: np.ndarray, x: int, y: int, side: int, caption: str = "") -> None:
        """Show a square picture by its top left corner."""
        self.image.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS), (x, y))
        if caption:
            self.text(x + side // 2, y + side + 14, caption, 18, FAINT)

    def film(self, frames: list[np.ndarray], x: int, y: int, side: int) -> None:
        """Show frames side by side, with the holes of a film."""
        width = len(frames) * side
        self.canvas.rectangle((x, y - 14, x + width, y + side + 14), fill=(8, 8, 10))
        for hole in range(x + 6, x + width - 6, 18):
            for top in (y - 10, y + side + 4):
                self.canvas.rectangle((hole, top, hole + 8, top + 6), fill=FAINT)
        for i, frame in enumerate(frames):
            self.picture(frame, x + i * side, y, side - 2)

    def arrow(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Draw an arrow."""
        self.canvas.line((start, end), fill=ACCENT, width=7)
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        corners = [(end[0] + 18 * math.cos(a), end[1] + 18 * math.sin(a)) for a in (angle, angle + 2.3, angle - 2.3)]
        self.canvas.polygon(corners, fill=ACCENT)


def write_thumbnail(name: str, path: Path) -> None:
    """Draw the scheme of a workflow, as JPEG.

    Raises:
        KeyError: If there is no such workflow.
    """
    SCHEMES[name]().image.save(path, quality=QUALITY, optimize=True)


def _portrait_basic() -> Scheme:
    scheme = Scheme("Portrait basic")
    _portrait_and_driver(scheme)
    scheme.picture(_follower()[1], 262, 132, 226, "video with its sound")
    _play(scheme, 375, 245)
    return scheme


def _toy_portrait() -> Scheme:
    scheme = Scheme("Toy portrait")
    scheme.picture(_scene().portrait(), 171, 74, 170, "portrait, drawn")
    for i, (frame, name) in enumerate(
        ((_driver()[1], "driver"), (_follower()[1], "result"), (_follower()[1], "truth"))
    ):
        scheme.picture(frame, 28 + 156 * i, 300, 144, name)
    scheme.arrow((SIDE // 2, 270), (SIDE // 2, 288))
    return scheme


def _full_control() -> Scheme:
    scheme = Scheme("Full control")
    _portrait_and_driver(scheme)
    for i, (label, share) in enumerate((("expression", 0.75), ("rotation", 0.5), ("smoothing", 0.2))):
        y = 84 + 46 * i
        scheme.text(374, y, label, 18, FAINT)
        scheme.canvas.line((272, y + 20, 478, y + 20), fill=FAINT, width=4)
        x = 272 + 206 * share
        scheme.canvas.ellipse((x - 9, y + 11, x + 9, y + 29), fill=ACCENT)
    scheme.picture(_follower()[1], 274, 240, 200, "edited, measured")
    return scheme


def _long_video() -> Scheme:
    scheme = Scheme("Long video")
    scheme.film([*_driver(), _driver()[0]], -30, 90, 82)
    scheme.picture(_scene().portrait(), 60, 214, 120)
    scheme.arrow((214, 274), (276, 274))
    scheme.canvas.rectangle((318, 216, 438, 332), outline=ACCENT, width=5)
    scheme.text(378, 262, "frame", 24)
    scheme.text(378, 292, "by frame", 24)
    scheme.film([*_follower(), _follower()[0]], -30, 372, 82)
    return scheme


def _low_vram() -> Scheme:
    scheme = Scheme("Low VRAM")
    _portrait_and_driver(scheme)
    for i in range(6):
        x, y = 304 + 27 * i, 128 + 25 * i
        for pin in ((x, 104, x + 10, 284), (280, y, 472, y + 10)):
            scheme.canvas.rectangle(pin, fill=FAINT)
    scheme.canvas.rectangle((296, 120, 456, 268), fill=(44, 92, 66), outline=TEXT, width=3)
    scheme.text(376, 178, "8 bit", 44)
    scheme.text(376, 224, "one by one", 24)
    scheme.picture(_follower()[1], 311, 310, 130, "same picture, nearly")
    return scheme


def _any_sampler() -> Scheme:
    scheme = Scheme("Any sampler")
    left, top, right, bottom = 40, 90, 472, 250
    levels = np.log(karras_sigmas(25)[:-1].numpy())
    heights = (levels - levels.min()) / (levels.max() - levels.min())
    points = [(left + (right - left) * i / 24, bottom - (bottom - top) * float(h)) for i, h in enumerate(heights)]
    scheme.canvas.line((left, top, left, bottom + 6, right, bottom + 6), fill=FAINT, width=3)
    scheme.canvas.line(points, fill=ACCENT, width=4)
    for x, y in points:
        scheme.canvas.ellipse((x - 5, y - 5, x + 5, y + 5), fill=ACCENT)
    scheme.text(356, 110, "any noise levels", 22)
    clean = _follower()[1].astype(np.float32)
    noise = np.random.default_rng(0).normal(128, 70, (32, 32, 3)).repeat(16, 0).repeat(16, 1)
    for i, share in enumerate((1.0, 0.5, 0.0)):
        mixed = np.clip((1 - share) * clean + share * noise, 0, 255).astype(np.uint8)
        scheme.picture(mixed, 36 + 154 * i, 300, 132)
        if i:
            scheme.arrow((20 + 154 * i, 366), (26 + 154 * i, 366))
    scheme.text(SIDE // 2, 456, "euler, dpmpp_2m, heun, …", 22, FAINT)
    return scheme


def _many_portraits() -> Scheme:
    scheme = Scheme("One motion, many portraits")
    scheme.film(_driver()[:3], 106, 90, 100)
    scheme.text(SIDE // 2, 228, "encoded once", 20, FAINT)
    for i, seed in enumerate((EXAMPLE_SEED, *OTHERS)):
        x = 28 + 156 * i
        scheme.arrow((SIDE // 2 + 30 * (i - 1), 246), (x + 72, 292))
        scheme.picture(_follower(seed)[1], x, 320, 144)
    return scheme


def _drawing_or_animal() -> Scheme:
    scheme = Scheme("Drawing or animal")
    scheme.picture(_draw_cat(), 24, 74, 170)
    scheme.canvas.rectangle((48, 112, 170, 232), outline=ACCENT, width=5)
    scheme.text(109, 260, "box by hand", 18, FAINT)
    scheme.picture(_driver()[1], 24, 286, 170, "driving video")
    scheme.arrow((206, 266), (234, 266))
    scheme.picture(_draw_cat(turn=1.0, mouth=1.0), 262, 132, 226, "follows the driver")
    _play(scheme, 375, 245)
    return scheme


SCHEMES = {
    "portrait_basic": _portrait_basic,
    "toy_portrait": _toy_portrait,
    "full_control": _full_control,
    "long_video": _long_video,
    "low_vram": _low_vram,
    "any_sampler_guider": _any_sampler,
    "one_motion_many_portraits": _many_portraits,
    "drawing_or_animal_manual_box": _drawing_or_animal,
}


def _portrait_and_driver(scheme: Scheme) -> None:
    scheme.picture(_scene().portrait(), 24, 74, 170, "portrait")
    scheme.picture(_driver()[1], 24, 286, 170, "driving video")
    scheme.arrow((206, 266), (234, 266))


def _play(scheme: Scheme, x: int, y: int) -> None:
    """Draw the sign for a video around a point."""
    scheme.canvas.ellipse((x + 72, y + 72, x + 106, y + 106), fill=BACKGROUND)
    scheme.canvas.polygon([(x + 84, y + 80), (x + 84, y + 98), (x + 99, y + 89)], fill=TEXT)


def _scene(seed: int = EXAMPLE_SEED) -> Scene:
    """The driver is always the same."""
    scene = Scene.draw(EXAMPLE_SEED, NUM_FRAMES, SIDE, fps=12.5)
    return replace(scene, person=Scene.draw(seed, 1, SIDE).person, motion=scene.motion[list(SHOWN)])


def _driver() -> list[np.ndarray]:
    return list(_scene().driver())


def _follower(seed: int = EXAMPLE_SEED) -> list[np.ndarray]:
    return list(_scene(seed).truth())


def _draw_cat(turn: float = 0.0, mouth: float = 0.0) -> np.ndarray:
    """Draw a cat's head, (512, 512, 3) uint8 RGB; turn in [-1, 1], mouth in [0, 1]."""
    image = Image.new("RGB", (SIDE, SIDE), (150, 190, 170))
    canvas = ImageDraw.Draw(image)
    fur, dark, pink = (230, 160, 80), (60, 40, 30), (232, 140, 140)
    x, shift = 256 + 16 * turn, 26 * turn

    def ellipse(at: tuple[float, float], rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        canvas.ellipse((at[0] - rx, at[1] - ry, at[0] + rx, at[1] + ry), fill=colour)

    ellipse((256, 560), 170, 160, fur)
    for side in (-1, 1):
        canvas.polygon([(x + side * 170, 90), (x + side * 176, 290), (x + side * 50, 170)], fill=fur)
        canvas.polygon([(x + side * 154, 124), (x + side * 156, 240), (x + side * 84, 176)], fill=pink)
    ellipse((x, 300), 176, 150, fur)
    for side in (-1, 1):
        ellipse((x + shift + side * 72, 268), 34, 34, (240, 250, 220))
        ellipse((x + shift * 1.3 + side * 72, 268), 12, 28, dark)
        for angle in (-0.2, 0.0, 0.2):
            start = (x + shift + side * 50, 340)
            canvas.line((start, (start[0] + side * 130, 340 + 130 * angle)), fill=dark, width=4)
    ellipse((x + shift, 376), 34, 10 + 26 * mouth, dark)
    ellipse((x + shift, 384 + 10 * mouth), 22, 6 + 14 * mouth, pink)
    canvas.polygon([(x + shift - 24, 318), (x + shift + 24, 318), (x + shift, 348)], fill=pink)
    return np.asarray(image)
