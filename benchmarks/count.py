"""Count the floating-point operations of one released-size UNet call.

One call is a window of 25 frames of 64×64 latents at the default guidance. The network lives on the meta device, so
nothing is computed. A multiply-add counts 2, element-wise operations 0, as in ``torch.utils.flop_counter``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from plain import plain_unet
from results import Result, gated
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hunyuan_core.config import SamplingConfig, UNetConfig
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import branch_weights

NUM_FRAMES, SIDE, NUM_TOKENS = 25, 64, 64
RELEASED_TFLOP = 114.5
"""Of the release's call, three branches."""
MAX_RATIO = 0.545


class PartCounter(TorchDispatchMode):
    """Adds up the operations of each part of a network while it runs; parts are told by the names of its layers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.part = "other"
        for name, module in network.named_modules():
            if not list(module.children()):
                module.register_forward_pre_hook(self._enter(part_of(name)))
                module.register_forward_hook(self._leave)

    def _enter(self, part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self.part = part

        return hook

    def _leave(self, *_: Any) -> None:
        self.part = "other"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops[self.part] += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


class AttentionCore(nn.Module):
    """An attention function as a layer, so that it has a name."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> torch.Tensor:
        """Call the function."""
        return self.function(*args)


def part_of(name: str) -> str:
    """Name of the part that a layer of the UNet belongs to."""
    where = "temporal" if "temporal_" in name else "spatial"
    if ".attn" in name:
        kind = "self-attention" if ".attn1." in name else "cross-attention"
        if name.endswith(".attention"):
            return f"{where} {kind}, core"
        if kind == "self-attention":
            return f"{where} {kind}, projections"
        is_context = ".to_k" in name or ".to_v" in name
        return f"{where} {kind}, {'K and V' if is_context else 'Q and out'}"
    if ".ff" in name:
        return f"{where} feed-forward"
    if "conv" in name and name not in ("conv_in", "conv_out"):
        return f"{where} convolutions"
    return "in, out, embeddings"


def count(network: nn.Module, call: Callable[[], object]) -> dict[str, float]:
    """Operations of a call by part, in 10¹²."""
    counter = PartCounter(network)
    with torch.no_grad(), counter:
        call()
    return {part: flops / 1e12 for part, flops in sorted(counter.flops.items())}


def released_unet() -> UNet:
    """The released network on the meta device, its attention functions made layers."""
    with torch.device("meta"):
        unet = UNet(UNetConfig()).half()
    for module in list(unet.modules()):
        if hasattr(module, "attention"):
            module.attention = AttentionCore(module.attention)  # pyright: ignore[reportArgumentType]
    return unet


def run() -> Iterator[Result]:
    """Count both paths."""
    config = SamplingConfig()
    options: dict[str, Any] = {"device": "meta", "dtype": torch.float16}
    context_dim, width = UNetConfig().cross_attention_dim, UNetConfig().block_out_channels[0]

    unet = released_unet()
    tokens = torch.empty(3, NUM_FRAMES, NUM_TOKENS, context_dim, **options)
    sample = torch.empty(3, NUM_FRAMES, 8, SIDE, SIDE, **options)
    pose = torch.empty(3, NUM_FRAMES, width, SIDE, SIDE, **options)
    ids = torch.empty(3, 3, device="meta")
    plain = count(unet, lambda: plain_unet(unet, sample, torch.empty((), device="meta"), ids, tokens, tokens, pose))

    unet = released_unet()
    predictor = VideoPredictor(
        unet, tokens[0, 0], tokens[0], torch.empty(4, SIDE, SIDE, **options), [12.5, 0, 0], pose[0, :1]
    )
    branches = tuple(branch_weights(config.image_guidance_scale[0], config.motion_guidance_scale[0]))
    x = torch.empty(NUM_FRAMES, 4, SIDE, SIDE, device="meta")
    default = count(unet, lambda: predictor(x, 0.0, range(NUM_FRAMES), branches))

    plain_tflop, default_tflop = sum(plain.values()), sum(default.values())
    parts = {part: {"plain": round(plain[part], 3), "default": round(default.get(part, 0.0), 3)} for part in plain}
    metrics = {
        "call": f"{NUM_FRAMES} frames of {SIDE}x{SIDE} latents, released size, default guidance",
        "plain_tflop": round(plain_tflop, 3),
        "default_tflop": round(default_tflop, 3),
        "parts": parts,
    }
    share = plain_tflop / RELEASED_TFLOP
    yield gated("count/plain", metrics, share, at_least=0.995, at_most=1.005, baseline=f"{RELEASED_TFLOP} TFLOP")
    yield gated("count", metrics, default_tflop / plain_tflop, at_most=MAX_RATIO, baseline="plain form")
