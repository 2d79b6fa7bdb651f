"""SVD's VAE in its two forms: the same numbers, through the core package and through ComfyUI's own nodes."""

from __future__ import annotations

import importlib
import logging
import re
from types import ModuleType
from typing import Any

import pytest
import torch

T, SIZE = 11, 32


class Bench:
    """The pack's modules and the tiny VAE."""

    def __init__(self, pack: ModuleType) -> None:
        def module(name: str) -> Any:
            return importlib.import_module(f"{pack.__name__}.{name}")

        self.bridge = module("nodes.comfy_bridge.vae")
        self.core = module("hunyuan_core.models.vae")
        self.config = module("hunyuan_core.config")
        self.errors = module("hunyuan_core.errors")
        self.path = module("nodes.comfy_bridge.untrained").untrained_files()["vae"]
        self.vae = self.bridge.portrait_vae(self.path, torch.float32)


@pytest.fixture(scope="module")
def bench(pack: ModuleType) -> Bench:
    return Bench(pack)


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn(T, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.rand(1, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(2))


def decoded(bench: Bench, vae: Any, latents: torch.Tensor, chunk: int = 8) -> torch.Tensor:
    with torch.inference_mode():
        network = bench.bridge.temporal_vae(vae)
        scaled = latents * network.config.scaling_factor
        return torch.cat(list(bench.core.decode_frames(network, scaled, chunk)))


def encoded(bench: Bench, vae: Any, picture: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return bench.core.encode_image(bench.bridge.temporal_vae(vae), picture.movedim(-1, 1) * 2 - 1)


def as_image(frames: torch.Tensor) -> torch.Tensor:
    return (frames / 2 + 0.5).clamp(0, 1).movedim(1, -1)


def test_it_is_the_core_packages_own_vae(bench: Bench, latents: torch.Tensor, picture: torch.Tensor):
    from_core = bench.bridge.load_network("vae", bench.path)
    with torch.inference_mode():
        expected = torch.cat(list(bench.core.decode_frames(from_core, latents * 0.18215, 8)))
    assert torch.equal(decoded(bench, bench.vae, latents), expected)
    with torch.inference_mode():
        expected = bench.core.encode_image(from_core, picture.movedim(-1, 1) * 2 - 1)
    assert torch.equal(encoded(bench, bench.vae, picture), expected)


def test_comfyuis_own_nodes_decode_and_encode_with_it(bench: Bench, latents: torch.Tensor, picture: torch.Tensor):
    with torch.inference_mode():
        image = bench.vae.decode(latents)
        sample = bench.vae.encode(picture)
    assert image.shape == (T, SIZE, SIZE, 3)
    # In the released chunks: the frames of a chunk influence each other.
    expected = as_image(decoded(bench, bench.vae, latents))
    assert (image - expected).abs().max() < 1e-5
    assert (image - as_image(decoded(bench, bench.vae, latents, chunk=5))).abs().max() > 1e-4
    assert torch.equal(sample, encoded(bench, bench.vae, picture))


def test_comfyuis_tiled_nodes_work_with_it(bench: Bench, latents: torch.Tensor, picture: torch.Tensor):
    with torch.inference_mode():
        image = bench.vae.decode_tiled(latents[:2], tile_x=4, tile_y=4, overlap=1)
        sample = bench.vae.encode_tiled(picture, tile_x=32, tile_y=32, overlap=8)
    assert image.shape == (2, SIZE, SIZE, 3)
    assert sample.shape == (1, 4, SIZE // 8, SIZE // 8)
    assert bench.vae.spacial_compression_decode() == 8
    assert bench.vae.temporal_compression_decode() is None


def test_the_encoder_keeps_float32_under_a_half_decoder(bench: Bench, latents: torch.Tensor, picture: torch.Tensor):
    half = bench.bridge.portrait_vae(bench.path, torch.bfloat16)
    assert half.network.decoder.conv_in.weight.dtype is torch.bfloat16
    assert torch.equal(encoded(bench, half, picture), encoded(bench, bench.vae, picture))
    with torch.inference_mode():
        assert torch.equal(half.encode(picture), encoded(bench, half, picture))
        image = half.decode(latents)
        chunks = latents.bfloat16().split(8)
        frames = torch.cat([half.network.decode(chunk, num_frames=len(chunk)).sample.float() for chunk in chunks])
    assert image.dtype is torch.float32
    assert (image - as_image(frames)).abs().max() < 1e-6


def test_core_moves_its_weights(bench: Bench):
    bench.bridge.load_vae(bench.vae)
    import comfy.model_management as management

    assert any(loaded.model is bench.vae.patcher for loaded in management.current_loaded_models)
    # Saved with diffusers' keys, as it was loaded.
    assert bench.vae.get_sd().keys() == bench.vae.network.state_dict().keys()
    assert bench.vae.patcher.model_size() == sum(p.nbytes for p in bench.vae.network.parameters())


def test_it_is_made_without_a_warning(bench: Bench, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        bench.bridge.portrait_vae(bench.path, torch.float32)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger().warning("WARNING: No VAE weights detected, VAE not initalized.")
    assert caplog.records  # Others are warned as before.


def test_no_frames_are_refused(bench: Bench):
    with pytest.raises(bench.errors.ConfigurationError, match="samples"):
        bench.vae.decode(torch.zeros(0, 4, 4, 4))


@pytest.fixture(scope="module")
def svd(bench: Bench) -> tuple[Any, Any]:
    """The same random weights of the released size in both forms; in float64, to tell rounding from difference."""
    import comfy.sd

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = bench.core.build_vae(bench.config.VAEConfig()).eval().requires_grad_(False)
        for name, parameter in network.named_parameters():
            if name.endswith("mix_factor"):
                parameter.uniform_(-1, 1)
    torch.nn.Module.to(network, torch.float64)
    core = comfy.sd.VAE(sd=original_names(network.state_dict()), dtype=torch.float64)
    return bench.bridge.PortraitVAE(network), core


def test_the_vae_of_an_svd_checkpoint_gives_the_same_numbers(bench: Bench, svd: tuple[Any, Any]):
    ours, core = svd
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(3, 4, 4, 4, generator=generator)
    picture = torch.rand(1, SIZE, SIZE, 3, generator=generator)
    bench.bridge.load_vae(core)
    for mine, theirs in (
        (decoded(bench, ours, latents), decoded(bench, core, latents)),
        (encoded(bench, ours, picture), encoded(bench, core, picture)),
    ):
        assert mine.shape == theirs.shape
        # They are handed out in float32.
        assert (mine - theirs).abs().max() < 1e-6 * mine.std()


def test_other_vaes_are_refused(bench: Bench):
    import comfy.sd
    import comfy.taesd.taesd

    other = comfy.sd.VAE(sd=comfy.taesd.taesd.TAESD(latent_channels=4).state_dict())
    for value, found in ((other, "TAESD"), ("text", "str"), (None, "NoneType")):
        with pytest.raises(bench.errors.ConfigurationError) as caught:
            bench.bridge.temporal_vae(value)
        said = str(caught.value)
        assert all(part in said for part in ("vae must be", found, "'Load HunyuanPortrait VAE'"))


RENAMED = [
    (r"^decoder\.time_conv_out\.", "decoder.conv_out.time_mix_conv."),
    (r"conv_norm_out", "norm_out"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_(\w)", r"mid.attn_1.\1"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets\.(\d)", r"up.\1.block.\2"),
    (r"up_blocks\.(\d)\.upsamplers\.0", r"up.\1.upsample"),
    (r"spatial_res_block\.", ""),
    (r"time_mixer\.mix_factor", "mix_factor"),
    (r"temporal_res_block\.norm1", "time_stack.in_layers.0"),
    (r"temporal_res_block\.conv1", "time_stack.in_layers.2"),
    (r"temporal_res_block\.norm2", "time_stack.out_layers.0"),
    (r"temporal_res_block\.conv2", "time_stack.out_layers.3"),
    (r"conv_shortcut", "nin_shortcut"),
]


def original_names(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name diffusers' weights as SVD's own checkpoint does, which has no convolution behind the encoder."""
    result = {}
    for key, tensor in state_dict.items():
        if key.startswith("quant_conv"):
            continue
        for pattern, replacement in RENAMED:
            key = re.sub(pattern, replacement, key)
        # The levels of the decoder are counted from the finest.
        key = re.sub(r"^decoder\.up\.(\d)", lambda match: f"decoder.up.{3 - int(match[1])}", key)
        is_attention = "attn_1" in key and "norm" not in key and key.endswith("weight")
        result[key] = tensor[..., None, None] if is_attention else tensor
    quant, bias = state_dict["quant_conv.weight"][..., 0, 0], state_dict["quant_conv.bias"]
    weight = state_dict["encoder.conv_out.weight"]
    result["encoder.conv_out.weight"] = torch.einsum("oi,ichw->ochw", quant, weight)
    result["encoder.conv_out.bias"] = quant @ state_dict["encoder.conv_out.bias"] + bias
    return result
