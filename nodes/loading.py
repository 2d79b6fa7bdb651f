"""What the loader nodes share: their inputs, the check of these, and networks that ComfyUI moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from comfy_api.latest import io
from torch import nn

from ..hunyuan_core.checkpoints import load_network
from .comfy_bridge import files, memory

DTYPES: dict[str, torch.dtype | None] = {
    "default": None,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
}
WEIGHT_DTYPES = {**DTYPES, "fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}

Validity = Literal[True] | str


def file_input(role: files.Role) -> io.Input:
    """The choice of a file."""
    return io.Combo.Input(role.input, options=files.options(role), default=role.option, tooltip=role.tooltip)


def dtype_input() -> io.Input:
    """The choice of a type for a network that has no special needs."""
    return io.Combo.Input(
        "dtype",
        options=list(DTYPES),
        default="default",
        tooltip="Type to compute in. default: half precision on a GPU, as released, and fp32 on a CPU. fp32 helps "
        "where half precision gives black or broken pictures (GTX 16xx).",
    )


def weight_dtype_input() -> io.Input:
    """The choice of a type for the UNet's weights."""
    return io.Combo.Input(
        "weight_dtype",
        options=list(WEIGHT_DTYPES),
        default="default",
        tooltip="Type of the UNet's weights: 3.2 GB in fp16 and bf16, 6.3 GB in fp32, 1.6 GB in fp8 (stored in 8 bits, "
        "computed in 16; a little less exact). default: what ComfyUI chooses for the device; released: fp16.",
    )


def all_valid(*choices: tuple[files.Role, str | None]) -> Validity:
    """Check several choices; the first fault counts."""
    for role, value in choices:
        if (valid := files.validate(role, value)) is not True:
            return valid
    return True


def load_managed(name: str, path: Path, dtype: torch.dtype) -> memory.ManagedNetwork[Any]:
    """Load a network, to be moved by ComfyUI."""
    network: nn.Module = load_network(name, path, dtype=dtype)
    return memory.ManagedNetwork(network)


def chosen_dtype(name: str) -> torch.dtype:
    """Type that ``dtype_input`` means: as released half precision where the device can do it, or the one chosen."""
    return DTYPES[name] or memory.half_precision()


def load_image_encoder(vision: Path, token_projection: Path, dtype: torch.dtype) -> memory.ImageEncoder:
    """Load what an IMAGE_ENCODER is."""
    return memory.ImageEncoder(
        load_managed("vision", vision, dtype), load_managed("token_projection", token_projection, dtype)
    )


def load_motion_encoder(expression: Path, head_pose: Path, refiner: Path) -> memory.MotionEncoder:
    """Load what a MOTION_ENCODER is. Release: in float32 always."""
    return memory.MotionEncoder(
        load_managed("expression", expression, torch.float32),
        load_managed("head_pose", head_pose, torch.float32),
        load_managed("refiner", refiner, torch.float32),
    )
