"""Weights of the UNet kept in 8 bits, and products of 8-bit numbers.

Both change the result a little, so both are off unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigurationError

UNetWeights = Literal["full", "fp8", "fp8-products"]
"""How the UNet keeps its weights: in the working dtype; in 8 bits, computing as before; or computing in 8 bits too."""

UNET_WEIGHTS: tuple[UNetWeights, ...] = get_args(UNetWeights)

_DTYPE = torch.float8_e4m3fn
_MAX = torch.finfo(_DTYPE).max
_LEFT_ALONE = ("conv_in", "conv_out", "time_embedding", "add_embedding")
"""First and last layer and the noise level's embedding: small, and every pixel depends on them."""
_PRODUCTS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "to_out.0", "attn2.to_q", "net.0.proj", "net.2")
_PRODUCTS += ("proj_in", "proj_out")
_MULTIPLE = 16
"""Of both widths of a layer, as the matrix units ask for."""
_MIN_CAPABILITY = (8, 9)


class Float8Layer(nn.Module):
    """A layer whose weight is kept as float8_e4m3fn times a scale and brought to the input's dtype in each call.

    The scale is a power of two, so that it costs no precision: the layer equals one with the weight of ``restored``.

    Args:
        layer: Whose weight and bias are taken over.
    """

    weight_scale: torch.Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        rounded, scale = _round(layer.weight.detach())
        self.register_buffer("weight_scale", scale)
        self.weight = nn.Parameter(rounded, requires_grad=False)
        self.bias = layer.bias

    def restored(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight in a dtype, times its scale."""
        return self.weight.to(dtype) * self.weight_scale


class Float8Linear(Float8Layer):
    """A linear layer.

    Attributes:
        is_product: Whether the input is rounded to 8 bits too, with a scale of its own in each call, and the product
            is computed of 8-bit numbers.
    """

    is_product: bool = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        if not self.is_product:
            return F.linear(x, self.restored(x.dtype), self.bias)
        rows = x.reshape(-1, x.shape[-1])
        scale = (rows.abs().amax().float() / _MAX).clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (rows / scale).clamp(-_MAX, _MAX).to(_DTYPE)
        # Weights lie as (out, in); the second factor must be column-major, which their transpose is.
        out = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            rounded, self.weight.t(), scale_a=scale, scale_b=self.weight_scale, out_dtype=x.dtype, use_fast_accum=True
        )
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], -1)


class Float8Conv(Float8Layer):
    """A convolution."""

    def __init__(self, layer: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__(layer)
        function: Callable[..., torch.Tensor] = F.conv2d if isinstance(layer, nn.Conv2d) else F.conv3d
        self.convolve = partial(function, stride=layer.stride, padding=layer.padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer."""
        return self.convolve(x, self.restored(x.dtype), self.bias)


def _round(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the 8-bit form of a weight and its scale, a power of two of which the largest value makes the most."""
    if weight.is_meta:  # only its size is asked for
        return torch.empty_like(weight, dtype=_DTYPE), torch.empty((), device="meta")
    largest = weight.abs().amax().float().clamp_min(torch.finfo(torch.float32).tiny)
    scale = torch.exp2(torch.ceil(torch.log2(largest / _MAX)))
    return (weight.float() / scale).clamp(-_MAX, _MAX).to(_DTYPE), scale


def store_in_float8(unet: nn.Module, *, has_products: bool = False) -> None:
    """Replace the linear layers and convolutions of a UNet by such that keep 8-bit weights; half of the memory.

    Norms, biases, the first and the last convolution and the embeddings of the noise level stay as they are. The same
    values result on every device.

    Args:
        unet: Filled, in its working dtype, on any device.
        has_products: Whether the wide layers of the transformers compute in 8 bits too.
    """
    layers = [(name, m) for name, m in unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)]
    for name, layer in layers:
        if name.startswith(_LEFT_ALONE):
            continue
        if isinstance(layer, nn.Linear):
            stored: Any = Float8Linear(layer)
            is_even = layer.in_features % _MULTIPLE == layer.out_features % _MULTIPLE == 0
            stored.is_product = has_products and is_even and name.endswith(_PRODUCTS)
        else:
            stored = Float8Conv(layer)
        parent, _, child = name.rpartition(".")
        setattr(unet.get_submodule(parent), child, stored)


def check_float8(weights: UNetWeights, device: torch.device) -> None:
    """Refuse what a device cannot do.

    Raises:
        ConfigurationError: Names the device and what to choose instead.
    """
    if weights == "full":
        return
    if device.type == "mps":
        raise ConfigurationError(
            f"UNet weights {weights} are not possible on this device (mps), which knows no 8-bit floats; choose full."
        )
    if weights == "fp8-products" and device.type == "cuda" and torch.version.hip is None:
        capability = torch.cuda.get_device_capability(device)
        if capability < _MIN_CAPABILITY:
            raise ConfigurationError(
                "UNet weights fp8-products need a GPU of compute capability 8.9 or more (RTX 40 series, L4, H100); "
                f"{torch.cuda.get_device_name(device)} has {'.'.join(map(str, capability))}. Choose fp8 or full."
            )
