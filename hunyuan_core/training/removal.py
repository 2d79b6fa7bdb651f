"""Networks that are trained without one of their parts, as in the paper's Table 2.

What ``ablation.ablate`` switches off in use is here taken out of the weights before training, and stays out. Exported
weights then animate as they were trained, and need no switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import torch
from torch import nn

from .stages import MotionStage

_TABLES = ("refiner.position_head.weight", "refiner.position_exp.weight")
_ZERO = {
    "memory-bank": ("refiner.connector.latents",),
    # What a zero vector would give.
    "identity": ("vision.*.adapter.cross_attn.id_proj.weight",),
}
_FROZEN = {
    **_ZERO,
    "intensity": _TABLES,
    "identity": (*_ZERO["identity"], "arcface.*"),
    # Their scale is 0 by TrainingConfig.
    "imadapter": ("vision.*.adapter.*", "arcface.*"),
}


@torch.no_grad()
def remove_parts(stage: MotionStage, parts: Iterable[str]) -> None:
    """Take parts out of a stage's networks, so that training does not bring them back.

    All memories become zero; all intensities the middle one; the IMAdapters do not see the identity; or their scale is
    0.

    Args:
        stage: Filled with what it starts from, its trainable parameters chosen.
        parts: Of ``ablation.ABLATIONS``.
    """
    for part in parts:
        for parameter in _named(stage, _FROZEN[part]):
            parameter.requires_grad_(False)
        for parameter in _named(stage, _ZERO.get(part, ())):
            parameter.zero_()
        if part == "intensity":
            for table in _named(stage, _TABLES):
                table.copy_(table[len(table) // 2].clone().expand_as(table))


def _named(stage: MotionStage, patterns: tuple[str, ...]) -> Iterator[nn.Parameter]:
    for name, parameter in stage.networks.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            yield parameter
