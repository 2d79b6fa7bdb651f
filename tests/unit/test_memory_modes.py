"""The exact ways to need less memory, and the estimate of what each needs."""

from __future__ import annotations

import pytest
import torch
from live_bytes import LiveBytes

from hunyuan_core.config import ModelConfig, UNetConfig
from hunyuan_core.data import Branch
from hunyuan_core.models.memory import MemoryMode, context_bytes, peak_activations
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.models.unet import UNet

BRANCHES = {1: (Branch.MOTION,), 2: (Branch.UNCONDITIONAL, Branch.MOTION), 3: tuple(Branch)}


def predictor(dtype: torch.dtype, num_frames: int = 7) -> VideoPredictor:
    torch.manual_seed(0)
    config = ModelConfig.tiny().unet
    unet = UNet(config).to(dtype).eval()
    for name, parameter in unet.named_parameters():
        if name.endswith("mix_factor"):
            torch.nn.init.normal_(parameter)
    width = config.cross_attention_dim
    return VideoPredictor(
        unet,
        torch.randn(5, width),
        torch.randn(num_frames, 5, width),
        torch.randn(4, 8, 8),
        (12.5, 0.0, 0.0),
        torch.randn(1, config.block_out_channels[0], 8, 8),
    )


@pytest.mark.parametrize("branches", BRANCHES.values())
@pytest.mark.parametrize("mode", [MemoryMode.ONE_BRANCH, MemoryMode.ONE_BRANCH_CHUNKED])
def test_every_mode_gives_the_same_prediction(mode: MemoryMode, branches: tuple[Branch, ...]) -> None:
    predict = predictor(torch.float64)
    x = torch.randn(7, 4, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        expected = predict(x, 0.7, range(7), branches)
        predict.memory_mode = mode
        actual = predict(x, 0.7, range(7), branches)
    assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_a_new_video_starts_with_the_fastest_mode() -> None:
    predict = predictor(torch.float32)
    predict.memory_mode = MemoryMode.ONE_BRANCH_CHUNKED
    VideoPredictor(predict.unet, torch.randn(5, 64), torch.randn(7, 5, 64), torch.randn(4, 8, 8), (12.5, 0.0, 0.0))
    assert {m.num_chunks for m in predict.unet.modules() if hasattr(m, "num_chunks")} == {1}


@pytest.mark.parametrize("mode", MemoryMode)
@pytest.mark.parametrize(("num_branches", "num_frames", "side"), [(2, 25, 64), (1, 12, 64), (3, 25, 96)])
def test_estimate_agrees_with_the_count(mode: MemoryMode, num_branches: int, num_frames: int, side: int) -> None:
    config = UNetConfig()
    with torch.device("meta"):
        unet = UNet(config).half().eval()
        image_tokens, motion_tokens = torch.empty(64, 1024), torch.empty(num_frames, 64, 1024)
        x = torch.empty(num_frames, 4, side, side)
        predict = VideoPredictor(
            unet, image_tokens, motion_tokens, x[0], (12.5, 0.0, 0.0), torch.empty(1, 320, side, side)
        )
        predict.memory_mode = mode
    with torch.device("meta"), torch.inference_mode(), LiveBytes() as count:
        predict(x, 0.7, range(num_frames), BRANCHES[num_branches])
    estimate = peak_activations(config, num_branches, num_frames, side, side, torch.half, mode)
    assert estimate == pytest.approx(count.peak, rel=0.05)


def test_kept_keys_and_values_are_counted_exactly() -> None:
    config = ModelConfig.tiny().unet
    predict = predictor(torch.float32)
    assert predict.context.motion is not None
    kept = sum(key.nbytes + value.nbytes for key, value in predict.context.motion)
    assert context_bytes(config, 7, torch.float32, num_tokens=5) == kept
