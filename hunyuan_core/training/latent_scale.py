"""Bringing the latents of a VAE to the scale of the released one's, with which programs such as ComfyUI count."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from ..config import VAEConfig
from ..models import UNet


@torch.no_grad()
def at_released_scale(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Move the scale of the latents from the VAE's configuration into the weights, where UNet and VAE come together.

    The UNet sees the noisy latents multiplied by the scaling factor, which stays as it is, and the portrait's without
    it, whose weights change by as much as the VAE's.

    Args:
        networks: By name; none is changed.

    Returns:
        The same networks, UNet and VAE as copies whose scaling factor is the released one and whose videos are the
        same; without one of them, or at that scale already, all as they are.
    """
    changed = dict(networks)
    if not {"unet", "vae"} <= changed.keys():
        return changed
    factor = cast("Any", changed["vae"]).config.scaling_factor / VAEConfig.scaling_factor
    if factor == 1:
        return changed
    vae, unet = (copy.deepcopy(changed[name]) for name in ("vae", "unet"))
    changed |= {"vae": vae, "unet": unet}
    _scale_vae(vae, factor)
    first = cast("UNet", unet).conv_in
    first.weight[:, cast("UNet", unet).config.out_channels :] /= factor
    return changed


def _scale_vae(vae: Any, factor: float) -> None:
    channels = vae.config.latent_channels
    vae.quant_conv.weight[:channels] *= factor
    vae.quant_conv.bias[:channels] *= factor
    vae.quant_conv.bias[channels:] += 2 * math.log(factor)  # ln of the variance
    vae.decoder.conv_in.weight /= factor
    vae.register_to_config(scaling_factor=VAEConfig.scaling_factor)
