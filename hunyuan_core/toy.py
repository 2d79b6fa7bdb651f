"""The small model that the package carries: where its files lie, and the settings that fit it."""

from __future__ import annotations

from pathlib import Path

from .checkpoints import FILES, ModelFiles
from .checkpoints.files import locate
from .config import SamplingConfig
from .errors import WeightsError

TOY_FOLDER = Path(__file__).with_name("toy_model")
"""A models folder of the toy model's networks, with its reader and its model card."""

TOY_SIZE = 128
"""Side of the pictures that it was trained on, pixels."""

TOY_SAMPLING = SamplingConfig(
    num_inference_steps=2,
    image_guidance_scale=(1.0, 1.0),
    motion_guidance_scale=(1.0, 1.0),
    context_window=5,
    context_overlap=2,
    context_shift=2,
    num_padding_frames=0,
    decode_chunk_size=5,
)
"""Its settings. It was trained on clips of 5 frames, and fades nothing in. In a few steps it gives nearly the mean of
what it holds possible, which is closer to the truth than most of that."""

TOY_LIMITS = "the toy model knows drawn faces only, and is no measure of the released one"

_OF_OTHERS = ("yoloface", "vae_config")


def toy_files() -> ModelFiles:
    """Find the networks of the toy model and its ArcFace.

    Raises:
        WeightsError: If one is missing.
    """
    wanted = [file for file in FILES if file.name not in _OF_OTHERS]
    found = {file.name: path for file in wanted if (path := locate(TOY_FOLDER, file))}
    missing = [file.filename for file in wanted if file.name not in found]
    if missing:
        raise WeightsError(_missing(missing))
    return ModelFiles(TOY_FOLDER, found)


def toy_reader_file() -> Path:
    """Find what reads drawn faces.

    Raises:
        WeightsError: If it is missing.
    """
    path = TOY_FOLDER / "reader.safetensors"
    if not path.is_file():
        raise WeightsError(_missing([path.name]))
    return path


def _missing(names: list[str]) -> str:
    return (
        f"The toy model is incomplete: {TOY_FOLDER} lacks {', '.join(names)}; install the package again, or check the "
        "repository out whole."
    )
