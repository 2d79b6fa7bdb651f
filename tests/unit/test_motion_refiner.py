from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hunyuan_core.config import ModelConfig
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.models import MotionRefiner

CONFIG = ModelConfig.tiny().refiner
HEAD, EXPRESSION = torch.tensor([3, 3]), torch.tensor([5, 7])


def test_released_intensities_are_added_and_the_papers_side_by_side():
    added = MotionRefiner(CONFIG)
    side_by_side = MotionRefiner(replace(CONFIG, combine_intensities="concat", num_intensity_levels=64))

    torch.testing.assert_close(
        added.embed_intensity(HEAD, EXPRESSION), added.position_head.weight[[3, 3]] + added.position_exp.weight[[5, 7]]
    )
    expected = torch.cat([side_by_side.position_exp.weight[[5, 7]], side_by_side.position_head.weight[[3, 3]]], dim=1)
    torch.testing.assert_close(side_by_side.embed_intensity(HEAD, EXPRESSION), expected)
    tokens = side_by_side(torch.randn(2, CONFIG.in_features), HEAD, EXPRESSION)
    assert tokens.shape == (2, CONFIG.num_memories, CONFIG.out_features)


def test_memories_begin_as_the_paper_draws_them():
    # Paper, section 4.1: deviation 1 / sqrt(hidden_dim).
    latents = MotionRefiner(replace(CONFIG, num_memories=2000)).connector.latents

    assert latents.std().item() == pytest.approx(CONFIG.hidden_dim**-0.5, rel=0.02)


def test_another_way_to_combine_is_refused():
    with pytest.raises(ConfigurationError, match=r"'add' .* or 'concat'"):
        MotionRefiner(replace(CONFIG, combine_intensities="mean"))
