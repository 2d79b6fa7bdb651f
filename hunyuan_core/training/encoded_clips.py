"""Clips that are drawn or read once, encoded, and trained on again and again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..checkpoints.writing import write_safetensors
from ..errors import ConfigurationError, MediaError
from ..video.files import replacing
from .config import TrainingConfig
from .datasets import open_clips
from .toy_data import Clip

_INDEX = "clips.json"
_PICTURES = ("target", "reference")
_ENCODED = ("target_latents", "reference_latents")
_OF_FRAMES = ("target_latents", "motion_crops", "head_pose_crops", "pose_images", "motion", "features")

_SAME_LATENTS = 0.05
"""Difference of latents, of a deviation of about 1, below which they count as the same."""

Encode = Callable[[torch.Tensor], torch.Tensor]
"""Pictures, (n, 3, S, S) uint8, to their latents, (n, C, h, w), not scaled."""


class EncodedClips(torch.utils.data.Dataset[Clip]):
    """Clips of a folder, in another order each time round, with other noise and from another frame on each time.

    They lack their pictures, and have latents instead.
    """

    def __init__(self, folder: Path, num_clips: int, num_frames: int, seed: int, length: int) -> None:
        self.folder = folder
        self.num_clips = num_clips
        self.num_frames = num_frames
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        """Count the clips, all times round."""
        return self.length

    def __getitem__(self, index: int) -> Clip:
        """Read a clip.

        Raises:
            MediaError: If its file is missing or damaged.
        """
        turn, place = divmod(index, self.num_clips)
        number = int(np.random.default_rng([self.seed, turn]).permutation(self.num_clips)[place])
        path = _path(self.folder, number)
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise MediaError(f"{path} cannot be read ({error}); remove it, and train again to make it anew.") from error
        tensors = {name: x.float() if x.is_floating_point() else x for name, x in tensors.items()}
        rng = np.random.default_rng([self.seed, turn, index])
        noise = torch.tensor(int(rng.integers(2**62)))
        first = int(rng.integers(len(tensors["motion"]) - self.num_frames + 1))
        for name in _OF_FRAMES:
            if len(tensors[name]) > 1:  # neither black poses nor latents that are left out
                tensors[name] = tensors[name][first : first + self.num_frames]
        return Clip(**{**tensors, "seed": noise})


def fill(
    config: TrainingConfig,
    encode: Encode | None,
    rank: int,
    num_processes: int,
    on_clip: Callable[[int], None] | None = None,
) -> None:
    """Make those clips that the folder of a configuration lacks; each process its share.

    Args:
        encode: Of the VAE that is trained with; None leaves the latents out too, for what needs neither.
        on_clip: Called with the number of clips that this process has made or found.

    Raises:
        ConfigurationError: If the folder's clips are of another configuration or VAE.
        WeightsError: If a clip cannot be written, as on a full disk; the finished ones stay.
    """
    folder = Path(config.data.encoded)
    _claim(folder, _describe(config, encode))
    whole = dataclasses.replace(config.data, num_frames=config.data.encoded_frames or config.data.num_frames)
    clips = open_clips(dataclasses.replace(config, data=whole), config.seed, config.data.num_encoded)
    for done, number in enumerate(range(rank, config.data.num_encoded, num_processes), start=1):
        path = _path(folder, number)
        if not path.is_file():
            write_safetensors(_encoded(clips[number], encode), path, {})
        if on_clip is not None:
            on_clip(done)


def _encoded(clip: Clip, encode: Encode | None) -> dict[str, torch.Tensor]:
    tensors = {field.name: getattr(clip, field.name) for field in dataclasses.fields(clip) if field.name != "seed"}
    tensors |= {name: tensors[name].new_zeros(0) for name in _PICTURES}
    if encode is not None:
        latents = encode(torch.cat([clip.target, clip.reference[None]])).cpu()
        tensors |= dict(zip(_ENCODED, (latents[:-1], latents[-1]), strict=True))
    return {name: x.half() if x.is_floating_point() else x for name, x in tensors.items()}


def _describe(config: TrainingConfig, encode: Encode | None) -> dict[str, Any]:
    """Tell apart clips that cannot stand for each other: by what they are made of, and by a picture's latents."""
    data = dataclasses.asdict(config.data)
    data["num_frames"] = data["encoded_frames"] or data["num_frames"]
    for name in ("num_workers", "num_encoded", "encoded", "encoded_frames"):
        del data[name]
    model = dataclasses.asdict(config.model)
    sizes = {name: model[name] for name in ("vision", "expression", "head_pose", "refiner", "vae")}
    del sizes["vision"]["adapter_scale"]  # of no weight for clips
    made_of = json.dumps([config.seed, data, sizes], sort_keys=True)
    sample = []
    if encode is not None:
        side = config.data.image_size
        ramp = torch.linspace(0, 255, 3 * side * side).view(1, 3, side, side).to(torch.uint8)
        sample = encode(ramp).float().flatten()[:64].tolist()
    return {"made_of": hashlib.sha256(made_of.encode()).hexdigest(), "sample": sample}


def _claim(folder: Path, description: dict[str, Any]) -> None:
    path = folder / _INDEX
    if path.is_file():
        if not _is_alike(json.loads(path.read_text(encoding="utf-8")), description):
            raise ConfigurationError(
                f"The clips in {folder} are of another configuration or VAE; remove the folder, or name another "
                "data.encoded."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(json.dumps(description), encoding="utf-8")


def _is_alike(known: Any, description: dict[str, Any]) -> bool:
    if not isinstance(known, dict) or known.get("made_of") != description["made_of"]:
        return False
    one, other = known.get("sample", []), description["sample"]
    # Another precision or processor rounds otherwise; a VAE that learned on differs by more, somewhere.
    return len(one) == len(other) and all(abs(a - b) < _SAME_LATENTS for a, b in zip(one, other, strict=True))


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.safetensors"
