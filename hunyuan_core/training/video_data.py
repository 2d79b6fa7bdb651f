"""Clips of prepared videos, as training wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..config import ModelConfig
from ..errors import ConfigurationError
from ..faces.crops import arcface_crop, head_pose_crop, image_encoder_input, square_crop, to_crop
from ..faces.identity import ArcFace
from ..faces.intensity import motion_intensity
from ..motion import INTENSITY_CHUNK
from ..pose.drawing import black_pose, draw_pose
from ..pose.keypoints import WholeBody
from .config import DataConfig
from .shards import ClipPlace, list_clips, open_clip, read_index
from .skeletons import drop_edges
from .stored_clips import Square
from .style import open_style
from .toy_data import Clip, Frames, choose_frames, cut_tiles, jitter, random_part, to_tensor
from .toyworld import IDENTITY_PARAMETERS, MOTION_PARAMETERS


class VideoClips(torch.utils.data.Dataset[Clip]):
    """As many parts of prepared clips as one asks for; number i is always the same.

    The crops of the driver and the target are cut as inference cuts those of a driving video that is this clip. The
    portrait is another frame of the clip in the same square, so that the camera stands still; the identity is that of a
    third one. What only the drawn world knows, motion and looks, is zero.

    Raises:
        ConfigurationError: If the folder has no index, no clip of enough frames, or lacks what the configuration needs.
        MediaError: If a shard is missing; reading a damaged one raises it too.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, seed: int, length: int) -> None:
        self.model = model
        self.data = data
        self.seed = seed
        self.length = length
        self.places = _places(data)

    def __len__(self) -> int:
        """Count the clips."""
        return self.length

    def __getitem__(self, index: int) -> Clip:
        """Read a clip."""
        data, size = self.data, self.data.image_size
        rng = np.random.default_rng([self.seed, index])
        place = self.places[rng.integers(len(self.places))]
        with open_clip(place) as clip:
            track, square = clip.track, clip.square
            motion_squares, keypoints = clip.array("motion_squares"), clip.array("keypoints")
            id_frames, id_embeddings = clip.array("id_frames"), clip.array("id_embeddings")
            chunk, rows = _choose_rows(rng, place, data)
            detected = np.flatnonzero(track.is_detected)
            portrait = int(rng.choice(detected))
            number = int(rng.integers(len(id_frames) or len(detected)))
            who = int((id_frames if len(id_frames) else detected)[number])
            *frames, portrait_frame, who_frame = clip.frames([*rows, portrait, who])
        if data.style_model and rng.random() < data.style_share:
            *frames, portrait_frame, who_frame = open_style(data.style_model)([*frames, portrait_frame, who_frame])

        encoders = self.model.expression.image_size, self.model.head_pose.image_size
        motion_crops = [
            square_crop(frame, _square(motion_squares[row]), encoders[0], Image.Resampling.BILINEAR)
            for frame, row in zip(frames, rows, strict=True)
        ]
        pose_crops = [head_pose_crop(frame, square, encoders[1], 2 * encoders[1]) for frame in frames]
        reference = square_crop(portrait_frame, square, size)
        face = square_crop(who_frame, square, size)
        intensity = motion_intensity(
            track.landmarks[chunk],
            levels=self.model.refiner.num_intensity_levels,
            statistic=self.model.refiner.intensity_statistic,  # pyright: ignore[reportArgumentType]
        )
        return Clip(
            target=to_tensor([square_crop(frame, square, size) for frame in frames]),
            reference=to_tensor([reference])[0],
            image=image_encoder_input(reference, self.model.vision.image_size)[0],
            identity_crop=torch.from_numpy(arcface_crop(face, to_crop(track.landmarks[who], square, size))),
            id_embedding=torch.from_numpy(
                id_embeddings[number] if len(id_embeddings) else np.zeros(ArcFace.embedding_dim, np.float32)
            ),
            motion_crops=jitter(to_tensor(motion_crops), data.colour_jitter, rng),
            head_pose_crops=to_tensor(pose_crops),
            pose_images=to_tensor(self._draw_poses(keypoints[rows] if len(keypoints) else keypoints, square, rng)),
            intensity=torch.tensor(intensity),
            motion=torch.zeros(len(rows), len(MOTION_PARAMETERS)),
            looks=torch.zeros(len(IDENTITY_PARAMETERS)),
            seed=torch.tensor(int(rng.integers(2**62))),
        )

    def _draw_poses(self, keypoints: np.ndarray, square: Square, rng: np.random.Generator) -> list[np.ndarray]:
        size = self.data.image_size
        if self.data.pose_images == "black":
            return [black_pose(size, size)]
        dropped = drop_edges(self.data.dropped_edges, rng)
        people = [WholeBody(to_crop(row[:, :2], square, size), row[:, 2].astype(np.float64)) for row in keypoints]
        return [draw_pose(person, size, size, dropped_edges=dropped) for person in people]


class VideoFrames(torch.utils.data.Dataset[Frames]):
    """As many short runs of prepared frames as one asks for, for the VAE; number i is always the same.

    Raises:
        ConfigurationError: As ``VideoClips``.
        MediaError: The same.
    """

    def __init__(self, data: DataConfig, seed: int, length: int) -> None:
        self.data = data
        self.seed = seed
        self.length = length
        self.places = _places(data)

    def __len__(self) -> int:
        """Count the runs."""
        return self.length

    def __getitem__(self, index: int) -> Frames:
        """Read a run of frames."""
        rng = np.random.default_rng([self.seed, index])
        place = self.places[rng.integers(len(self.places))]
        with open_clip(place) as clip:
            frames, square = clip.frames(_choose_rows(rng, place, self.data)[1]), clip.square
        pictures = [square_crop(frame, square, self.data.image_size) for frame in frames]
        parts = cut_tiles(to_tensor(pictures), random_part(self.data.image_size, self.data.crop_size, rng))
        return Frames(seed=torch.tensor(int(rng.integers(2**62))), frames=parts)


def _places(data: DataConfig) -> list[ClipPlace]:
    folder = Path(data.videos)
    index = read_index(folder)
    if data.pose_images == "skeleton" and "pose" not in index.settings["networks"]:
        raise ConfigurationError(
            f"data.pose_images is skeleton, but {folder} has no poses; prepare it with --dwpose, or choose black."
        )
    if data.identity == "stored" and "arcface" not in index.settings["networks"]:
        raise ConfigurationError(
            f"data.identity is stored, but {folder} has no identities; prepare it with arcface.onnx in the models "
            "folder, or choose network."
        )
    places = [place for place in list_clips(index, folder) if place.num_frames >= data.num_frames]
    if not places:
        raise ConfigurationError(
            f"{folder} has no clip of data.num_frames ({data.num_frames}) frames; lower that, or prepare other videos."
        )
    return places


def _choose_rows(rng: np.random.Generator, place: ClipPlace, data: DataConfig) -> tuple[slice, list[int]]:
    """Choose the frames that an intensity is measured on, and those of them that are trained on."""
    length = min(INTENSITY_CHUNK, place.num_frames)
    first = int(rng.integers(0, place.num_frames - length + 1))
    rows = choose_frames(rng, np.arange(first, first + length), data)
    return slice(first, first + length), rows.tolist()


def _square(values: np.ndarray) -> Square:
    x1, y1, x2, y2 = values.tolist()
    return x1, y1, x2, y2
