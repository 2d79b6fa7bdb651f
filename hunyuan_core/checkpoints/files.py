"""Which weight files there are, where they come from, and where they lie.

A models folder has the layout of the release's ``pretrained_weights``, so that folder can be used as it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from ..faces.yoloface import RELEASED_SHA256 as YOLOFACE_SHA256

FOLDER_VARIABLE = "HUNYUAN_PORTRAIT_MODELS"
"""Environment variable that names the models folder."""


@dataclass(frozen=True)
class Source:
    """A Hugging Face repository."""

    repository: str
    licence: str
    """One sentence on whose the files are and what they may be used for."""
    revision: str = "main"
    is_gated: bool = False
    """Whether a user must accept the licence on the repository's page and log in."""


@dataclass(frozen=True)
class ModelFile:
    """One file that the model needs or can use."""

    name: str
    """The network's name in ``hunyuan_core.models``; for other files a name of the same kind."""
    filename: str
    """Where it lies, relative to the models folder."""
    source: Source
    remote_filename: str
    size: int
    """Bytes; exact where ``sha256`` is known, else to about one percent."""
    purpose: str
    is_network: bool = True
    """Whether it is a state dict of this project's networks (otherwise another library reads it)."""
    is_required: bool = True
    alternatives: tuple[str, ...] = ()
    """Further filenames under which the same weights are published."""
    signature: tuple[str, ...] = ()
    """Keys that only this network's state dict has; tells what a mixed-up file really is."""
    sha256: str | None = None

    @property
    def accepted_filenames(self) -> tuple[str, ...]:
        """Filenames in the order of preference; a ``.safetensors`` made by ``convert`` comes before its ``.pth``."""
        path = Path(self.filename)
        converted = (path.with_suffix(".safetensors").as_posix(),) if path.suffix == ".pth" else ()
        return (*converted, self.filename, *self.alternatives)


_RELEASE = Source(
    "tencent/HunyuanPortrait",
    "Tencent's HunyuanPortrait weights, for academic, non-commercial use only.",
)
_SVD = Source(
    "stabilityai/stable-video-diffusion-img2vid-xt",
    "Stability AI's Stable Video Diffusion, for non-commercial use under its own licence.",
    is_gated=True,
)
_ARC2FACE = Source(
    "FoivosPar/Arc2Face",
    "The ArcFace network that Arc2Face publishes, from InsightFace, for non-commercial research only.",
    # Later revisions of the repository no longer hold arcface.onnx.
    revision="da2f1e9aa3954dad093213acfc9ae75a68da6ffd",
)
_SONIC = Source(
    "LeonJoe13/Sonic",
    "The face detector that Sonic publishes, for non-commercial use only.",
)
_VAE_FOLDER = "stable-video-diffusion-img2vid-xt/vae"

FILES: tuple[ModelFile, ...] = (
    ModelFile(
        "unet",
        "hyportrait/unet.pth",
        _RELEASE,
        "hyportrait/unet.pth",
        6_303_000_000,
        "the denoising UNet",
        signature=("down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.0.weight",),
    ),
    ModelFile(
        "vision",
        "hyportrait/dino.pth",
        _RELEASE,
        "hyportrait/dino.pth",
        628_000_000,
        "the image encoder",
        signature=("register_tokens", "patch_embed.proj.weight"),
    ),
    ModelFile(
        "token_projection",
        "hyportrait/image_proj.pth",
        _RELEASE,
        "hyportrait/image_proj.pth",
        68_700,
        "the projection to image tokens",
        signature=("weight", "bias"),
    ),
    ModelFile(
        "expression",
        "hyportrait/expression.pth",
        _RELEASE,
        "hyportrait/expression.pth",
        98_300_000,
        "the expression encoder",
        signature=("resnet50.conv1.weight",),
    ),
    ModelFile(
        "head_pose",
        "hyportrait/headpose.pth",
        _RELEASE,
        "hyportrait/headpose.pth",
        44_700_000,
        "the head-pose encoder",
        signature=("head_pose_net.conv1.weight",),
    ),
    ModelFile(
        "refiner",
        "hyportrait/motion_proj.pth",
        _RELEASE,
        "hyportrait/motion_proj.pth",
        263_000_000,
        "the motion refiner",
        signature=("connector.latents",),
    ),
    ModelFile(
        "pose_guider",
        "hyportrait/pose_guider.pth",
        _RELEASE,
        "hyportrait/pose_guider.pth",
        4_350_000,
        "the pose guider",
        signature=("blocks.0.weight", "conv_in.weight", "conv_out.weight"),
    ),
    ModelFile(
        "vae",
        f"{_VAE_FOLDER}/diffusion_pytorch_model.fp16.safetensors",
        _SVD,
        "vae/diffusion_pytorch_model.fp16.safetensors",
        196_000_000,
        "the VAE",
        alternatives=(f"{_VAE_FOLDER}/diffusion_pytorch_model.safetensors",),
        signature=("encoder.conv_in.weight", "decoder.time_conv_out.weight"),
    ),
    ModelFile(
        "vae_config",
        f"{_VAE_FOLDER}/config.json",
        _SVD,
        "vae/config.json",
        600,
        "diffusers, where it opens the VAE by itself",
        is_network=False,
        is_required=False,
    ),
    ModelFile(
        "arcface",
        "arcface.onnx",
        _ARC2FACE,
        "arcface.onnx",
        261_000_000,
        "the identity of a human face",
        is_network=False,
        is_required=False,
    ),
    ModelFile(
        "yoloface",
        "yoloface_v5m.pt",
        _SONIC,
        "yoloface_v5m.pt",
        84_574_759,
        "the yoloface detector",
        is_network=False,
        is_required=False,
        sha256=YOLOFACE_SHA256,
    ),
)


