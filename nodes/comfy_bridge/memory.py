"""Networks under ComfyUI's memory management."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Generic, TypeVar

import comfy.model_management as management
import comfy.model_patcher
import torch
from torch import nn

from ...hunyuan_core.models import ExpressionEncoder, HeadPoseEncoder, MotionRefiner
from ...hunyuan_core.models.vision import TokenProjection, VisionEncoder

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class ManagedNetwork(Generic[ModuleT]):
    """A network that ComfyUI moves to the device when it is needed and away when something else is.

    Args:
        network: On the CPU, in its dtypes.
    """

    def __init__(self, network: ModuleT) -> None:
        self.network = network
        # Looked up here, because core swaps the class when it starts.
        patcher_class = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        self.patcher = patcher_class(
            network,
            load_device=management.get_torch_device(),
            offload_device=management.unet_offload_device(),
        )


def load(*networks: ManagedNetwork, activations: float = 0) -> None:
    """Bring networks to the device together; ComfyUI makes room for them.

    Args:
        activations: Bytes that they need on top of their weights while they run.
    """
    management.load_models_gpu(
        [network.patcher for network in networks], memory_required=activations, force_full_load=True
    )


def half_precision() -> torch.dtype:
    """float16 or bfloat16 as ComfyUI prefers on its device; float32 where neither is of use."""
    device = management.get_torch_device()
    if management.should_use_fp16(device):
        return torch.float16
    return torch.bfloat16 if management.should_use_bf16(device) else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory is full."""
    if management.OOM_EXCEPTION is Exception:  # a PyTorch without the error, so any would do
        return False
    # Newer cores know further forms of it.
    is_oom = getattr(management, "is_oom", None)
    return is_oom(error) if is_oom is not None else isinstance(error, management.OOM_EXCEPTION)


def out_of_memory(message: str) -> Exception:
    """Make the error upon which ComfyUI unloads all models."""
    return management.OOM_EXCEPTION(message)


def free_cache() -> None:
    """Give back what failed calls left behind."""
    gc.collect()
    management.soft_empty_cache()


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """What an IMAGE_ENCODER socket carries."""

    vision: ManagedNetwork[VisionEncoder]
    token_projection: ManagedNetwork[TokenProjection]


@dataclass(frozen=True, eq=False)
class MotionEncoder:
    """What a MOTION_ENCODER socket carries; float32."""

    expression: ManagedNetwork[ExpressionEncoder]
    head_pose: ManagedNetwork[HeadPoseEncoder]
    refiner: ManagedNetwork[MotionRefiner]
