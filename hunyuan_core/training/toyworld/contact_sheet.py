"""A picture of the drawn world: a row for each person, a column for each motion."""

from __future__ import annotations

import numpy as np

from .drawing import Painter
from .identity import Identity, random_identity
from .motion import MOTION_PARAMETERS, MOTION_RANGES

_SETTINGS: tuple[dict[str, float], ...] = (
    {},
    {"yaw": -1, "gaze_x": -0.4},
    {"yaw": 0.7, "pitch": -0.6},
    {"pitch": 1},
    {"roll": -1, "mouth_width": 0.8},
    {"roll": 0.5, "translate_x": 1, "translate_y": -1},
    {"gaze_x": 1, "gaze_y": -0.7},
    {"gaze_x": -1, "gaze_y": 1, "brow": -1},
    {"blink": 0.5},
    {"blink": 1, "mouth_width": 1},
    {"brow": 1, "mouth_open": 1, "mouth_width": -0.6},
    {"mouth_open": 0.8, "mouth_width": 1, "yaw": 0.4},
)
"""Motions of the columns, in shares of each parameter's highest value; what is not named is at rest."""


def contact_sheet(seed: int = 0, num_people: int = 6, size: int = 80) -> np.ndarray:
    """Draw people of both styles, each with the same motions.

    Args:
        size: Side of one portrait, pixels.

    Returns:
        (num_people · size, 12 · size, 3) uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    painters = [Painter(person, size) for person in _people(rng, num_people)]
    motions = [_motion(setting) for setting in _SETTINGS]
    rows = [np.concatenate([painter.draw(motion) for motion in motions], axis=1) for painter in painters]
    return np.concatenate(rows)


def _people(rng: np.random.Generator, number: int) -> list[Identity]:
    """As many of one style as of the other, in turns."""
    styles = ("soft", "outlined")
    people: list[Identity] = []
    while len(people) < number:
        person = random_identity(rng)
        if person.style == styles[len(people) % 2]:
            people.append(person)
    return people


def _motion(setting: dict[str, float]) -> np.ndarray:
    shares = [setting.get(name, 0.0) * MOTION_RANGES[name][1] for name in MOTION_PARAMETERS]
    return np.array(shares, dtype=np.float32)
