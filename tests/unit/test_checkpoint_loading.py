"""Networks are filled from files only if keys and shapes are theirs, and hold the weights once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hunyuan_core.checkpoints import build_network, load_into
from hunyuan_core.errors import WeightsError


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def saved(state_dict: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state_dict, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_network_built_on_meta_computes_as_the_saved_one(tmp_path: Path, suffix: str):
    original = network().eval()
    path = tmp_path / f"w{suffix}"
    (torch.save if suffix == ".pth" else save_file)(original.state_dict(), path)
    built = build_network(network, path)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(built(x), original(x), rtol=0, atol=0)
    assert not built.training
    assert not any(parameter.requires_grad for parameter in built.parameters())


def test_dtype_converts_floats_and_keeps_integers(tmp_path: Path):
    path = saved(network().half().state_dict(), tmp_path / "w.pth")
    assert build_network(network, path)[0].weight.dtype == torch.float16
    built = build_network(network, path, dtype=torch.float32)
    assert {p.dtype for p in built.parameters()} == {torch.float32}
    assert built[1].num_batches_tracked.dtype == torch.int64
    assert built[1].running_mean.dtype == torch.float32


def test_same_dtype_is_not_copied(tmp_path: Path):
    """Without conversion, the network's tensors are those that were read: no second copy is made."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc to see what is mapped")
    path = saved(nn.Linear(2000, 2000).state_dict(), tmp_path / "big.pth")
    built = build_network(lambda: nn.Linear(2000, 2000), path)
    start = next(line for line in maps.read_text().splitlines() if line.endswith(str(path))).split()[0].split("-")
    assert int(start[0], 16) <= built.weight.data_ptr() < int(start[1], 16)


def test_a_network_with_weights_takes_new_ones(tmp_path: Path):
    original, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_into(other, saved(original.state_dict(), tmp_path / "w.pth"))
    torch.testing.assert_close(other.weight, original.weight, rtol=0, atol=0)


def test_missing_extra_and_misshapen_keys_are_counted_and_named(tmp_path: Path):
    state_dict = network().state_dict()
    for key in ("0.bias", "1.weight", "1.bias", "1.running_mean"):
        del state_dict[key]
    state_dict["2.weight"] = torch.zeros(2, 5, 1, 1)
    state_dict["3.weight"] = torch.zeros(1)
    module = network()
    before = module[0].weight.clone()
    with pytest.raises(WeightsError) as caught:
        load_into(module, saved(state_dict, tmp_path / "w.pth"))
    message = str(caught.value)
    assert str(tmp_path / "w.pth") in message
    assert "4 missing (0.bias, 1.weight, 1.bias, …)" in message
    assert "1 unexpected (3.weight)" in message
    assert "1 of another shape (2.weight is (2, 5, 1, 1) and not (2, 4, 1, 1))" in message
    assert "\n" not in message
    torch.testing.assert_close(module[0].weight, before, rtol=0, atol=0)


def test_the_file_of_another_network_is_recognised(tmp_path: Path):
    path = saved({"resnet50.conv1.weight": torch.zeros(1)}, tmp_path / "headpose.pth")
    with pytest.raises(WeightsError, match=r"looks like expression\.pth, the expression encoder"):
        load_into(network(), path)


def test_a_tensor_that_no_file_can_fill_is_reported(tmp_path: Path):
    class WithTable(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("table", torch.arange(4), persistent=False)

    path = saved(WithTable().state_dict(), tmp_path / "w.pth")
    with pytest.raises(RuntimeError, match="WithTable keeps table outside its state dict"):
        build_network(WithTable, path)
    assert load_into(WithTable(), path).table.tolist() == [0, 1, 2, 3]


def test_the_published_form_of_the_vae_loads(tmp_path: Path):
    """A diffusers folder in fp16, as Stable Video Diffusion is published."""
    from diffusers import AutoencoderKLTemporalDecoder

    def small() -> AutoencoderKLTemporalDecoder:
        return AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32), layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 2
        )

    vae = small().eval()
    vae.half().save_pretrained(tmp_path, variant="fp16")
    built = build_network(small, tmp_path / "diffusion_pytorch_model.fp16.safetensors", dtype=torch.float32)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(built.decode(x, num_frames=2).sample, vae.float().decode(x, num_frames=2).sample)
