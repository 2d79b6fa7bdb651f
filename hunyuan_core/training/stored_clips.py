"""One clip as it is stored: the part of its frames that training needs, and what was found in it."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..data import FaceTrack
from ..faces.crops import motion_square, square_box

_JPEG_QUALITY = 95
IMAGE_FORMATS = ("jpeg", "png")
"""``"jpeg"`` is of quality 95 with full colour resolution, ``"png"`` keeps every pixel as it was decoded."""

Square = tuple[int, int, int, int]


@dataclass(frozen=True)
class Region:
    """The part of a video's frames that all crops of one clip lie in.

    It is stored in the video's own pixels, or smaller where neither the square that is animated nor a motion crop gets
    fewer pixels than the networks take.

    Attributes:
        box: x1, y1, x2, y2 in the frame, pixels; whole numbers where nothing is made smaller.
        size: Width and height as stored.
        square: The square that is animated, in stored pixels.
        motion_squares: (T, 4) int64, the square of each frame's motion crop, in stored pixels; may leave the region
            where it leaves the frame.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    square: Square
    motion_squares: np.ndarray

    @classmethod
    def around(cls, track: FaceTrack, height: int, width: int, size: int, motion_size: int) -> Region:
        """Choose it for a clip.

        Args:
            height: Of the frames, pixels.
            width: The same.
            size: Side to which the square that is animated will be resized.
            motion_size: That of the motion crops.

        Raises:
            ConfigurationError: If a box or landmarks are unusable.
        """
        square = np.array(square_box(track.boxes[0], height, width))
        motion = np.array([motion_square(points, track.boxes[0]) for points in track.landmarks])
        low = np.maximum(np.minimum(square[:2], motion[:, :2].min(axis=0)), 0)
        high = np.minimum(np.maximum(square[2:], motion[:, 2:].max(axis=0)), (width, height))
        sides = square[2:] - square[:2]
        scale = max(size / sides.min(), motion_size / (motion[:, 2] - motion[:, 0]).min())
        if scale >= 1:
            offset = np.tile(low, 2)
            return cls(_four([*low, *high]), _two(high - low), _ints(square - offset), motion - offset)
        # The square gets whole stored pixels, and whatever lies around it as many as there are in the frame.
        stored_sides = np.ceil(sides * scale).astype(int)
        scales = stored_sides / sides
        before = np.minimum(np.ceil((square[:2] - low) * scales), np.floor(square[:2] * scales)).astype(int)
        room = np.array([width, height]) - square[2:]
        after = np.minimum(np.ceil((high - square[2:]) * scales), np.floor(room * scales)).astype(int)
        box = np.concatenate([square[:2] - before / scales, square[2:] + after / scales])
        box = np.clip(box, 0, (width, height) * 2)  # of rounding errors
        exact = (motion - np.tile(box[:2], 2)) * np.tile(scales, 2)
        motion_sides = np.round(exact[:, 2:3] - exact[:, :1])
        corners = np.round((exact[:, :2] + exact[:, 2:] - motion_sides) / 2)
        motion = np.concatenate([corners, corners + motion_sides], axis=1).astype(int)
        return cls(_four(box), _two(before + stored_sides + after), _ints([*before, *(before + stored_sides)]), motion)

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """Cut a frame, (H, W, 3) uint8 RGB, as it is stored."""
        x1, y1, x2, y2 = (round(value) for value in self.box)
        if self.size == (x2 - x1, y2 - y1):
            return np.ascontiguousarray(frame[y1:y2, x1:x2])
        return np.asarray(Image.fromarray(frame).resize(self.size, Image.Resampling.BICUBIC, box=self.box))

    def move(self, points: np.ndarray) -> np.ndarray:
        """Take points (..., 2) from pixels of the frame to stored pixels."""
        corners = np.array(self.box)
        return (points - corners[:2]) * (np.array(self.size) / (corners[2:] - corners[:2]))


@dataclass(frozen=True, eq=False)
class StoredClip:
    """One clip; all coordinates are stored pixels.

    Attributes:
        frames: One JPEG or PNG file each.
        boxes: (T, 4) float64.
        landmarks: (T, 5, 2) float64.
        is_detected: (T,) bool.
        square: (4,) int64, of the reference, the target and the head-pose crops.
        motion_squares: (T, 4) int64.
        id_frames: (K,) int64, frames that ArcFace has looked at; none without it.
        id_embeddings: (K, 512) float32, what it saw.
        keypoints: (T, 133, 3) float32, x, y and score of the whole body; none without a pose detector.
    """

    frames: list[bytes]
    boxes: np.ndarray
    landmarks: np.ndarray
    is_detected: np.ndarray
    square: np.ndarray
    motion_squares: np.ndarray
    id_frames: np.ndarray
    id_embeddings: np.ndarray
    keypoints: np.ndarray

    @property
    def num_bytes(self) -> int:
        """Of the frames, which are nearly all."""
        return sum(map(len, self.frames))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is stored, by name: the files one after the other, where each begins, and their checksums."""
        offsets = np.cumsum([0, *map(len, self.frames)])
        arrays = {name: getattr(self, name) for name in TENSORS if name not in ("frames", "offsets", "checksums")}
        arrays["frames"] = np.frombuffer(bytearray(b"".join(self.frames)), np.uint8)
        arrays["offsets"] = offsets
        arrays["checksums"] = np.array([zlib.crc32(frame) for frame in self.frames], np.int64)
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


TENSORS = (
    "frames",
    "offsets",
    "checksums",
    "boxes",
    "landmarks",
    "is_detected",
    "square",
    "motion_squares",
    "id_frames",
    "id_embeddings",
    "keypoints",
)
"""Of each clip."""


def encode_frame(frame: np.ndarray, image_format: str) -> bytes:
    """Pack a frame, (H, W, 3) uint8 RGB, as one of ``IMAGE_FORMATS``."""
    buffer = io.BytesIO()
    picture = Image.fromarray(frame)
    if image_format == "png":
        picture.save(buffer, "PNG", compress_level=4)
    else:
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def decode_frame(data: bytes) -> np.ndarray:
    """Undo ``encode_frame``.

    Raises:
        OSError: If it is no picture.
    """
    return np.asarray(Image.open(io.BytesIO(data), formats=[name.upper() for name in IMAGE_FORMATS]).convert("RGB"))


def _ints(values: np.ndarray | list[int]) -> Square:
    x1, y1, x2, y2 = (int(value) for value in values)
    return x1, y1, x2, y2


def _two(values: np.ndarray) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _four(values: np.ndarray | list[int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2
