"""Networks for golden cases: sizes from a case's metadata, weights from the recipe.

A field that is not known is an error, so that no case passes while a part of it is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from golden_cases import Case, recipe_state_dict
from torch import nn

from hunyuan_core.config import (
    ExpressionConfig,
    HeadPoseConfig,
    ModelConfig,
    PoseGuiderConfig,
    RefinerConfig,
    UNetConfig,
    VAEConfig,
    VisionConfig,
)
from hunyuan_core.models import build

REQUIRED = object()
REMARKS = ("note", "source", "_class_name", "_diffusers_version")

ConfigT = TypeVar("ConfigT", ExpressionConfig, HeadPoseConfig, RefinerConfig)


class Fields:
    """Metadata that is taken field by field; ``finish`` fails for what nobody took."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = dict(values)
        self.where = where

    def take(self, name: str, default: Any = REQUIRED) -> Any:
        """Remove a field and return its value."""
        if name not in self.values:
            assert default is not REQUIRED, f"{self.where} has no field {name!r}"
            return default
        return self.values.pop(name)

    def expect(self, name: str, value: Any) -> None:
        """Remove a field that may have one value only, if it is there."""
        found = self.take(name, value)
        assert found == value, f"{self.where}: {name} is {found!r}; only {value!r} is known"

    def finish(self) -> None:
        """Fail if a field was not taken, remarks apart."""
        left = sorted(set(self.values) - set(REMARKS))
        assert not left, f"{self.where} has fields that this suite does not know: {left}"


class CaseReader:
    """A case whose tensors and fields are taken one by one."""

    def __init__(self, case: Case) -> None:
        self.tensors = case.tensors
        self.fields = Fields(case.metadata, "the case's metadata")
        self.inputs: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the case holds a tensor, an input or an output."""
        return name in self.tensors

    def input(self, name: str) -> torch.Tensor:
        """Return a tensor and remember that it is an input."""
        assert name in self.tensors, f"the case has no tensor {name!r}, only {sorted(self.tensors)}"
        self.inputs.add(name)
        return self.tensors[name]

    def finish(self, outputs: Mapping[str, torch.Tensor]) -> None:
        """Fail if a field or a tensor of the case was not used."""
        self.fields.finish()
        expected = set(self.tensors) - self.inputs
        assert expected == set(outputs), f"the case holds the outputs {sorted(expected)}; computed: {sorted(outputs)}"


def filled(name: str, config: ModelConfig | None = None) -> Any:
    """Build a network on the meta device and fill it by the recipe: one copy of the weights, float32, eval mode."""
    with torch.device("meta"):
        network = build(name, config)
    return fill(network)


def fill(network: nn.Module) -> Any:
    """Replace all tensors of a network by the recipe's."""
    state = recipe_state_dict({key: tuple(tensor.shape) for key, tensor in network.state_dict().items()})
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def unet_config(values: Mapping[str, Any] | None) -> UNetConfig:
    """Size of a UNet in the field names of diffusers; None is the released size."""
    released = UNetConfig()
    if values is None:
        return released
    config = Fields(values, "the UNet's config")
    for sample_size in ("sample_size", "num_frames"):  # nothing in the network depends on them
        config.take(sample_size, None)
    config.expect("transformer_layers_per_block", 1)
    channels = tuple(config.take("block_out_channels", released.block_out_channels))
    levels = len(channels)
    down = config.take("down_block_types", None)
    has_attention = released.has_attention if down is None else tuple(_attends(name) for name in down)
    up = config.take("up_block_types", None)
    assert up is None or [_attends(name) for name in up] == list(reversed(has_attention)), f"up blocks {up}"
    embed_dim = config.take("addition_time_embed_dim", released.addition_time_embed_dim)
    added_dim = config.take("projection_class_embeddings_input_dim", embed_dim * released.num_added_time_ids)
    assert added_dim % embed_dim == 0, f"projection_class_embeddings_input_dim {added_dim}"
    result = UNetConfig(
        in_channels=config.take("in_channels", released.in_channels),
        out_channels=config.take("out_channels", released.out_channels),
        block_out_channels=channels,
        num_attention_heads=_per_level(config.take("num_attention_heads", released.num_attention_heads), levels),
        has_attention=has_attention,
        layers_per_block=_one(config.take("layers_per_block", released.layers_per_block)),
        cross_attention_dim=_one(config.take("cross_attention_dim", released.cross_attention_dim)),
        addition_time_embed_dim=embed_dim,
        num_added_time_ids=added_dim // embed_dim,
    )
    config.finish()
    assert len(has_attention) == levels, f"{levels} levels, but block types for {len(has_attention)}"
    return result


