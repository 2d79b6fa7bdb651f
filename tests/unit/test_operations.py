"""Layers come from the namespace that is given, so that ComfyUI's can cast and offload them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hunyuan_core.config import ModelConfig
from hunyuan_core.models import NETWORKS, build

KINDS = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
MARKED = SimpleNamespace(**{kind.__name__: type(kind.__name__, (kind,), {}) for kind in KINDS})
# diffusers builds the VAE itself; the token projection is two bare tensors.
OURS = [name for name in NETWORKS if name not in ("vae", "token_projection")]


@pytest.mark.parametrize("name", OURS)
def test_every_layer_is_made_by_the_namespace(name):
    network = build(name, ModelConfig.tiny(), MARKED)

    plain = {
        path: type(module)
        for path, module in network.named_modules()
        # nn.MultiheadAttention makes its own output projection.
        if isinstance(module, KINDS) and ".out_proj" not in path and type(module) not in vars(MARKED).values()
    }
    assert plain == {}
    assert any(isinstance(module, MARKED.Linear | MARKED.Conv2d) for module in network.modules())


@pytest.mark.parametrize("name", OURS)
def test_the_namespace_changes_no_name(name):
    with torch.device("meta"):
        marked, plain = build(name, ModelConfig.tiny(), MARKED), build(name, ModelConfig.tiny())

    assert list(marked.state_dict()) == list(plain.state_dict())
