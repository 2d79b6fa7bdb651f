"""From pose images to what the UNet adds to its first feature map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .errors import ShapeError
from .models import PoseGuider
from .models.transfer import send
from .pose.drawing import black_pose
from .pose.sequence import Skeletons

PoseImages = np.ndarray | torch.Tensor | Skeletons
"""(1 or T, H, W, 3) RGB: uint8, or a tensor in [0, 1]."""


class PoseWindows:
    """Pose features of a video, computed for the frames that are asked for, so that memory does not grow with it.

    Those of the last window are kept, because the next one overlaps it.

    Args:
        pose_guider: Runs in its own dtype on its own device.
        pose_images: Of T frames.
        num_padding: Frames that are added at each end.
    """

    def __init__(self, pose_guider: PoseGuider, pose_images: PoseImages, num_padding: int) -> None:
        self.pose_guider = pose_guider
        self.pose_images = pose_images
        self.num_padding = num_padding
        self._kept: dict[int, torch.Tensor] = {}

    def __call__(self, frames: Sequence[int]) -> torch.Tensor:
        """Features of n frames of the padded video, (n, C₀, h, w)."""
        numbers = [frame - self.num_padding for frame in frames]
        # Release: padding has the pose image of the first frame, at both ends.
        numbers = [number if 0 <= number < len(self.pose_images) else 0 for number in numbers]
        kept = self._kept
        self._kept = {n: kept[n] if n in kept else _encode(self.pose_guider, self.pose_images[n]) for n in set(numbers)}
        return torch.cat([self._kept[number] for number in numbers])


def encode_pose_images(
    pose_guider: PoseGuider,
    pose_images: PoseImages | None,
    height: int,
    width: int,
    num_frames: int,
    num_padding: int,
) -> torch.Tensor:
    """Run the pose guider, once where the pose image is the same in all frames.

    Args:
        pose_guider: Runs in its own dtype on its own device.
        pose_images: Of one frame or of T; None is black, as released.
        height, width: H and W, of the square that is animated.
        num_frames: T.
        num_padding: Frames that are added at each end.

    Returns:
        (1, C₀, h, w) for one pose image, else (T + 2 · num_padding, C₀, h, w).

    Raises:
        ShapeError: If the pose images are not of that size, type or number.
    """
    if pose_images is None:
        pose_images = black_pose(height, width)[None]
    _check(pose_images, height, width, num_frames)
    features = [_encode(pose_guider, image) for image in pose_images]
    if len(features) > 1:
        # Release: padding has the pose image of the first frame, at both ends.
        features = [features[0]] * num_padding + features + [features[0]] * num_padding
    return torch.cat(features)


def pose_windows(
    pose_guider: PoseGuider,
    pose_images: PoseImages | None,
    height: int,
    width: int,
    num_frames: int,
    num_padding: int,
    max_cached_frames: int = 256,
) -> torch.Tensor | PoseWindows:
    """Encode pose images at once where the video is short, else window by window; the features are the same.

    Args:
        max_cached_frames: Of one feature map each, 2.6 MB in half precision at the released size.

    Raises:
        ShapeError: As ``encode_pose_images``, whose other arguments these are.
    """
    if pose_images is None or len(pose_images) == 1 or num_frames + 2 * num_padding <= max_cached_frames:
        return encode_pose_images(pose_guider, pose_images, height, width, num_frames, num_padding)
    _check(pose_images, height, width, num_frames)
    return PoseWindows(pose_guider, pose_images, num_padding)


def _check(pose_images: PoseImages, height: int, width: int, num_frames: int) -> None:
    shape = tuple(np.shape(pose_images))
    is_known = isinstance(pose_images, torch.Tensor) or getattr(pose_images, "dtype", None) == np.uint8
    if not is_known or shape[1:] != (height, width, 3) or shape[0] not in (1, num_frames):
        raise ShapeError(
            f"pose_images must be ({num_frames}, {height}, {width}, 3), or one image for all frames, of uint8 or as a "
            f"tensor in [0, 1]; got {shape} {getattr(pose_images, 'dtype', type(pose_images).__name__)}. Scale or cut "
            "them."
        )


def _encode(pose_guider: PoseGuider, image: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Run the pose guider on one image."""
    weight = pose_guider.conv_in.weight
    if not isinstance(image, torch.Tensor):
        image = send(torch.from_numpy(image.copy()), weight.device).to(weight) / 255
    return pose_guider(image.to(weight).permute(2, 0, 1)[None])
