"""Low-rank updates of the UNet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import AT_RELEASED_SCALE, MODEL, training_config

from hunyuan_core.checkpoints import load_network
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.models import UNet, build
from hunyuan_core.training.config import LoRAConfig
from hunyuan_core.training.loop import build_stage, train
from hunyuan_core.training.lora import add_lora, lora_state_dict, merged_state_dict

LORA = LoRAConfig(rank=2, alpha=3.0)


def updated_unet() -> UNet:
    torch.manual_seed(0)
    unet = build("unet", MODEL)
    assert isinstance(unet, UNet)
    add_lora(unet, LORA)
    for name, parameter in unet.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return unet.requires_grad_(False)


def call(unet: UNet) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(1, 2, 4, 32, generator=generator)
    context = unet.project_context(tokens, tokens + 1, 1, 1)
    return unet(torch.randn(1, 2, 8, 4, 4, generator=generator), torch.zeros(1), torch.zeros(1, 3), context)


def test_an_update_starts_without_effect() -> None:
    torch.manual_seed(0)
    unet = build("unet", MODEL)
    assert isinstance(unet, UNet)
    before = call(unet)
    names = add_lora(unet, LORA)

    assert torch.equal(call(unet), before)
    assert any(name.endswith("attn2.processor.to_v_ip.0") for name in names)
    assert not any("ff" in name.split(".") for name in names)


def test_merged_weights_compute_the_same() -> None:
    unet = updated_unet()
    plain = build("unet", MODEL)
    assert isinstance(plain, UNet)
    plain.load_state_dict(merged_state_dict(unet))

    assert torch.allclose(call(plain), call(unet), atol=1e-5)
    assert not torch.allclose(
        plain.state_dict()["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"],
        unet.state_dict()["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"],
    )


def test_the_file_says_what_to_add_to_which_layer_of_comfyuis_model() -> None:
    unet = updated_unet()
    tensors, merged = lora_state_dict(unet), merged_state_dict(unet)
    plain = unet.state_dict()
    names = [key.removesuffix(".alpha") for key in tensors if key.endswith(".alpha")]

    assert len(tensors) == 3 * len(names)
    for name in names:
        key = f"{name.removeprefix('diffusion_model.')}.weight"
        down, up, alpha = (tensors[f"{name}.{part}"] for part in ("lora_A.weight", "lora_B.weight", "alpha"))
        assert torch.allclose(merged[key], plain[key] + alpha / len(down) * up @ down)


def test_training_leaves_a_merged_unet_and_the_updates_alone(tmp_path: Path) -> None:
    parts = {"lora": dataclasses.asdict(LORA), "trainable": ("unet.*.lora_*",), "loss": {"auxiliary_weight": 0.0}}
    folder = train(training_config(tmp_path, model=AT_RELEASED_SCALE, **parts)).weights
    unet = load_network("unet", folder / "hyportrait" / "unet.safetensors")
    updates = load_file(folder / "lora.safetensors")
    frozen = build_stage(training_config(tmp_path, model=AT_RELEASED_SCALE)).network("unet").state_dict()

    assert {key.removeprefix("diffusion_model.").rpartition(".lora_")[0] for key in updates if "lora_" in key} == {
        key.removesuffix(".weight") for key, value in unet.state_dict().items() if not torch.equal(value, frozen[key])
    }


def test_layers_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"lora\.targets: '\*\.to_x' names no linear layer"):
        add_lora(build("unet", MODEL), LoRAConfig(rank=2, targets=("*.to_x",)))


def test_updates_beside_a_unet_that_learns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only the updates learn: write trainable"):
        build_stage(training_config(tmp_path, lora={"rank": 2}))
