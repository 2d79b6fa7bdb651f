"""Who a face of the drawn world is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HAIR_STYLES = ("bald", "short", "long", "bun", "fringe", "curly", "parted")
BACKGROUNDS = ("gradient", "stripes", "bubbles", "hills", "shelves", "checks")
CLOTHES = ("plain", "stripes", "collar", "dots")
STYLES = ("outlined", "soft")

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Identity:
    """Looks of one person, lengths in shares of the picture's side, colours RGB in [0, 255]."""

    head_width: float
    """Half of it, at the cheeks."""
    head_height: float
    """Half of it."""
    jaw: float
    """0 round to 1 pointed."""
    skin: Colour
    hair_style: str
    hair: Colour
    hairline: float
    """Where the hair begins, in half head heights above the middle."""
    eye_size: float
    """Half the width of an eye."""
    eye_distance: float
    """From the middle to an eye's centre."""
    eye_height: float
    """Height of an opened eye by its width."""
    iris: Colour
    brow_thickness: float
    nose_size: float
    mouth_size: float
    lip_fullness: float
    lips: Colour
    ear_size: float
    has_glasses: bool
    has_beard: bool
    has_freckles: bool
    clothes_style: str
    clothes: Colour
    clothes_detail: Colour
    background_style: str
    background: Colour
    background_detail: Colour
    background_seed: int
    light_angle: float
    """Radians, where the light comes from; 0 is from the right, π/2 from below."""
    light_strength: float
    style: str


_NUMBERS = (
    "head_width",
    "head_height",
    "jaw",
    "hairline",
    "eye_size",
    "eye_distance",
    "eye_height",
    "brow_thickness",
    "nose_size",
    "mouth_size",
    "lip_fullness",
)
_COLOURS = ("skin", "hair", "iris", "lips", "clothes", "background")

IDENTITY_PARAMETERS = (*_NUMBERS, *(f"{name}_{channel}" for name in _COLOURS for channel in "rgb"))
"""Columns of ``identity_parameters``."""


def identity_parameters(identity: Identity) -> np.ndarray:
    """Measure an identity: (29,) float32, in the order of IDENTITY_PARAMETERS; lengths as they are, colours 0 to 1."""
    colours = [channel / 255 for name in _COLOURS for channel in getattr(identity, name)]
    return np.array([getattr(identity, name) for name in _NUMBERS] + colours, dtype=np.float32)


def random_identity(rng: np.random.Generator) -> Identity:
    """Draw an identity; all that it has comes from the generator."""
    tone = rng.uniform(0, 1)
    light_skin, dark_skin = np.array([250, 218, 192]), np.array([104, 66, 44])
    skin = light_skin * (1 - tone) + dark_skin * tone + rng.uniform(-12, 12, 3)
    natural = np.array([[40, 28, 24], [92, 58, 36], [150, 98, 52], [222, 184, 110], [168, 66, 36], [176, 176, 180]])
    hair = natural[rng.integers(len(natural))] + rng.uniform(-20, 20, 3)
    if rng.random() < 0.25:
        hair = _vivid(rng)
    irises = np.array([[92, 58, 34], [58, 112, 170], [72, 128, 82], [60, 60, 66], [150, 104, 48]])
    background, clothes = _vivid(rng), _vivid(rng)
    return Identity(
        head_width=float(rng.uniform(0.265, 0.315)),
        head_height=float(rng.uniform(0.325, 0.375)),
        jaw=float(rng.uniform(0.0, 1.0)),
        skin=_colour(skin),
        hair_style=str(rng.choice(HAIR_STYLES, p=(0.06, 0.18, 0.18, 0.12, 0.16, 0.15, 0.15))),
        hair=_colour(hair),
        hairline=float(rng.uniform(0.6, 0.78)),
        eye_size=float(rng.uniform(0.082, 0.105)),
        eye_distance=float(rng.uniform(0.118, 0.138)),
        eye_height=float(rng.uniform(0.6, 0.85)),
        iris=_colour(irises[rng.integers(len(irises))] + rng.uniform(-20, 20, 3)),
        brow_thickness=float(rng.uniform(0.012, 0.03)),
        nose_size=float(rng.uniform(0.03, 0.05)),
        mouth_size=float(rng.uniform(0.095, 0.125)),
        lip_fullness=float(rng.uniform(0.012, 0.026)),
        lips=_colour(skin * 0.55 + np.array([150, 40, 50]) * rng.uniform(0.35, 0.5)),
        ear_size=float(rng.uniform(0.05, 0.075)),
        has_glasses=bool(rng.random() < 0.2),
        has_beard=bool(rng.random() < 0.15),
        has_freckles=bool(rng.random() < 0.15),
        clothes_style=str(rng.choice(CLOTHES)),
        clothes=_colour(clothes),
        clothes_detail=_colour(_vivid(rng)),
        background_style=str(rng.choice(BACKGROUNDS)),
        background=_colour(background * 0.6 + 95),
        background_detail=_colour(background * 0.6 + 95 + rng.uniform(-60, 60, 3)),
        background_seed=int(rng.integers(2**31)),
        light_angle=float(rng.uniform(0, 2 * np.pi)),
        light_strength=float(rng.uniform(0.05, 0.25)),
        style=str(rng.choice(STYLES)),
    )


def _vivid(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(20, 235, 3)


def _colour(values: np.ndarray) -> Colour:
    r, g, b = np.clip(values, 0, 255)
    return float(r), float(g), float(b)
