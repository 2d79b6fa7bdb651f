"""Streaming of the UNet's weights: the same numbers, and never more than two blocks on the device."""

from __future__ import annotations

import pytest
import torch
from live_bytes import LiveBytes
from tiny_unet import BRANCHES, predict, tiny_predictor, tiny_unet
from torch import nn

from hunyuan_core.models.feature_reuse import FeatureReuse
from hunyuan_core.models.float8 import store_in_float8
from hunyuan_core.models.weight_streaming import NUM_SLOTS, WeightStream, blocks_of, streamed_bytes

CPU = torch.device("cpu")


def test_the_blocks_are_all_that_is_large() -> None:
    unet = tiny_unet()
    inside = {id(p) for block in blocks_of(unet) for p in block.parameters()}

    assert len(blocks_of(unet)) == len(set(blocks_of(unet)))
    assert {name.partition(".")[0] for name, p in unet.named_parameters() if id(p) not in inside} == {
        "conv_in",
        "time_embedding",
        "add_embedding",
        "conv_norm_out",
        "conv_out",
    }


@pytest.mark.parametrize("is_float8", [False, True])
def test_the_result_is_the_same_bit_for_bit(is_float8: bool) -> None:
    unet = tiny_unet()
    if is_float8:
        store_in_float8(unet)
    expected = predict(unet)
    state = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    stream = WeightStream(unet, CPU)
    with stream.opened():
        actual = predict(unet)
    with stream.opened():  # of a second video
        again = predict(unet)

    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(expected, actual, again, strict=True))
    assert unet.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in unet.state_dict().items())


def test_each_block_is_copied_once_in_a_call() -> None:
    unet = tiny_unet()
    stream = WeightStream(unet, CPU)
    with stream.opened():
        predict(unet)  # three calls

    assert stream.num_copies == 3 * len(blocks_of(unet)) + 1  # the first of a fourth call was on its way


def test_skipped_blocks_cost_copies_and_no_precision() -> None:
    unet = tiny_unet()
    expected = predict(unet, FeatureReuse(2, 1))
    stream = WeightStream(unet, CPU)
    with stream.opened():
        actual = predict(unet, FeatureReuse(2, 1))

    assert all(map(torch.equal, expected, actual))


def test_weights_that_lie_channels_last_stay_so() -> None:
    unet = tiny_unet()
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    strides = {name: p.stride() for name, p in unet.named_parameters()}
    expected = predict(unet)
    stream = WeightStream(unet, CPU)
    with stream.opened():
        actual = predict(unet)

    assert all(map(torch.equal, expected, actual))
    assert {name: p.stride() for name, p in unet.named_parameters()} == strides


def test_no_more_than_two_blocks_are_on_the_device() -> None:
    # The device is the meta device, whose tensors are counted; the weights stay on the CPU.
    unet = tiny_unet()
    blocks = blocks_of(unet)
    stream = WeightStream(unet, torch.device("meta"))
    streamed = [[n for n, p in block.named_parameters() if id(p) in stream.tensors] for block in blocks]
    largest = max(
        sum(block.get_parameter(n).nbytes for n in names) for block, names in zip(blocks, streamed, strict=True)
    )
    for owner in unet.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in stream.tensors:
                setattr(owner, name, nn.Parameter(parameter.to("meta"), requires_grad=False))
    seen = []

    def count(running: nn.Module, _: object) -> None:
        there = [b for b, names in zip(blocks, streamed, strict=True) if b.get_parameter(names[0]).is_meta]
        assert there == [running]
        seen.append(running)

    for block in blocks:
        block.register_forward_pre_hook(count)
    with torch.inference_mode(), LiveBytes() as live, stream.opened():
        slots = live.peak
        with torch.device("meta"):
            tiny_predictor(unet)(torch.randn(4, 4, 8, 8), 0.7, range(4), BRANCHES)

    assert seen == blocks
    assert NUM_SLOTS * largest <= slots <= NUM_SLOTS * (largest + 256 * 40)  # 40 tensors in steps of 256 bytes
    assert not any(b.get_parameter(n).is_meta for b, names in zip(blocks, streamed, strict=True) for n in names)


def test_streamed_bytes_agree_with_what_is_there() -> None:
    unet = tiny_unet()
    predicted = streamed_bytes(unet)
    total = sum(p.nbytes for p in unet.parameters())
    stream = WeightStream(unet, CPU)
    with LiveBytes() as live, stream.opened():
        pass
    kept = sum(p.nbytes for p in unet.parameters() if id(p) not in stream.tensors)

    assert predicted == kept + live.peak
    assert predicted < 0.6 * total


def test_a_failed_call_leaves_the_weights_at_home() -> None:
    unet = tiny_unet()
    expected = predict(unet)
    stream = WeightStream(unet, CPU)
    with stream.opened():
        call = tiny_predictor(unet)
        with pytest.raises(RuntimeError):
            call(torch.randn(4, 4, 8, 8, 3), 0.7, range(4), BRANCHES)
        assert all(map(torch.equal, expected, predict(unet)))
