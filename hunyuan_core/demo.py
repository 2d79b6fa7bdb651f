"""Two people of the drawn world, for trying the program without any file of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .evaluation.pictures import psnr
from .toy import TOY_SIZE
from .training.toyworld import (
    Identity,
    Painter,
    face_box,
    face_mask,
    landmarks,
    random_identity,
    random_motion,
)
from .training.toyworld.reader import Reader

SIZE = 512
"""Side of the drawings for tests, schemes and benchmarks, pixels."""

_SEED = 0x64656D6F
"""Keeps the people of the demo apart from those of training and evaluation."""
_LABEL = 22
_BACKGROUND, _TEXT = (30, 33, 40), (238, 240, 244)


@dataclass(frozen=True, eq=False)
class Scene:
    """A portrait of one person, and another who moves.

    Attributes:
        pose: (11,), the portrait's motion.
        motion: (T, 11), the driver's.
        size: Side of the pictures, pixels.
    """

    person: Identity
    pose: np.ndarray
    performer: Identity
    motion: np.ndarray
    size: int

    @classmethod
    def draw(cls, seed: int, num_frames: int, size: int = TOY_SIZE, fps: float = 25.0) -> Scene:
        """Draw the people and the motion by lot; the portrait is upright and looks ahead, more or less."""
        rng = np.random.default_rng([_SEED, seed])
        person, performer = random_identity(rng), random_identity(rng)
        pose = random_motion(rng, 1, intensity=0.0)[0] * np.float32(0.3)
        return cls(person, pose, performer, random_motion(rng, num_frames, fps, intensity=1.0), size)

    def portrait(self) -> np.ndarray:
        """Draw the person to animate, (S, S, 3) uint8 RGB."""
        return Painter(self.person, self.size).draw(self.pose)

    def driver(self) -> Iterator[np.ndarray]:
        """Draw the other one, (S, S, 3) uint8 RGB each."""
        return map(Painter(self.performer, self.size).draw, self.motion)

    def truth(self) -> Iterator[np.ndarray]:
        """Draw the person to animate with the driver's motion, (S, S, 3) uint8 RGB each."""
        return map(Painter(self.person, self.size).draw, self.motion)


@dataclass(frozen=True)
class Figures:
    """How near a result comes to the truth; each also for the portrait held still.

    Attributes:
        psnr: In the region of the face, dB, mean of the frames.
        lmd: Mean distance of the landmarks from the true ones, shares of the side.
    """

    psnr: float
    held_psnr: float
    lmd: float
    held_lmd: float

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"PSNR to the truth in the face {self.psnr:.1f} dB (portrait held still: {self.held_psnr:.1f} dB), "
            f"distance of the landmarks {100 * self.lmd:.1f} % of the side (held still: {100 * self.held_lmd:.1f} %)"
        )


@torch.inference_mode()
def measure(scene: Scene, result: Sequence[np.ndarray], reader: Reader) -> Figures:
    """Compare a result with the truth.

    Args:
        scene: Of the reader's size.
        result: (S, S, 3) uint8 RGB, one for each row of the motion.
        reader: Reads the landmarks of the result; those of the portrait are known.
    """
    portrait, at_rest = scene.portrait(), landmarks(scene.person, scene.pose, 1)
    errors = []
    for row, wanted, frame in zip(scene.motion, scene.truth(), result, strict=True):
        mask, points = face_mask(scene.person, row, scene.size), landmarks(scene.person, row, 1)
        picture = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        seen = reader(picture).landmarks[0].numpy()
        lmd, held_lmd = (float(np.linalg.norm(found - points, axis=-1).mean()) for found in (seen, at_rest))
        errors.append((psnr(wanted, frame, mask), psnr(wanted, portrait, mask), lmd, held_lmd))
    return Figures(*map(float, np.mean(errors, axis=0)))


def side_by_side(videos: Mapping[str, Sequence[np.ndarray]], scale: int = 2) -> Iterator[np.ndarray]:
    """Put videos of one length and size beside each other, each under its name.

    Args:
        videos: (S, S, 3) uint8 RGB frames by name.
        scale: How many times as large they are shown.

    Yields:
        (S · scale + 22, S · scale · number of videos, 3) uint8 RGB.
    """
    for frames in zip(*videos.values(), strict=True):
        side = len(frames[0]) * scale
        picture = Image.new("RGB", (side * len(videos), side + _LABEL), _BACKGROUND)
        for i, (name, frame) in enumerate(zip(videos, frames, strict=True)):
            picture.paste(Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC), (i * side, _LABEL))
            _write(picture, i * side + side // 2, _LABEL // 2, name)
        yield np.asarray(picture)


def strip(videos: Mapping[str, Sequence[np.ndarray]], num_columns: int = 8) -> np.ndarray:
    """Show some frames of several videos, a row for each, evenly spread.

    Args:
        videos: As for ``side_by_side``.
        num_columns: At most as many as there are frames.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    length, side = (len(next(iter(videos.values()))), len(next(iter(videos.values()))[0]))
    chosen = np.linspace(0, length - 1, min(num_columns, length)).round().astype(int)
    margin = 4 * _LABEL
    picture = Image.new("RGB", (margin + side * len(chosen), side * len(videos)), _BACKGROUND)
    for i, (name, frames) in enumerate(videos.items()):
        _write(picture, margin // 2, i * side + side // 2, name)
        for j, number in enumerate(chosen):
            picture.paste(Image.fromarray(frames[number]), (margin + j * side, i * side))
    return np.asarray(picture)


def _write(picture: Image.Image, x: int, y: int, text: str) -> None:
    ImageDraw.Draw(picture).text((x, y), text, _TEXT, ImageFont.load_default(16), anchor="mm")


def _example(num_frames: int) -> Scene:
    return Scene.draw(EXAMPLE_SEED, num_frames, SIZE)


EXAMPLE_SEED = 125
"""Of the people in tests, schemes and benchmarks."""

FACE_BOX = tuple(map(float, face_box(_example(1).person, _example(1).pose, SIZE)))
"""Box of the example portrait's face, pixels."""


def draw_portrait() -> np.ndarray:
    """Draw the example portrait, (512, 512, 3) uint8 RGB."""
    return _example(1).portrait()


def draw_driver(num_frames: int) -> Iterator[np.ndarray]:
    """Draw the example driver, (512, 512, 3) uint8 RGB each."""
    return _example(num_frames).driver()


def draw_follower(num_frames: int) -> Iterator[np.ndarray]:
    """Draw the person of the example portrait with the driver's motion, for schemes of what the program does."""
    return _example(num_frames).truth()
