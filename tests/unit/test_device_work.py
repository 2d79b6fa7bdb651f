"""What keeps a GPU busy, as far as it shows without one: transfers, layouts, and the forms of attention."""

from __future__ import annotations

import pytest
import torch
from equal import CONFIG
from live_bytes import LiveBytes
from small import make_unet, make_video
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hunyuan_core.config import UNetConfig
from hunyuan_core.data import Branch
from hunyuan_core.models.attention import scaled_dot_product
from hunyuan_core.models.layout import prefers_channels_last, to_channels_last
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.transfer import frame_indices, take_frames
from hunyuan_core.models.unet import UNet
from hunyuan_core.sampling import context_windows

BRANCHES = (Branch.UNCONDITIONAL, Branch.MOTION)
CPU = torch.device("cpu")


@pytest.mark.parametrize("num_frames", [1, 3, 7, 20])
@pytest.mark.parametrize("is_circular", [True, False])
def test_indices_are_those_of_every_window(num_frames: int, is_circular: bool) -> None:
    for shift in range(7):
        for frames in context_windows(num_frames, 7, 2, shift, is_circular=is_circular):
            assert frame_indices(frames, num_frames, CPU).tolist() == frames


def test_frames_in_any_order_are_taken() -> None:
    values = torch.randn(5, 2)
    assert torch.equal(take_frames(values, [3, 0, 3], CPU), values[[3, 0, 3]])


def test_a_long_video_leaves_its_tokens_in_main_memory() -> None:
    unet = make_unet(CONFIG).to("meta")
    on_device = []
    for num_frames in (300, 3000):
        tokens = torch.randn(4, 64), torch.randn(num_frames, 4, 64)
        with torch.inference_mode(), LiveBytes() as count:
            predictor = VideoPredictor(unet, *tokens, torch.randn(4, 8, 8), (12.5, 0.0, 0.0))
            v = predictor(torch.empty(9, 4, 8, 8, device="meta"), 0.1, range(9), BRANCHES)
        assert (v.device.type, v.shape) == ("meta", (2, 9, 4, 8, 8))
        on_device.append(count.peak)
    assert on_device[0] == on_device[1]


def test_channels_last_changes_rounding_only() -> None:
    expected = make_video(make_unet(CONFIG, torch.float64), 12, 2, side=8, window=9, overlap=2, num_tokens=8)
    unet = make_unet(CONFIG, torch.float64)
    to_channels_last(unet)
    convolutions = [module for module in unet.modules() if isinstance(module, nn.Conv2d)]
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in convolutions)
    video = make_video(unet, 12, 2, side=8, window=9, overlap=2, num_tokens=8)
    with torch.inference_mode():
        wanted = expected.default()
        assert (video.default() - wanted).abs().max() <= 1e-12 * wanted.abs().max()


@pytest.mark.parametrize(
    ("device", "dtype", "wins"),
    [
        ("cuda", torch.float16, True),
        ("cuda:1", torch.bfloat16, True),
        ("cuda", torch.float32, False),
        ("cpu", torch.bfloat16, False),
    ],
)
def test_channels_last_is_for_half_precision_on_a_gpu(device: str, dtype: torch.dtype, wins: bool) -> None:
    assert prefers_channels_last(torch.device(device), dtype) is wins


def test_attention_has_a_form_that_every_kernel_takes() -> None:
    calls: list[tuple[torch.Size, torch.Size, int]] = []

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_heads: int) -> torch.Tensor:
        calls.append((q.shape, k.shape, num_heads))
        for x in (q, k, v):
            split = x.unflatten(-1, (num_heads, -1)).transpose(1, 2)
            assert split.shape[-1] == 64
            assert split.stride(-1) == 1
            assert all(stride % 8 == 0 for stride in split.stride()[:-1])  # cuDNN's
            assert len(x) <= 65535
        return scaled_dot_product(q, k, v, num_heads)

    with torch.device("meta"), torch.inference_mode():
        unet = UNet(UNetConfig(), attention=attention).half()
        tokens = torch.empty(64, 1024), torch.empty(25, 64, 1024)
        predict = VideoPredictor(unet, *tokens, torch.empty(4, 64, 64), (12.5, 0.0, 0.0))
        predict(torch.empty(25, 4, 64, 64), 0.1, range(25), BRANCHES)
    assert len(calls) == 16 * 6  # two self-attentions and four parts of cross-attention in each of 16 transformers
    assert max(q[0] for q, _, _ in calls) == 2 * 64 * 64
    # Folded: all pixels and frames of a row are one query.
    assert max(q[1] for q, k, _ in calls if k[:2] == (1, 64)) == 25 * 64 * 64


def test_the_flash_kernel_alone_computes_everything() -> None:
    video = make_video(make_unet(CONFIG), 9, 1, side=8, window=9, overlap=2, num_tokens=8)
    with torch.inference_mode():
        expected = video.default()
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            assert torch.equal(video.default(), expected)
