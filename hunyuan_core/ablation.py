"""The model with one of its parts switched off, for the rows of the paper's Table 2.

The paper trains a model anew without the part. Here the part of a trained model is switched off when it is used, which
says what that model makes of the part; a model trained without it can learn to do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .config import ModelConfig, SamplingConfig
from .data import Face, FaceTrack
from .errors import ConfigurationError
from .models import build
from .motion import encode_motion
from .pipeline import Pipeline
from .sampling import SpeedConfig

ABLATIONS = {
    "memory-bank": "- Memory Bank",
    "intensity": "- IAME",
    "identity": "- ID Features",
    "imadapter": "- IMAdapter",
}
"""What can be switched off, and its row in the paper's Table 2."""


@dataclass(frozen=True, eq=False)
class Reenactor:
    """A model that animates portraits, whole or without a part.

    Attributes:
        intensity: Level that every chunk gets for head and expression; None measures them, as released.
    """

    pipeline: Pipeline
    intensity: int | None = None

    @torch.inference_mode()
    def animate(
        self,
        portrait: np.ndarray,
        face: Face,
        frames: Iterable[np.ndarray],
        track: FaceTrack,
        *,
        size: int,
        config: SamplingConfig,
        speed: SpeedConfig | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[np.ndarray]:
        """Animate a portrait by driving frames.

        Args:
            portrait: (H, W, 3) uint8 RGB.
            face: Of the portrait.
            frames: (H, W, 3) uint8 RGB each, the frames that the track was made of.
            track: Of the driver's face.
            size: As in ``Pipeline.encode_appearance``.
            config: Settings of the run.
            speed: Approximations; None is none.
            on_progress: As in ``Pipeline.sample``.

        Returns:
            One (size, size, 3) uint8 RGB frame for each driving frame.

        Raises:
            HunyuanPortraitError: As the stages of ``Pipeline``.
        """
        model = self.pipeline
        appearance = model.encode_appearance(portrait, face, size=size, config=config)
        motion = encode_motion(
            frames,
            track,
            model.expression,
            model.head_pose,
            model.refiner,
            head_intensity=self.intensity,
            expression_intensity=self.intensity,
        )
        latents = model.sample(appearance, motion, config, speed=speed, on_progress=on_progress)
        return list(model.decode(latents, config.decode_chunk_size))


def ablate(pipeline: Pipeline, part: str | None = None) -> Reenactor:
    """Switch off a part of a model, whose weights stay as they are.

    - ``memory-bank``: all memories are zero, so that the 64 motion tokens of a frame are 64 times the one that the
      intensity alone asks for.
    - ``intensity``: every chunk has the middle level.
    - ``identity``: the identity is a zero vector, as for a drawing.
    - ``imadapter``: the scale of the IMAdapters is 0.

    Args:
        part: One of ABLATIONS; None leaves the model whole.

    Raises:
        ConfigurationError: If there is no such part, or the model runs without it already.
    """
    if part is None:
        return Reenactor(pipeline)
    if part == "memory-bank":
        weights = pipeline.refiner.state_dict()
        weights["connector.latents"] = torch.zeros_like(weights["connector.latents"])
        refiner = _rebuilt("refiner", replace(ModelConfig(), refiner=pipeline.refiner.config), weights)
        return Reenactor(replace(pipeline, refiner=refiner))
    if part == "intensity":
        return Reenactor(pipeline, pipeline.refiner.config.num_intensity_levels // 2)
    if part == "identity":
        if pipeline.arcface is None:
            raise ConfigurationError("There is no identity to switch off: the model runs without ArcFace already.")
        return Reenactor(replace(pipeline, arcface=None))
    if part == "imadapter":
        config = replace(pipeline.vision.config, adapter_scale=0.0)
        vision = _rebuilt("vision", replace(ModelConfig(), vision=config), pipeline.vision.state_dict())
        return Reenactor(replace(pipeline, vision=vision))
    raise ConfigurationError(f"There is no part {part!r} to switch off; choose of {', '.join(ABLATIONS)}.")


def _rebuilt(name: str, config: ModelConfig, weights: dict[str, torch.Tensor]) -> Any:
    """Build a network of another configuration around the tensors of an existing one."""
    with torch.device("meta"):
        network = build(name, config)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)
