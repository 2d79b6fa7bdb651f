"""Clips of the drawn world, as training wants them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..appearance import cut_reference
from ..config import ModelConfig
from ..faces.crops import arcface_crop, head_pose_crop, image_encoder_input, motion_crop, square_box
from ..faces.identity import ArcFace
from ..faces.intensity import motion_intensity
from ..motion import INTENSITY_CHUNK
from ..pose.drawing import black_pose
from .config import DataConfig
from .skeletons import draw_skeletons
from .style import open_style
from .toyworld import (
    LANDMARK_GROUPS,
    MOTION_RANGES,
    Identity,
    Painter,
    face,
    face_box,
    face_mask,
    face_track,
    identity_parameters,
    landmarks,
    random_identity,
    random_motion,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_LOW, _HIGH = np.array(list(MOTION_RANGES.values()), dtype=np.float32).T


@dataclass(eq=False)
class Example:
    """Tensors of one example, or of a batch of B with one more dimension in front.

    Attributes:
        seed: () int64, of all noise that belongs to the example.
    """

    seed: torch.Tensor

    @classmethod
    def stack(cls, examples: list[Self]) -> Self:
        """Join examples to a batch."""
        names = [f.name for f in fields(cls)]
        return cls(**{name: torch.stack([getattr(example, name) for example in examples]) for name in names})

    def to(self, device: torch.device) -> Self:
        """Move all tensors."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


@dataclass(eq=False)
class Frames(Example):
    """Frames that follow each other, for the VAE.

    Attributes:
        frames: (T, 3, S, S) uint8.
        features: As of a Clip.
    """

    frames: torch.Tensor
    features: torch.Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(eq=False)
class Clip(Example):
    """One clip for everything else.

    Attributes:
        target: (T, 3, S, S) uint8, the frames to predict.
        reference: (3, S, S) uint8, the portrait.
        image: (3, S', S') float32, the portrait as the image encoder takes it.
        identity_crop: (112, 112, 3) float32 in [0, 1], the person as ArcFace takes it.
        id_embedding: (512,) float32, what ArcFace made of it; zeros where that is not known.
        motion_crops: (T, 3, E, E) uint8 of the driver.
        head_pose_crops: (T, 3, P, P) uint8 of the driver.
        pose_images: (T, 3, S, S) uint8; (1, 3, S, S) where they are black.
        intensity: (2,) int64, head and expression.
        motion: (T, 11) float32, the true motion, each parameter's range mapped to [-1, 1]; zeros where unknown.
        looks: (29,) float32, the true identity; zeros where unknown.
        features: (T, S/8, S/8) float32, 1 where the target's eyes, brows and mouth are, else 0; empty where unknown.
        face: (T, S/8, S/8) float32, share of the target's tile of 8x8 pixels that is face; empty where unknown.
        target_latents: (T, C, h, w) float32, not scaled, in the place of ``target``, which is then empty; else empty.
        reference_latents: (C, h, w) float32 of the reference, likewise.
    """

    target: torch.Tensor
    reference: torch.Tensor
    image: torch.Tensor
    identity_crop: torch.Tensor
    id_embedding: torch.Tensor
    motion_crops: torch.Tensor
    head_pose_crops: torch.Tensor
    pose_images: torch.Tensor
    intensity: torch.Tensor
    motion: torch.Tensor
    looks: torch.Tensor
    features: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    face: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    target_latents: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    reference_latents: torch.Tensor = field(default_factory=lambda: torch.zeros(0))