def vision_config(
    values: Mapping[str, Any] | None, image_size: int, num_image_tokens: int | None = None
) -> VisionConfig:
    """Size of the vision encoder in the golden folder's field names, for images of a given side."""
    released = VisionConfig()
    config = Fields({} if values is None else values, "the vision encoder's config")
    patch_size = config.take("patch_size", released.patch_size)
    result = VisionConfig(
        patch_size=patch_size,
        position_grid=config.take("img_size", released.position_grid * patch_size) // patch_size,
        image_size=image_size,
        embed_dim=config.take("embed_dim", released.embed_dim),
        depth=config.take("depth", released.depth),
        num_heads=config.take("num_heads", released.num_heads),
        mlp_ratio=config.take("mlp_ratio", released.mlp_ratio),
        num_register_tokens=config.take("num_register_tokens", released.num_register_tokens),
        adapter_layers=tuple(config.take("adapter_layers", released.adapter_layers)),
        adapter_dim=config.take("adapter_dim", released.adapter_dim),
        adapter_scale=config.take("residual_weight", released.adapter_scale),
        num_image_tokens=released.num_image_tokens if num_image_tokens is None else num_image_tokens,
    )
    config.finish()
    return result


def pose_guider_config(values: Mapping[str, Any] | None) -> PoseGuiderConfig:
    """Size of the pose guider in the golden folder's field names."""
    released = PoseGuiderConfig()
    config = Fields({} if values is None else values, "the pose guider's config")
    result = PoseGuiderConfig(
        block_out_channels=tuple(config.take("block_out_channels", released.block_out_channels)),
        out_channels=config.take("channels", released.out_channels),
    )
    config.finish()
    return result


def vae_config(values: Mapping[str, Any] | None) -> VAEConfig:
    """Size of the VAE in the field names of diffusers."""
    released = VAEConfig()
    config = Fields({} if values is None else values, "the VAE's config")
    config.expect("in_channels", 3)
    config.expect("out_channels", 3)
    for unused in ("sample_size", "force_upcast"):  # nothing in the network depends on them
        config.take(unused, None)
    channels = tuple(config.take("block_out_channels", released.block_out_channels))
    config.expect("down_block_types", ["DownEncoderBlock2D"] * len(channels))
    result = VAEConfig(
        block_out_channels=channels,
        layers_per_block=config.take("layers_per_block", released.layers_per_block),
        latent_channels=config.take("latent_channels", released.latent_channels),
        scaling_factor=config.take("scaling_factor", released.scaling_factor),
    )
    config.finish()
    return result


def own_config(released: ConfigT, values: Mapping[str, Any] | None) -> ConfigT:
    """Size of one of the motion networks, in this project's field names: the golden folder has no others for them."""
    values = {} if values is None else values
    unknown = sorted(set(values) - {field.name for field in fields(released)})
    assert not unknown, f"{type(released).__name__} has no fields {unknown}"
    return replace(released, **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def _attends(block_type: str) -> bool:
    known = {
        "CrossAttnDownBlockSpatioTemporal": True,
        "CrossAttnUpBlockSpatioTemporal": True,
        "DownBlockSpatioTemporal": False,
        "UpBlockSpatioTemporal": False,
    }
    assert block_type in known, f"unknown block type {block_type}"
    return known[block_type]


def _per_level(value: Any, levels: int) -> tuple[int, ...]:
    return (value,) * levels if isinstance(value, int) else tuple(value)


def _one(value: Any) -> int:
    values = {value} if isinstance(value, int) else set(value)
    assert len(values) == 1, f"{value} differs from level to level; only one value for all is known"
    return values.pop()