PREVIEW_FILES = (
    ModelFile(
        "tiny_decoder",
        "taesd/diffusion_pytorch_model.safetensors",
        Source("madebyollin/taesd", "Ollin Boer Bohan's TAESD, under the MIT licence."),
        "diffusion_pytorch_model.safetensors",
        9_790_000,
        "quick previews",
        is_network=False,
        is_required=False,
    ),
)
"""What only previews use; no part of the model."""


@dataclass(frozen=True)
class ModelFiles:
    """The files found in one models folder.

    Attributes:
        paths: Path of each file that is there, by name. An optional file may be absent.
    """

    folder: Path
    paths: Mapping[str, Path]

    def path(self, name: str) -> Path:
        """Path of a file that is needed now.

        Raises:
            WeightsError: If it is an optional file that is not there; holds the command that fetches it.
        """
        if name in self.paths:
            return self.paths[name]
        raise WeightsError(_missing_message(self.folder, [file for file in FILES if file.name == name]))


def default_folder() -> Path:
    """Models folder when none is given: ``$HUNYUAN_PORTRAIT_MODELS``, else one in the user's cache folder."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "hunyuan-portrait"


def models_folder(folder: str | Path | None = None) -> Path:
    """The folder that a user means: ``default_folder()`` if none is given, and a leading ``~`` is the home folder.

    Raises:
        WeightsError: If it is a file, or the ``~`` means nobody's home.
    """
    try:
        path = Path(folder).expanduser() if folder is not None else default_folder()
    except RuntimeError as error:
        raise WeightsError(f"The models folder is unknown ({error}); write its path in full.") from error
    if path.is_file():
        raise WeightsError(
            f"The models folder {path} is a file; give a folder (as the argument or in {FOLDER_VARIABLE})."
        )
    return path


def locate(folder: Path, file: ModelFile) -> Path | None:
    """Path of a file in ``folder`` or in its ``pretrained_weights``; None if it is in neither."""
    for root in (folder, folder / "pretrained_weights"):
        for filename in file.accepted_filenames:
            if (root / filename).is_file():
                return root / filename
    return None


def find_models(folder: str | Path | None = None) -> ModelFiles:
    """Find the weight files.

    Args:
        folder: The models folder, or the release's ``pretrained_weights``, or the folder that holds it;
            ``default_folder()`` if not given.

    Raises:
        WeightsError: If the folder is a file, or a required file is missing; lists all of them, the folder, and the
            command that fetches them.
    """
    folder = models_folder(folder)
    found = {file.name: path for file in FILES if (path := locate(folder, file))}
    missing = [file for file in FILES if file.is_required and file.name not in found]
    if missing:
        raise WeightsError(_missing_message(folder, missing))
    return ModelFiles(folder, found)


def recognise(keys: Collection[str]) -> ModelFile | None:
    """Tell from its keys which network's state dict this is; None if it is none of them."""
    keys = set(keys)
    for file in FILES:
        # The token projection's keys, "weight" and "bias", are telling only when they are all.
        is_match = keys == set(file.signature) if file.name == "token_projection" else keys.issuperset(file.signature)
        if file.is_network and is_match:
            return file
    return None


def _missing_message(folder: Path, missing: list[ModelFile]) -> str:
    names = ", ".join(file.filename for file in missing)
    where = f"the models folder {folder}" if folder.is_dir() else f"the models folder {folder}, which does not exist"
    return (
        f"Missing weights: {names} not found in {where}. Fetch them with `hunyuan-portrait download`, "
        f"or set {FOLDER_VARIABLE} to the folder that holds them."
    )
