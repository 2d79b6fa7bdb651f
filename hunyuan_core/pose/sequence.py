"""Skeleton images of a whole video, drawn when they are asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from ..errors import FaceNotFoundError
from ..overlap import read_ahead
from .alignment import align_poses
from .drawing import draw_pose
from .keypoints import NUM_POINTS, WholeBody, WholeBodyDetector

_MAX_PACKED = 4096
"""Drawings that are kept packed, 11 kB each at 512×512."""


@dataclass(frozen=True, eq=False)
class Skeletons:
    """The skeleton in each frame of a video, as keypoints of 3 kB; indexing draws one, (H, W, 3) uint8 RGB.

    In the place of pose images of the same shape it saves their memory, 0.8 MB a frame at 512×512.

    Attributes:
        points: (T, 133, 2) float64, pixels of the drawings.
        scores: (T, 133) float64; 0 where nobody is.
        height: Of the drawings, pixels.
        width: The same.
    """

    points: np.ndarray
    scores: np.ndarray
    height: int
    width: int
    _packed: Callable[[int], bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Keep drawings, because each step of the sampling asks for all of them."""
        object.__setattr__(self, "_packed", lru_cache(_MAX_PACKED)(self._draw))

    @classmethod
    def of(cls, poses: Sequence[WholeBody | None], height: int, width: int) -> Skeletons:
        """Gather the poses of a video; None is nobody, which is drawn black."""
        points, scores = np.zeros((len(poses), NUM_POINTS, 2)), np.zeros((len(poses), NUM_POINTS))
        for number, pose in enumerate(poses):
            if pose is not None:
                points[number], scores[number] = pose.points, pose.scores
        return cls(points, scores, height, width)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, 3)."""
        return len(self), self.height, self.width, 3

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Skeletons:
        """Undo ``tensors``."""
        height, width = tensors["size"].tolist()
        return cls(tensors["points"].numpy(), tensors["scores"].numpy(), height, width)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that determines the drawings."""
        size = torch.tensor([self.height, self.width])
        return {"points": torch.from_numpy(self.points), "scores": torch.from_numpy(self.scores), "size": size}

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.points)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Draw all frames, one after the other."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> np.ndarray:
        """Draw one frame, or unpack its drawing; not to be written to.

        Raises:
            IndexError: If there is no such frame.
        """
        return np.frombuffer(zlib.decompress(self._packed(number)), np.uint8).reshape(self.shape[1:])

    def _draw(self, number: int) -> bytes:
        pose = WholeBody(self.points[number], self.scores[number])
        return zlib.compress(draw_pose(pose, self.height, self.width).tobytes(), level=1)


def draw_skeletons(
    reference: np.ndarray,
    frames: Iterable[np.ndarray],
    detector: WholeBodyDetector,
    *,
    is_cross_reenactment: bool = True,
    on_frame: Callable[[int], None] | None = None,
) -> Skeletons:
    """Find the driver's skeleton in each frame, fitted to the portrait; it is drawn when it is asked for.

    The largest person of each picture is taken. Frames without anybody are black.

    Args:
        reference: (H, W, 3) uint8 RGB, the square crop of the portrait; the drawings have its size.
        frames: (H', W', 3) uint8 RGB each.
        detector: Finds the keypoints.
        is_cross_reenactment: Whether portrait and driver are different people; the eyes are then left out.
        on_frame: Called with the number of each frame, from 0, once it was searched.

    Returns:
        T drawings, for ``Pipeline.sample``.

    Raises:
        FaceNotFoundError: If nobody is found in the portrait or in the video, or the two have nothing in common.
    """
    portrait, poses = find_poses(reference, frames, detector, on_frame)
    height, width = reference.shape[:2]
    return Skeletons.of(align_poses(portrait, poses, is_cross_reenactment=is_cross_reenactment), height, width)


def find_poses(
    reference: np.ndarray,
    frames: Iterable[np.ndarray],
    detector: WholeBodyDetector,
    on_frame: Callable[[int], None] | None = None,
) -> tuple[WholeBody, list[WholeBody | None]]:
    """Find the largest person of the portrait and of each frame.

    Args:
        reference: (H, W, 3) uint8 RGB, the square crop of the portrait.
        frames: (H', W', 3) uint8 RGB each; gone through once.
        on_frame: Called with the number of each frame, from 0, once it was searched.

    Returns:
        The portrait's keypoints and those of each frame, None where there is nobody.

    Raises:
        FaceNotFoundError: If nobody is found in the portrait.
    """
    portrait = largest(detector.detect(reference))
    if portrait is None:
        raise FaceNotFoundError(
            "The skeleton cannot be aligned: nobody was detected in the portrait; use one that shows more of the "
            "person, or black pose images (no pose detector)."
        )
    poses = []
    with read_ahead(frames) as read:
        for number, frame in enumerate(read):
            poses.append(largest(detector.detect(frame)))
            if on_frame is not None:
                on_frame(number)
    return portrait, poses


def draw_aligned(
    portrait: WholeBody,
    poses: Sequence[WholeBody | None],
    height: int,
    width: int,
    *,
    is_cross_reenactment: bool = True,
    on_frame: Callable[[int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Draw the driver's skeleton of each frame, fitted to the portrait, one picture at a time.

    Args:
        portrait: Keypoints in pixels of the drawings.
        poses: Of each frame; None where there is nobody, which is drawn black.
        height: Of the drawings, pixels.
        width: The same.
        is_cross_reenactment: Whether portrait and driver are different people; the eyes are then left out.
        on_frame: Called with the number of each frame, from 0, before it is drawn.

    Returns:
        (H, W, 3) uint8 RGB each.

    Raises:
        FaceNotFoundError: If nobody is found in the video, or it has nothing in common with the portrait; at once.
    """
    aligned = align_poses(portrait, poses, is_cross_reenactment=is_cross_reenactment)

    def drawn() -> Iterator[np.ndarray]:
        for number, pose in enumerate(aligned):
            if on_frame is not None:
                on_frame(number)
            yield draw_pose(pose, height, width)

    return drawn()


def largest(people: Sequence[WholeBody]) -> WholeBody | None:
    """Pick the person with the largest box from what a detector answered; None if there is nobody."""
    return people[0] if people else None