class ToyClips(torch.utils.data.Dataset[Clip]):
    """As many clips of the drawn world as one asks for; clip i is always the same.

    The portrait is a frame of the person in another motion, the identity's crop is taken from it. The driver is the
    person itself or somebody else with the same motion, which is what cross-reenactment should undo.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, seed: int, length: int) -> None:
        self.model = model
        self.data = data
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        """Count the clips."""
        return self.length

    def __getitem__(self, index: int) -> Clip:
        """Draw a clip."""
        data, size = self.data, self.data.image_size
        rng = np.random.default_rng([self.seed, index])
        person = random_identity(rng)
        is_other = rng.random() < data.other_driver_share
        performer = random_identity(rng) if is_other else person
        motion = random_motion(rng, INTENSITY_CHUNK)
        rows = choose_frames(rng, motion, data)
        pose = random_motion(rng, 1)[0] if rng.random() < 0.7 else motion[rng.integers(len(motion))]

        painter = Painter(person, size)
        target = [painter.draw(row) for row in rows]
        driver = list(map(Painter(performer, size).draw, rows)) if is_other else target
        portrait = painter.draw(pose)
        if data.style_model and rng.random() < data.style_share:
            redraw = open_style(data.style_model)
            driver = redraw(driver)
            target = redraw(target) if is_other else driver
            (portrait,) = redraw([portrait])
        reference = cut_reference(portrait, face(person, pose, size), size)
        # As in inference, the boxes of all crops are that of the driving video's first frame.
        first = face_box(performer, motion[0], size)
        square = square_box(first, size, size)
        encoders = self.model.expression.image_size, self.model.head_pose.image_size
        motion_crops = [
            motion_crop(frame, face(performer, row, size).landmarks, first, encoders[0])
            for frame, row in zip(driver, rows, strict=True)
        ]
        pose_crops = [head_pose_crop(frame, square, encoders[1], 2 * encoders[1]) for frame in driver]
        intensity = motion_intensity(
            face_track(performer, motion, size).landmarks,
            levels=self.model.refiner.num_intensity_levels,
            statistic=self.model.refiner.intensity_statistic,  # pyright: ignore[reportArgumentType]
        )
        return Clip(
            target=to_tensor(target),
            reference=to_tensor([reference.image])[0],
            image=image_encoder_input(reference.image, self.model.vision.image_size)[0],
            identity_crop=torch.from_numpy(arcface_crop(reference.image, reference.landmarks)),
            id_embedding=torch.zeros(ArcFace.embedding_dim),
            motion_crops=jitter(to_tensor(motion_crops), data.colour_jitter, rng),
            head_pose_crops=to_tensor(pose_crops),
            pose_images=to_tensor(self._draw_poses(person, rows, rng)),
            intensity=torch.tensor(intensity),
            motion=torch.from_numpy((rows - _LOW) / (_HIGH - _LOW) * 2 - 1),
            looks=torch.from_numpy(identity_parameters(person)),
            features=torch.from_numpy(np.stack([find_features(person, row, size) for row in rows])),
            face=torch.from_numpy(np.stack([find_face(person, row, size) for row in rows])),
            seed=torch.tensor(int(rng.integers(2**62))),
        )

    def _draw_poses(self, person: Identity, rows: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        size = self.data.image_size
        if self.data.pose_images == "black":
            return [black_pose(size, size)]
        return draw_skeletons(person, rows, size, self.data.dropped_edges, rng)


class ToyFrames(torch.utils.data.Dataset[Frames]):
    """As many short clips of the drawn world as one asks for, without a driver; number i is always the same."""

    def __init__(self, data: DataConfig, seed: int, length: int) -> None:
        self.data = data
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        """Count the clips."""
        return self.length

    def __getitem__(self, index: int) -> Frames:
        """Draw a clip."""
        rng = np.random.default_rng([self.seed, index])
        person, size = random_identity(rng), self.data.image_size
        painter = Painter(person, size)
        rows = choose_frames(rng, random_motion(rng, INTENSITY_CHUNK), self.data)
        part = random_part(size, self.data.crop_size, rng)
        features = torch.from_numpy(np.stack([find_features(person, row, size) for row in rows]))
        return Frames(
            frames=cut_tiles(to_tensor([painter.draw(row) for row in rows]), part),
            features=features[:, part[0], part[1]],
            seed=torch.tensor(int(rng.integers(2**62))),
        )


def find_features(person: Identity, motion: np.ndarray, size: int) -> np.ndarray:
    """Mark the tiles of 8x8 pixels on which an eye with its brow, or the mouth, lies.

    Args:
        motion: (11,) of one frame.

    Returns:
        (size/8, size/8) float32, 1 there and 0 elsewhere.
    """
    points = landmarks(person, motion, size)
    tiles = np.zeros((size // 8, size // 8), dtype=np.float32)
    for names in (("left_eye", "left_brow"), ("right_eye", "right_brow"), ("mouth",)):
        part = np.concatenate([points[LANDMARK_GROUPS[name]] for name in names])
        (left, top), (right, bottom) = (np.clip(part.min(0), 0, None) // 8).astype(int), (part.max(0) // 8).astype(int)
        tiles[top : bottom + 1, left : right + 1] = 1
    return tiles


def find_face(person: Identity, motion: np.ndarray, size: int) -> np.ndarray:
    """Tell how much of each tile of 8x8 pixels is face.

    Args:
        motion: (11,) of one frame.

    Returns:
        (size/8, size/8) float32 in [0, 1].
    """
    mask = face_mask(person, motion, size).astype(np.float32)
    return mask.reshape(size // 8, 8, size // 8, 8).mean((1, 3))


def random_part(size: int, side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Choose a square part of square pictures: rows and columns of tiles of 8x8 pixels; of side 0 it is all."""
    if side == 0:
        return slice(None), slice(None)
    y, x = rng.integers(0, (size - side) // 8 + 1, 2)
    return slice(y, y + side // 8), slice(x, x + side // 8)


def cut_tiles(frames: torch.Tensor, part: tuple[slice, slice]) -> torch.Tensor:
    """Cut a part, of ``random_part``, out of pictures, (..., S, S)."""
    tiles = frames.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8))
    return tiles[..., part[0], :, part[1], :].flatten(-4, -3).flatten(-2, -1).contiguous()


def choose_frames(rng: np.random.Generator, motion: np.ndarray, data: DataConfig) -> np.ndarray:
    """Take evenly spaced rows of an array of at least ``num_frames``, whose first dimension is time."""
    last = max(data.num_frames - 1, 1)
    stride = min(int(rng.integers(1, data.max_stride + 1)), (len(motion) - 1) // last)
    start = int(rng.integers(0, len(motion) - stride * (data.num_frames - 1)))
    return motion[start:][::stride][: data.num_frames]


def jitter(frames: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """Change brightness, contrast and saturation of a clip, the same in all its frames.

    Args:
        frames: (T, 3, H, W) uint8.
        strength: Largest change, as a share; 0 changes nothing.
    """
    if strength == 0:
        return frames
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    x = frames.float() * brightness
    mean = x.mean()
    x = (x - mean) * contrast + mean
    grey = x.mean(1, keepdim=True)
    return ((x - grey) * saturation + grey).clamp(0, 255).round().to(torch.uint8)


def to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """(H, W, 3) uint8 images to (T, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
