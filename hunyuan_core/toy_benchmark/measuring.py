"""One pair: animated, drawn as it should be, and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from ..ablation import Reenactor
from ..data import VideoLatents
from ..evaluation.pictures import psnr
from ..models.vae import encode_image
from ..training.toyworld import (
    Painter,
    face,
    face_mask,
    face_track,
    identity_parameters,
    landmarks,
    standard_motion,
)
from ..training.toyworld.reader import Reader, standard_looks
from .model import Model
from .pairs import Pair

BASELINES = ("held_still", "driver", "recoloured")
"""The portrait repeated; the driver's frames; and these moved, in each colour channel, by the difference between the
means of the portrait and of all the driver's pixels."""

VIDEOS = ("result", *BASELINES, "truth", "truth_through_vae")
"""What is measured. The last two show what the reader, and reader and VAE together, leave of a perfect model."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What one video of T frames shows.

    Attributes:
        psnr: Mean over the frames, in the region of the true face, dB; infinite where all is equal.
        motion: (T, 11) read, each range mapped to [-1, 1].
        looks: (T, 29) read, standardised.
        landmarks: (T, 34, 2) read, pixels.
    """

    psnr: float
    motion: np.ndarray
    looks: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcome:
    """One pair.

    Attributes:
        motion: (T, 11), the driver's, each range mapped to [-1, 1].
        pose: (11,), the portrait's, likewise.
        looks: (29,) of the portrait, standardised.
        driver_looks: (29,) of the driver, likewise.
        landmarks: (T, 34, 2), where they should be, pixels.
        held_landmarks: (34, 2) of the portrait, pixels.
        videos: By their names in VIDEOS.
    """

    motion: np.ndarray
    pose: np.ndarray
    looks: np.ndarray
    driver_looks: np.ndarray
    landmarks: np.ndarray
    held_landmarks: np.ndarray
    videos: dict[str, Measured]


def measure_pair(pair: Pair, model: Model) -> Outcome:
    """Animate a pair by the product's own path, the faces given by the renderer, and compare with the truth.

    Raises:
        HunyuanPortraitError: As the stages of ``Pipeline``.
    """
    size = model.size
    painter = Painter(pair.portrait, size)
    portrait = painter.draw(pair.pose)
    truth = [painter.draw(row) for row in pair.motion]
    driver = list(map(Painter(pair.driver, size).draw, pair.motion))
    result = Reenactor(model.pipeline).animate(
        portrait,
        face(pair.portrait, pair.pose, size),
        driver,
        face_track(pair.driver, pair.motion, size),
        size=size,
        config=model.sampling,
    )
    videos = {
        "result": result,
        "held_still": [portrait] * len(truth),
        "driver": driver,
        "recoloured": recolour(driver, portrait),
        "truth": truth,
        "truth_through_vae": _through_vae(truth, model),
    }
    masks = [face_mask(pair.portrait, row, size) for row in pair.motion]
    looks, driver_looks = (
        standard_looks(torch.from_numpy(identity_parameters(person))).numpy() for person in (pair.portrait, pair.driver)
    )
    return Outcome(
        motion=standard_motion(pair.motion),
        pose=standard_motion(pair.pose),
        looks=looks,
        driver_looks=driver_looks,
        landmarks=np.stack([landmarks(pair.portrait, row, size) for row in pair.motion]),
        held_landmarks=landmarks(pair.portrait, pair.pose, size),
        videos={name: _measure(frames, truth, masks, model.reader) for name, frames in videos.items()},
    )


def recolour(frames: list[np.ndarray], portrait: np.ndarray) -> list[np.ndarray]:
    """Move each colour channel of a video by one amount, so that its mean is the portrait's; before clipping.

    Args:
        frames: (H, W, 3) uint8 RGB.
        portrait: The same.
    """
    move = portrait.mean((0, 1)) - np.mean(frames, axis=(0, 1, 2))
    return [np.clip(np.round(frame + move), 0, 255).astype(np.uint8) for frame in frames]


@torch.inference_mode()
def _through_vae(frames: list[np.ndarray], model: Model) -> list[np.ndarray]:
    pipeline = model.pipeline
    pictures = cast("torch.Tensor", torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = [encode_image(pipeline.vae, picture[None]).cpu() for picture in pictures]
    samples = torch.cat(latents) * pipeline.vae.config.scaling_factor
    return list(pipeline.decode(VideoLatents(samples, 0), model.sampling.decode_chunk_size))


@torch.inference_mode()
def _measure(frames: list[np.ndarray], truth: list[np.ndarray], masks: list[np.ndarray], reader: Reader) -> Measured:
    size = truth[0].shape[0]
    pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    reading = reader(pictures)
    values = [psnr(wanted, frame, mask) for wanted, frame, mask in zip(truth, frames, masks, strict=True)]
    return Measured(
        float(np.mean(values)), reading.motion.numpy(), reading.looks.numpy(), reading.landmarks.numpy() * size
    )
