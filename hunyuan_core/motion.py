"""From driving frames to motion tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice

import numpy as np
import torch

from .data import FaceTrack, Motion
from .errors import ConfigurationError, ShapeError
from .faces.crops import head_pose_crop, motion_crop, square_box
from .faces.intensity import chunk_intensities
from .models.motion_refiner import MotionRefiner
from .models.residual import ExpressionEncoder, HeadPoseEncoder
from .overlap import read_ahead

INTENSITY_CHUNK = 25
"""Frames that share one pair of motion intensities."""


def encode_motion(
    frames: Iterable[np.ndarray],
    track: FaceTrack,
    expression: ExpressionEncoder,
    head_pose: HeadPoseEncoder,
    refiner: MotionRefiner,
    on_progress: Callable[[int], None] | None = None,
    *,
    head_intensity: int | None = None,
    expression_intensity: int | None = None,
    on_crop: Callable[[int, np.ndarray], None] | None = None,
) -> Motion:
    """Turn driving frames into motion, holding the crops of two chunks in memory at a time.

    Args:
        frames: (H, W, 3) uint8 RGB each, the frames that the track was made of.
        track: The face in each frame.
        expression: Runs in its own dtype and on its own device, like the other two; released: float32.
        on_progress: Called after each chunk with the number of frames that are done.
        head_intensity: Of every chunk, 0 to 127, in place of what is measured (released: measured).
        expression_intensity: As ``head_intensity``.
        on_crop: Called with each frame's number, from 0, and its motion crop.

    Raises:
        ShapeError: If there are fewer or more frames than entries in the track.
        ConfigurationError: If a given intensity is not one that the refiner knows.
    """
    num_levels, statistic = refiner.config.num_intensity_levels, refiner.config.intensity_statistic
    _check_level("head_intensity", head_intensity, num_levels)
    _check_level("expression_intensity", expression_intensity, num_levels)
    intensities = [
        (
            head if head_intensity is None else head_intensity,
            face if expression_intensity is None else expression_intensity,
        )
        for head, face in chunk_intensities(
            track.landmarks,
            INTENSITY_CHUNK,
            levels=num_levels,
            statistic=statistic,  # pyright: ignore[reportArgumentType]
        )
    ]
    weight = expression.resnet50.conv1.weight
    sizes = expression.config.image_size, head_pose.config.image_size
    scale = head_pose.config.translation_scale
    tokens, rotations, translations = [], [], []
    numbers = count()
    with read_ahead(_chunks(frames, track, sizes), depth=1) as read:
        for (head, face), chunk in zip(intensities, read, strict=True):
            if on_crop is not None:
                for crop in chunk[0]:
                    on_crop(next(numbers), crop)
            motion_crops, pose_crops = (_to_tensor(crops).to(weight) for crops in chunk)
            levels = (torch.full((len(motion_crops),), level, device=weight.device) for level in (head, face))
            refined = refiner(expression(motion_crops), *levels)
            # Release: the head-pose encoder is fed x·2 + 1.
            rotation, translation = head_pose(pose_crops * 2 + 1)
            tokens.append(assemble_tokens(refined, rotation, translation, scale).float().cpu())
            rotations.append(rotation.float().cpu())
            translations.append(translation.float().cpu())
            if on_progress is not None:
                on_progress(sum(map(len, tokens)))
    return Motion(
        torch.cat(tokens),
        tuple(head for head, _ in intensities),
        tuple(face for _, face in intensities),
        torch.cat(rotations),
        torch.cat(translations),
    )


def assemble_tokens(
    refined: torch.Tensor, rotation: torch.Tensor, translation: torch.Tensor, translation_scale: float = 0.0
) -> torch.Tensor:
    """Join the refined motion of each frame with its head pose, which all tokens of the frame repeat.

    Args:
        refined: (T, N, C).
        rotation: (T, 3), degrees.
        translation: (T, 3).
        translation_scale: Of ``HeadPoseConfig``.

    Returns:
        (T, N, C + 6).
    """
    pose = torch.cat([rotation, translation * translation_scale], dim=-1)
    return torch.cat([refined, pose[:, None].expand(-1, refined.shape[1], -1)], dim=-1)


def pad_motion_tokens(tokens: torch.Tensor, num_frames: int) -> torch.Tensor:
    """Fade the motion in before the first frame and out after the last.

    Frame i of n in front is the first frame's tokens times i / n, frame i behind the last frame's times 1 - i / n.

    Args:
        tokens: (T, N, C).
        num_frames: Frames to add at each end.

    Returns:
        (T + 2 · num_frames, N, C).

    Raises:
        ConfigurationError: If the number is negative.
    """
    if num_frames < 0:
        raise ConfigurationError(f"num_padding_frames must be at least 0; got {num_frames}.")
    ramp = (torch.arange(num_frames, dtype=tokens.dtype, device=tokens.device) / max(num_frames, 1)).view(-1, 1, 1)
    return torch.cat([tokens[:1] * ramp, tokens, tokens[-1:] * (1 - ramp)])


def _check_level(name: str, level: int | None, num_levels: int) -> None:
    if level is not None and not 0 <= level < num_levels:
        raise ConfigurationError(
            f"{name} must be from 0 to {num_levels - 1}, or left out to be measured in the video; got {level}."
        )


def _chunks(
    frames: Iterable[np.ndarray], track: FaceTrack, sizes: tuple[int, int]
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Motion crops and head-pose crops, of these sizes, of INTENSITY_CHUNK frames at a time."""
    iterator = iter(frames)
    square: tuple[int, int, int, int] | None = None
    for start in range(0, len(track), INTENSITY_CHUNK):
        landmarks = track.landmarks[start : start + INTENSITY_CHUNK]
        motion_crops, pose_crops = [], []
        for points, frame in zip(landmarks, islice(iterator, len(landmarks)), strict=False):
            square = square or square_box(track.boxes[0], *frame.shape[:2])
            motion_crops.append(motion_crop(frame, points, track.boxes[0], sizes[0]))
            pose_crops.append(head_pose_crop(frame, square, sizes[1], 2 * sizes[1]))
        if len(motion_crops) < len(landmarks):
            found = start + len(motion_crops)
            raise ShapeError(f"The face track has {len(track)} frames but the video only {found}; track it again.")
        yield motion_crops, pose_crops
    if next(iterator, None) is not None:
        raise ShapeError(f"The video has more frames than the {len(track)} of the face track; track it again.")


def _to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """(H, W, 3) uint8 images to (T, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
