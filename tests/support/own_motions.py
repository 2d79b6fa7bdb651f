"""Motions with random content, as wide as the tiny model's."""

from __future__ import annotations

from dataclasses import fields

import torch

from hunyuan_core.data import Motion
from hunyuan_core.motion import INTENSITY_CHUNK

WIDTH = 14


def random_motion(num_frames: int, seed: int = 0, *, has_token_translation: bool = True, limit: float = 80.0) -> Motion:
    """A motion of three tokens a frame whose pose channels repeat its records.

    Args:
        has_token_translation: Released models have zeros there.
        limit: Of the rotation, degrees.
    """
    generator = torch.Generator().manual_seed(seed)
    refined = torch.randn(num_frames, 3, WIDTH - 6, generator=generator)
    rotation = (torch.rand(num_frames, 3, generator=generator) * 2 - 1) * limit
    translation = torch.rand(num_frames, 3, generator=generator) * 4 - 2
    num_chunks = -(-num_frames // INTENSITY_CHUNK)
    head, expression = torch.randint(0, 128, (2, num_chunks), generator=generator).tolist()
    pose = torch.cat([rotation, translation * has_token_translation], dim=1)
    tokens = torch.cat([refined, pose[:, None].expand(-1, 3, -1)], dim=2)
    return Motion(tokens, tuple(head), tuple(expression), rotation, translation)


def is_same(a: Motion, b: Motion) -> bool:
    """Whether two motions are equal to the last bit, the records too."""
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(Motion)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def copy_of(motion: Motion) -> Motion:
    """A motion of the same content that shares no memory with this one."""
    return Motion(
        motion.tokens.clone(),
        motion.head_intensity,
        motion.expression_intensity,
        motion.rotation.clone(),
        motion.translation.clone(),
    )
