"""A drawn portrait and a drawn driver, for trying the program without any file of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 512
FACE_BOX = (136.0, 116.0, 376.0, 420.0)
"""Box of the drawn face at rest, pixels."""

_SCALE = 2  # drawn twice as large and reduced, for smooth edges


@dataclass(frozen=True)
class _Looks:
    """Colours of a person, RGB."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    eyes: tuple[int, int, int]
    background: tuple[int, int, int]


_PORTRAIT = _Looks(skin=(236, 196, 164), hair=(64, 42, 32), eyes=(70, 110, 90), background=(186, 200, 214))
_DRIVER = _Looks(skin=(176, 124, 92), hair=(24, 22, 24), eyes=(60, 50, 120), background=(214, 198, 170))


def draw_portrait() -> np.ndarray:
    """Draw the person to animate, (512, 512, 3) uint8 RGB."""
    return _draw(_PORTRAIT)


def draw_driver(num_frames: int) -> Iterator[np.ndarray]:
    """Draw somebody else who turns the head, speaks and blinks; (512, 512, 3) uint8 RGB each."""
    return _perform(_DRIVER, num_frames)


def draw_follower(num_frames: int) -> Iterator[np.ndarray]:
    """Draw the person to animate with the driver's movements, for schemes of what the program does."""
    return _perform(_PORTRAIT, num_frames)


def _perform(looks: _Looks, num_frames: int) -> Iterator[np.ndarray]:
    for i in range(num_frames):
        phase = 2 * math.pi * i / num_frames
        yield _draw(
            looks,
            turn=math.sin(phase),
            nod=0.5 * math.sin(2 * phase),
            mouth=0.5 - 0.5 * math.cos(6 * phase),
            blink=1.0 if i % 25 in (11, 12) else 0.0,
        )


def _draw(
    looks: _Looks,
    turn: float = 0.0,
    nod: float = 0.0,
    mouth: float = 0.0,
    blink: float = 0.0,
) -> np.ndarray:
    """Draw a face; turn and nod in [-1, 1], mouth and blink in [0, 1]."""
    image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), looks.background)
    draw = ImageDraw.Draw(image)

    def ellipse(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse([(x - rx) * _SCALE, (y - ry) * _SCALE, (x + rx) * _SCALE, (y + ry) * _SCALE], fill=colour)

    x, y = 256 + 14 * turn, 268 + 10 * nod  # the head sways, its features move further: a hint of depth
    fx, fy = x + 22 * turn, y + 14 * nod
    ellipse(256, 560, 190, 150, (70, 80, 110))
    ellipse(256, 430, 52, 70, looks.skin)
    ellipse(x, y - 26, 140, 168, looks.hair)
    ellipse(x, y, 116, 150, looks.skin)
    ellipse(x - 4 * turn, y - 138, 120, 62, looks.hair)
    for side in (-1, 1):
        ex, ey = fx + side * 46, fy - 24
        ellipse(ex, ey, 22, 13 * (1 - blink) + 1, (250, 250, 248))
        if blink < 1:
            ellipse(ex + 5 * turn, ey, 10, 10 * (1 - blink), looks.eyes)
            ellipse(ex + 5 * turn, ey, 5, 5 * (1 - blink), (16, 16, 20))
        ellipse(ex, ey - 28 - 4 * mouth, 26, 5, looks.hair)
    ellipse(fx + 4 * turn, fy + 24, 13, 20, tuple(int(c * 0.88) for c in looks.skin))  # pyright: ignore[reportArgumentType]
    ellipse(fx, fy + 82, 40 - 8 * mouth, 9 + 16 * mouth, (160, 60, 64))
    ellipse(fx, fy + 82, 30 - 6 * mouth, 1 + 12 * mouth, (70, 16, 24))
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
