"""Weights that a run starts from, and those that it leaves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..checkpoints import FILES, load_network, read_state_dict, save_network
from ..checkpoints.files import locate
from ..checkpoints.loading import check_layout, shapes_of
from ..checkpoints.writing import write_safetensors
from ..config import ModelConfig
from ..errors import ConfigurationError, WeightsError
from ..models import build
from .config import TrainingConfig
from .datasets import open_frames
from .identity_network import IdentityNetwork, export_identity
from .latent_scale import at_released_scale
from .lora import lora_state_dict, merged_state_dict
from .stages import IDENTITY, READER, JointStage, MotionStage, Stage, VAEStage
from .token_scale import with_standard_tokens

_OWN = {IDENTITY: "identity.safetensors", "heads": "heads.safetensors", READER: "reader.safetensors"}
"""What has no place among the released files: the identity network before its conversion, the auxiliary heads, and the
drawn world's reader."""

LORA_FILE = "lora.safetensors"
"""Updates of the UNet by themselves; its exported weights have them added."""

_FILES = {file.name: file for file in FILES}
_NUM_CLIPS = 64  # that the scale of latents is measured on


def start_from(stage: Stage, folders: Sequence[str | Path], anew: Collection[str] = ()) -> list[str]:
    """Fill each network of a stage from the first folder that has it; those that no folder has keep random weights.

    Args:
        anew: Networks, or ``heads``, that keep them all the same.

    Returns:
        Names of the networks that were found.

    Raises:
        ConfigurationError: If a folder gives none of them, or one of another size, or ``anew`` names what there is not.
        WeightsError: If a file is damaged.
    """
    unknown = sorted(set(anew) - {*stage.networks, "heads"})
    if unknown:
        raise ConfigurationError(f"anew names {', '.join(unknown)}, which this stage does not have; remove it.")
    missing, found = {*stage.networks, "heads"} - set(anew), []
    for folder in folders:
        here = _fill_from(stage, Path(folder), missing)
        if not here:
            raise ConfigurationError(
                f"start_from: {folder} has none of this stage's networks ({', '.join(stage.networks)})"
                + (f" beyond those of the folders before it ({', '.join(found)})." if found else ".")
            )
        found += here
        missing -= set(here)
    return found


def _fill_from(stage: Stage, folder: Path, names: Collection[str]) -> list[str]:
    found = []
    for name in [name for name in stage.networks if name in names and name not in _OWN]:
        path = locate(folder, _FILES[name])
        if path is None:
            continue
        network = load_network(name, path, dtype=torch.float32)
        if name == "vae":
            # The scale of its latents is part of its configuration.
            stage.networks[name] = nn.Module.train(network, isinstance(stage, VAEStage))
        else:
            _fill(stage.networks[name], network.state_dict(), path)
        found.append(name)
    own = {"heads": getattr(stage, "heads", None)}
    own |= {name: stage.networks[name] for name in (IDENTITY, READER) if name in stage.networks}
    for name, module in own.items():
        path = folder / _OWN[name]
        if module is not None and path.is_file() and name in names:
            _fill(module, read_state_dict(path), path)
            found.append(name)
    return found


def export(stage: Stage, config: TrainingConfig, folder: str | Path) -> None:
    """Write a stage's networks under the released names, as ``Pipeline.from_pretrained`` and ComfyUI find them.

    Networks of the folder that the stage does not have stay. A VAE and its UNet go by the released scale of latents;
    tokens of a warm start get a standard one.

    Raises:
        WeightsError: If a file cannot be written.
    """
    folder, model = Path(folder), config.model
    networks, heads = at_released_scale(dict(stage.networks.items())), getattr(stage, "heads", None)
    if isinstance(stage, MotionStage) and not isinstance(stage, JointStage):
        changed = with_standard_tokens(stage, config)
        heads = changed.pop("heads")
        networks |= changed
    for name, network in networks.items():
        if config.output.half_precision:
            network = copy.deepcopy(network).half()
        if name == READER:
            write_safetensors(network.state_dict(), folder / _OWN[name], {})
            continue
        if name == IDENTITY:
            assert isinstance(network, IdentityNetwork)  # noqa: S101
            write_safetensors(network.state_dict(), folder / _OWN[name], {})
            export_identity(network, folder / _FILES[name].filename)
            continue
        if name == "vae":
            scale = (
                _latent_scale(network, config)
                if isinstance(stage, VAEStage)
                else cast("Any", network).config.scaling_factor
            )
            model = dataclasses.replace(model, vae=dataclasses.replace(model.vae, scaling_factor=scale))
        path = folder / _FILES[name].accepted_filenames[0]
        if name == "unet" and config.lora.rank > 0:
            write_safetensors(lora_state_dict(network), folder / LORA_FILE, {})
            network = _merged(network, model)
        save_network(name, network, model, path)
    if isinstance(heads, nn.Module):
        write_safetensors(heads.state_dict(), folder / _OWN["heads"], {})


def _merged(unet: nn.Module, model: ModelConfig) -> nn.Module:
    with torch.device("meta"):
        plain = build("unet", model)
    plain.load_state_dict(merged_state_dict(unet), assign=True)
    return plain


def _fill(module: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        check_layout(shapes_of(module.state_dict()), shapes_of(weights), path)
    except WeightsError as error:
        raise ConfigurationError(f"{error} Or set the configuration's [model] to the sizes of the file.") from error
    module.load_state_dict(weights)


@torch.no_grad()
def _latent_scale(vae: nn.Module, config: TrainingConfig) -> float:
    """What gives the latents unit variance; of clips that were not drawn in training."""
    clips = open_frames(config, config.seed + 1, _NUM_CLIPS)
    weight = next(vae.parameters())
    latents = [
        vae.encode((clips[i].frames / 127.5 - 1).to(weight)).latent_dist.mode()  # pyright: ignore[reportCallIssue]
        for i in range(_NUM_CLIPS)
    ]
    return round(1 / float(torch.cat(latents).std()), 5)
