"""How well a model does what it was trained for, with people of the drawn world whom it was not trained on."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..config import SamplingConfig
from ..evaluation.parameters import parameter_distance
from ..evaluation.pictures import load_ssim, psnr
from ..evaluation.tables import Column
from ..motion import INTENSITY_CHUNK
from ..pipeline import Pipeline
from .config import DataConfig, TrainingConfig
from .loop import build_stage, open_dataset
from .toy_data import to_tensor
from .toyworld import (
    MOTION_RANGES,
    Identity,
    Painter,
    face,
    face_mask,
    face_track,
    identity_parameters,
    landmarks,
    random_identity,
    random_motion,
)
from .toyworld.reader import Reader, Reading, standard_looks

SEED = 2**40
"""Of people and motions that no training sees."""

_CLIPS_PER_PAIR = 4  # of the loss, which costs less
_LOW, _HIGH = np.array(list(MOTION_RANGES.values()), dtype=np.float32).T
# Yaw, pitch, roll and translation lead the parameters.
_ROTATION, _EXPRESSION = slice(0, 3), slice(5, None)

READ_OFF = "as a network reads it off the pictures, against the truth"
COLUMNS = (
    Column("LMD", "lmd", is_higher_better=False, factor=1e3, digits=1, note=f"thousandths of the side, {READ_OFF}"),
    Column("PSNR", "psnr", is_higher_better=True, note="dB, in the region of the face"),
    Column("SSIM", "ssim", is_higher_better=True, digits=3),
    Column("AED", "aed", is_higher_better=False, factor=1e2, digits=1, note=f"hundredths of half a range, {READ_OFF}"),
    Column("APD", "apd", is_higher_better=False, note=f"degrees of rotation, {READ_OFF}"),
    Column("Looks", "looks", is_higher_better=False, note=f"mean deviation from the portrait's, {READ_OFF}"),
    Column(
        "Loss", "loss", is_higher_better=False, factor=1e3, digits=1, note="thousandths, of v, at the noise of training"
    ),
)
"""What is measured, in the order of the paper's tables."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A portrait, and somebody else who drives it.

    Attributes:
        pose: (11,), the portrait's.
        motion: (25, 11), the driver's.
        frames: Numbers of the frames that are animated.
    """

    portrait: Identity
    driver: Identity
    pose: np.ndarray
    motion: np.ndarray
    frames: list[int]


def pairs(number: int, data: DataConfig) -> Iterator[Pair]:
    """Draw pairs, always the same ones; the animated frames are as far apart as they ever were in training."""
    step = min(data.max_stride, (INTENSITY_CHUNK - 1) // max(data.num_frames - 1, 1))
    frames = [step * i for i in range(data.num_frames)]
    for i in range(number):
        rng = np.random.default_rng([SEED, i])
        portrait, driver = random_identity(rng), random_identity(rng)
        yield Pair(portrait, driver, random_motion(rng, 1)[0], random_motion(rng, INTENSITY_CHUNK), frames)


def measure(weights: Path, config: TrainingConfig, num_pairs: int, reader: Reader | None) -> dict[str, float]:
    """Animate held-out pairs by exported weights, and compare with what should come out.

    Args:
        config: That trained them.
        reader: For what must be read off the pictures; without it that is left out.

    Returns:
        Means by the names of COLUMNS.

    Raises:
        HunyuanPortraitError: As ``Pipeline``.
    """
    pipeline, size, ssim = Pipeline.from_pretrained(weights), config.data.image_size, load_ssim()
    found: dict[str, list[float]] = {}
    for pair in pairs(num_pairs, config.data):
        rows = pair.motion[pair.frames]
        truth = [Painter(pair.portrait, size).draw(row) for row in rows]
        frames = animate(pipeline, pair, config)
        for row, wanted, frame in zip(rows, truth, frames, strict=True):
            found.setdefault("psnr", []).append(psnr(wanted, frame, face_mask(pair.portrait, row, size)))
            found.setdefault("ssim", []).append(ssim(wanted, frame))
        if reader is not None:
            with torch.inference_mode():
                reading = reader(to_tensor(frames).float() / 127.5 - 1)
            for name, values in reading_errors(reading, pair, rows).items():
                found.setdefault(name, []).extend(values.tolist())
    return {
        **{name: statistics.fmean(values) for name, values in found.items()},
        "loss": _loss(weights, config, num_pairs),
    }


def animate(pipeline: Pipeline, pair: Pair, config: TrainingConfig) -> list[np.ndarray]:
    """Animate a pair's portrait without guidance, (S, S, 3) uint8 each; intensities are of the whole motion."""
    size = config.data.image_size
    painter = Painter(pair.driver, size)
    appearance = pipeline.encode_appearance(
        Painter(pair.portrait, size).draw(pair.pose), face(pair.portrait, pair.pose, size), size=size
    )
    motion = pipeline.encode_motion(map(painter.draw, pair.motion), face_track(pair.driver, pair.motion, size))
    chosen = dataclasses.replace(
        motion,
        **{name: getattr(motion, name)[pair.frames] for name in ("tokens", "rotation", "translation")},
    )
    sampling = SamplingConfig(
        num_inference_steps=config.output.sample_steps,
        image_guidance_scale=(1.0, 1.0),
        motion_guidance_scale=(1.0, 1.0),
        num_padding_frames=0,
        context_window=config.data.num_frames,
        context_overlap=0,
    )
    return list(pipeline.decode(pipeline.sample(appearance, chosen, sampling)))


def reading_errors(reading: Reading, pair: Pair, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Compare what is read off each result with what it should show.

    Args:
        rows: (T, 11), the driver's motion in these frames.

    Returns:
        (T,) by the names of COLUMNS.
    """
    points = np.stack([landmarks(pair.portrait, row, 1) for row in rows])
    looks = standard_looks(torch.from_numpy(identity_parameters(pair.portrait)))
    motion = (reading.motion.numpy() + 1) / 2 * (_HIGH - _LOW) + _LOW
    halves = (_HIGH - _LOW)[_EXPRESSION] / 2
    return {
        "lmd": np.linalg.norm(reading.landmarks.numpy() - points, axis=-1).mean(axis=-1),
        "aed": parameter_distance(rows[:, _EXPRESSION] / halves, motion[:, _EXPRESSION] / halves),
        "apd": parameter_distance(rows[:, _ROTATION], motion[:, _ROTATION]),
        "looks": (reading.looks - looks).abs().mean(dim=-1).numpy(),
    }


@torch.no_grad()
def _loss(weights: Path, config: TrainingConfig, num_pairs: int) -> float:
    """Diffusion loss of held-out clips, none of whose conditions is dropped."""
    loss = dataclasses.replace(config.loss, drop_all=0.0, drop_motion=0.0)
    data = dataclasses.replace(config.data, encoded="", num_encoded=0, encoded_frames=0)
    config = dataclasses.replace(config, seed=SEED, start_from=str(weights), anew=(), data=data, loss=loss)
    stage = build_stage(config).eval()
    number = _CLIPS_PER_PAIR * num_pairs
    clips, join = open_dataset(config, number)
    return statistics.fmean(float(stage(join([clips[i]]), 0)["diffusion"]) for i in range(number))
