"""Decoders for a quick look, and the command line's choice of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hunyuan_core.checkpoints import FILES, PREVIEW_FILES, licence_text
from hunyuan_core.data import VideoLatents
from hunyuan_core.errors import ShapeError, WeightsError
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.preview import PreviewDecoder, decode_preview, fit_preview, load_tiny_decoder

FACTOR = 0.18215
MAP = torch.tensor([[0.3, -0.2, 0.1, 0.4], [0.1, 0.2, -0.3, 0.2], [-0.2, 0.1, 0.2, 0.3]])
BIAS = torch.tensor([0.1, -0.1, 0.05])


def picture_of(latents: torch.Tensor) -> np.ndarray:
    """A picture whose cells have the colours that the map gives, (8h, 8w, 3) uint8."""
    colours = torch.einsum("oc,chw->hwo", MAP, latents * FACTOR) + BIAS
    pixels = ((colours + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.repeat_interleave(8, 0).repeat_interleave(8, 1).numpy()


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn(4, 12, 16, generator=torch.Generator().manual_seed(0))


def test_the_fit_finds_the_map(latents: torch.Tensor) -> None:
    decoder = fit_preview(latents, picture_of(latents), FACTOR)

    # The picture's 256 levels are all that is lost.
    assert (decoder.weight - MAP).abs().max() < 0.02
    assert (decoder.bias - BIAS).abs().max() < 0.001


def test_the_fit_takes_a_picture_of_one_colour() -> None:
    decoder = fit_preview(torch.ones(4, 8, 8), np.full((64, 64, 3), 200, np.uint8), FACTOR)

    (frame,) = decode_preview(VideoLatents(torch.ones(1, 4, 8, 8) * FACTOR, 0), decoder)
    assert (frame == 200).all()


def test_the_fit_refuses_another_picture(latents: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"\(96, 128, 3\).*got \(96, 96, 3\)"):
        fit_preview(latents, np.zeros((96, 96, 3), np.uint8), FACTOR)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    folder = tmp_path_factory.mktemp("models")
    path = folder / PREVIEW_FILES[0].filename
    path.parent.mkdir()
    torch.manual_seed(0)
    save_file(AutoencoderTiny().state_dict(), path)
    return folder


DECODERS: dict[str, Callable[[torch.Tensor, Path], PreviewDecoder]] = {
    "linear": lambda latents, _: fit_preview(latents, picture_of(latents), FACTOR),
    "tiny": lambda _, folder: load_tiny_decoder(folder),
}


@pytest.mark.parametrize("name", DECODERS)
def test_frames_are_those_of_the_vae_in_number_size_and_type(
    name: str, latents: torch.Tensor, tiny_folder: Path
) -> None:
    samples = torch.randn(9, 4, 4, 6, generator=torch.Generator().manual_seed(1))
    video, told = VideoLatents(samples, 2), []
    expected = list(Pipeline.untrained_tiny(device="cpu").decode(video))
    decoder = DECODERS[name](latents, tiny_folder)

    frames = list(decode_preview(video, decoder, 3, told.append))

    assert [(frame.shape, frame.dtype) for frame in frames] == [(frame.shape, frame.dtype) for frame in expected]
    assert told == [1, 2, 3, 4, 5]
    # Each frame alone, whatever the chunks.
    alone = decode_preview(VideoLatents(samples[4:5], 0), decoder)
    assert np.abs(next(alone).astype(int) - frames[2]).max() <= 1


def test_the_listed_size_is_that_of_the_network(tiny_folder: Path) -> None:
    (file,) = PREVIEW_FILES
    assert abs((tiny_folder / file.filename).stat().st_size / file.size - 1) < 0.01


def test_the_small_network_is_diffusers_own(tiny_folder: Path) -> None:
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from safetensors.torch import load_file

    network = AutoencoderTiny()
    network.load_state_dict(load_file(tiny_folder / PREVIEW_FILES[0].filename))
    x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(load_tiny_decoder(tiny_folder)(x), network.decode(x, return_dict=False)[0])


def test_a_missing_or_other_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="download --preview-decoder"):
        load_tiny_decoder(tmp_path)
    path = tmp_path / PREVIEW_FILES[0].filename
    path.parent.mkdir()
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="does not fit"):
        load_tiny_decoder(tmp_path)


def test_the_download_is_no_part_of_the_model() -> None:
    assert not set(PREVIEW_FILES) & set(FILES)
    assert "taesd" not in licence_text()
    assert "MIT" in licence_text(PREVIEW_FILES)
