"""Portraits and drivers whom no training sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..training.toyworld import Identity, random_identity, random_motion

NUM_FRAMES = 5
FPS = 5.0
"""So slow that few frames show much motion."""

_STREAM = 0x70A1
"""Tells these random numbers from those of training.

Training seeds its generators with its seed and the number of the example, each below 2^62: at most four words of 32
bits, and no spawn key. NumPy fills a seed that has a spawn key up to four words and appends the key. So the words are
five at least, never those of a training.
"""


@dataclass(frozen=True, eq=False)
class Pair:
    """A portrait, and somebody else who drives it.

    Attributes:
        pose: (11,), the portrait's motion.
        motion: (T, 11), the driver's.
    """

    portrait: Identity
    driver: Identity
    pose: np.ndarray
    motion: np.ndarray


def held_out_pair(seed: int, index: int) -> Pair:
    """Draw a pair, always the same one.

    Args:
        seed: 0 or more.
    """
    rng = np.random.default_rng(np.random.SeedSequence([index, seed], spawn_key=(_STREAM,)))
    return Pair(
        random_identity(rng), random_identity(rng), random_motion(rng, 1)[0], random_motion(rng, NUM_FRAMES, FPS)
    )
