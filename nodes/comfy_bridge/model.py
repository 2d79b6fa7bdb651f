"""The denoising UNet as ComfyUI's MODEL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.ldm.modules.attention
import comfy.model_base
import comfy.model_management as management
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import torch
from torch import nn

from ...hunyuan_core.checkpoints import load_network
from ...hunyuan_core.data import Branch
from ...hunyuan_core.errors import ConfigurationError
from ...hunyuan_core.models import UNet
from ...hunyuan_core.models.memory import MemoryMode, context_bytes, peak_activations
from ...hunyuan_core.models.predictor import MAX_CACHED_FRAMES

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


class ChosenAttention:
    """The attention that the user chose for ComfyUI, or a node for this model.

    Attributes:
        override: What an attention node put into the model's options; None is ComfyUI's own choice.
    """

    override: Any = None

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_heads: int) -> torch.Tensor:
        """Attend; see ``models.attention.AttentionFunction``."""
        options = {} if self.override is None else {"optimized_attention_override": self.override}
        attention = comfy.ldm.modules.attention.optimized_attention
        return attention(q, k, v, num_heads, transformer_options=options)


class PortraitModel(comfy.model_base.BaseModel):
    """The UNet among ComfyUI's models: its noise levels, its latents, and how much memory a call takes.

    It predicts v for windows of a portrait's video, which only the pack's guider asks for.

    Args:
        unet: Made with ``attention`` and ComfyUI's operations.
        weight_dtype: Of the stored weights.
        compute_dtype: What the layers compute in; None is the same.

    Attributes:
        num_branches, context_window, memory_mode, kept_bytes: Of the next run, from which its memory is estimated.
    """

    def __init__(
        self, unet: UNet, attention: ChosenAttention, weight_dtype: torch.dtype, compute_dtype: torch.dtype | None
    ) -> None:
        config = comfy.supported_models.SVD_img2vid({"disable_unet_model_creation": True})
        config.set_inference_dtype(weight_dtype, compute_dtype)
        config.latent_format = _latent_format(unet.config.out_channels, config.latent_format)
        super().__init__(config, comfy.model_base.ModelType.V_PREDICTION_EDM)
        self.diffusion_model = unet
        self.attention = attention
        self.weight_dtype = weight_dtype
        self.model_sampling = _exact_start(self.model_sampling, config)
        self.num_branches = 2
        self.context_window = 25
        self.memory_mode = MemoryMode.TOGETHER
        self.kept_bytes = 0

    def get_dtype(self) -> torch.dtype:
        """Type of the stored weights."""
        return self.weight_dtype

    def memory_required(self, input_shape: Any, cond_shapes: Any = None) -> float:
        """Estimate the bytes of a run beside the weights; a video's length counts only for its keys and values."""
        num_frames, (h, w) = input_shape[0], input_shape[-2:]
        dtype, config = self.get_dtype_inference(), self.diffusion_model.config
        window = peak_activations(config, self.num_branches, self.context_window, h, w, dtype, self.memory_mode)
        return window + context_bytes(config, min(num_frames, MAX_CACHED_FRAMES), dtype) + self.kept_bytes

    def _apply_model(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        c_concat: Any = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Any = None,
        **conditions: Any,
    ) -> torch.Tensor:
        # What a CFGGuider or KSampler would pass has none of these.
        if "added_time_ids" not in conditions:
            raise ConfigurationError(
                "This MODEL is HunyuanPortrait's UNet, which needs a portrait and a motion: use 'HunyuanPortrait "
                "Sampler', or 'HunyuanPortrait Guider' with SamplerCustomAdvanced, in place of this sampler."
            )
        self.attention.override = (transformer_options or {}).get("optimized_attention_override")
        return self.diffusion_model(x, t, **conditions)


def _latent_format(num_channels: int, released: Any) -> Any:
    """Latents of another number of channels than SVD's have no previews."""
    if num_channels == released.latent_channels:
        return released
    other = comfy.latent_formats.LatentFormat()
    other.latent_channels, other.scale_factor = num_channels, released.scale_factor
    return other


def portrait_patcher(path: Path, weight_dtype: torch.dtype | None) -> comfy.model_patcher.ModelPatcher:
    """Load the UNet's weights as a MODEL.

    Args:
        weight_dtype: Of the stored weights; None is what ComfyUI chooses for the device. 8 bits are computed in what
            the device can do; norms and biases keep that type.

    Raises:
        ConfigurationError: If the device cannot hold such weights.
        WeightsError: If the file is missing, damaged, or not a UNet's.
    """
    device, offload_device = management.get_torch_device(), management.unet_offload_device()
    dtype = weight_dtype or management.unet_dtype(device=device)
    if not management.supports_cast(device, dtype):
        raise ConfigurationError(
            f"weight_dtype: {str(dtype).removeprefix('torch.')} is not possible on this device ({device.type}); choose "
            "default or fp16."
        )
    compute_dtype = management.unet_manual_cast(dtype, device)
    operations = comfy.ops.pick_operations(dtype, compute_dtype)
    attention = ChosenAttention()
    is_float8 = dtype in FLOAT8
    unet = load_network(
        "unet",
        path,
        operations=operations,
        dtype=compute_dtype if is_float8 else dtype,
        device=offload_device,
        attention=attention,
    )
    if is_float8:
        for module in unet.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
                module.weight = nn.Parameter(module.weight.to(dtype), requires_grad=False)
    # Looked up here, because core swaps the class when it starts.
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    model = PortraitModel(unet, attention, dtype, compute_dtype)
    return patcher(model, load_device=device, offload_device=offload_device)


def expect_portrait_model(model: object, socket: str = "model") -> PortraitModel:
    """Check that a MODEL is this pack's.

    Raises:
        ConfigurationError: If it is another; names the input and the remedy.
    """
    inner = getattr(model, "model", None)
    if not isinstance(inner, PortraitModel):
        found = type(inner if inner is not None else model).__name__
        raise ConfigurationError(
            f"{socket} must come from 'Load HunyuanPortrait UNet' or 'Load HunyuanPortrait (all)', with or without "
            f"LoRA and compile nodes between; got a {found}."
        )
    return inner


def _exact_start(sampling: Any, config: Any) -> nn.Module:
    """Let a run start at noise · σ, as released; core takes √(1 + σ²) in the place of the highest σ."""

    class Sampling(type(sampling)):
        def noise_scaling(
            self, sigma: torch.Tensor, noise: torch.Tensor, latent_image: torch.Tensor, max_denoise: bool = False
        ) -> torch.Tensor:
            return super().noise_scaling(sigma, noise, latent_image, False)  # pyright: ignore[reportAttributeAccessIssue]

    return Sampling(config)


def choose_memory_mode(
    patcher: comfy.model_patcher.ModelPatcher,
    branches: tuple[Branch, ...],
    window: int,
    num_frames: int,
    h: int,
    w: int,
) -> MemoryMode:
    """Choose the fastest mode with which weights and a call fit the device together.

    Where even the smallest does not, ComfyUI keeps a part of the weights in main memory.
    """
    device = patcher.load_device
    if management.is_device_cpu(device):
        return MemoryMode.TOGETHER
    model = patcher.model
    room = management.get_total_memory(device) - management.extra_reserved_memory() - patcher.model_size()
    dtype, config = model.get_dtype_inference(), model.diffusion_model.config
    room -= context_bytes(config, min(num_frames, MAX_CACHED_FRAMES), dtype) + model.kept_bytes
    for mode in MemoryMode:
        if peak_activations(config, len(branches), window, h, w, dtype, mode) < room:
            return mode
    return MemoryMode.ONE_BRANCH_CHUNKED
