"""What a face of the drawn world does: eleven numbers a frame."""

from __future__ import annotations

import numpy as np

MOTION_RANGES: dict[str, tuple[float, float]] = {
    "yaw": (-35.0, 35.0),
    "pitch": (-20.0, 20.0),
    "roll": (-20.0, 20.0),
    "translate_x": (-0.06, 0.06),
    "translate_y": (-0.05, 0.05),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "blink": (0.0, 1.0),
    "brow": (-1.0, 1.0),
    "mouth_open": (0.0, 1.0),
    "mouth_width": (-1.0, 1.0),
}
"""Lowest and highest value of each parameter.

Angles in degrees: yaw turns to the image's right, pitch nods down, roll turns clockwise. Translations in shares of the
picture's side, right and down. Gaze to the right and down, -1 to 1; blink 0 open to 1 closed; brow -1 lowered to 1
raised; mouth_open 0 closed to 1; mouth_width -1 pursed to 1 stretched.
"""

MOTION_PARAMETERS = tuple(MOTION_RANGES)
"""Columns of a motion, (T, 11) float32."""

_BLINK = MOTION_PARAMETERS.index("blink")
_MOUTH = MOTION_PARAMETERS.index("mouth_open")
_LOW, _HIGH = np.array(list(MOTION_RANGES.values())).T


def random_motion(
    rng: np.random.Generator, num_frames: int, fps: float = 25.0, intensity: float | None = None
) -> np.ndarray:
    """Draw a smooth motion.

    Args:
        rng: Decides everything.
        num_frames: T.
        fps: Frames a second; a faster rate gives smaller steps.
        intensity: How fast things move about their mean: 0 holds a pose still, 1 is lively. None draws it, and in one
            of ten clips holds still.

    Returns:
        (T, 11) float32, columns as in MOTION_PARAMETERS, inside MOTION_RANGES.
    """
    if intensity is None:
        intensity = 0.0 if rng.random() < 0.1 else float(rng.uniform(0.2, 1.0))
    time = np.arange(num_frames) / fps
    middle, half = (_LOW + _HIGH) / 2, (_HIGH - _LOW) / 2
    # Three sines of random frequencies about a random pose, in shares of the range.
    frequency = rng.uniform(0.15, 1.2, (3, len(MOTION_PARAMETERS)))
    frequency[:, _MOUTH] = rng.uniform(0.8, 3.0, 3)  # as in speech
    phase = rng.uniform(0, 2 * np.pi, (3, len(MOTION_PARAMETERS)))
    weight = rng.dirichlet(np.ones(3), len(MOTION_PARAMETERS)).T
    waves = (weight * np.sin(2 * np.pi * frequency * time[:, None, None] + phase)).sum(1)
    pose = rng.uniform(-0.85, 0.85, len(MOTION_PARAMETERS))
    shares = np.clip(pose + intensity * rng.uniform(0.3, 1.0, len(MOTION_PARAMETERS)) * waves, -1, 1)
    motion = middle + half * shares
    motion[:, _BLINK] = _blinks(rng, time, intensity)
    return motion.astype(np.float32)


def standard_motion(motion: np.ndarray) -> np.ndarray:
    """Map each parameter's range to [-1, 1]; motion (..., 11)."""
    low, high = np.array(list(MOTION_RANGES.values()), dtype=motion.dtype).T
    return (motion - low) / (high - low) * 2 - 1


def _blinks(rng: np.random.Generator, time: np.ndarray, intensity: float) -> np.ndarray:
    """Eyes of a resting opening that close for a fifth of a second now and then."""
    blink = np.full(len(time), rng.choice([0.0, 0.0, rng.uniform(0, 0.5)]))
    if intensity == 0:
        return blink if rng.random() < 0.9 else np.ones(len(time))
    moment = rng.uniform(-0.2, 2.0)
    while len(time) and moment < time[-1] + 0.2:
        blink = np.maximum(blink, np.clip(1.6 * (1 - np.abs(time - moment) / 0.16), 0, 1))
        moment += rng.uniform(0.5, 3.5)
    return blink
