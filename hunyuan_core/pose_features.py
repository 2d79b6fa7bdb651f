"""From pose images to what the UNet adds to its first feature map."""

from __future__ import annotations

import numpy as np
import torch

from .errors import ShapeError
from .models import PoseGuider
from .pose.drawing import black_pose


def encode_pose_images(
    pose_guider: PoseGuider,
    pose_images: np.ndarray | torch.Tensor | None,
    height: int,
    width: int,
    num_frames: int,
    num_padding: int,
) -> torch.Tensor:
    """Run the pose guider, once where the pose image is the same in all frames.

    Args:
        pose_guider: Runs in its own dtype on its own device.
        pose_images: (1 or T, H, W, 3) RGB, an array of uint8 or a tensor in [0, 1]; None is black, as released.
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
    shape = tuple(np.shape(pose_images))
    is_known = isinstance(pose_images, torch.Tensor) or getattr(pose_images, "dtype", None) == np.uint8
    if not is_known or shape[1:] != (height, width, 3) or shape[0] not in (1, num_frames):
        raise ShapeError(
            f"pose_images must be ({num_frames}, {height}, {width}, 3), or one image for all frames, of uint8 or as a "
            f"tensor in [0, 1]; got {shape} {getattr(pose_images, 'dtype', type(pose_images).__name__)}."
        )
    weight = pose_guider.conv_in.weight
    features = []
    for image in pose_images:
        if isinstance(image, torch.Tensor):
            pixels = image.to(weight)
        else:
            pixels = torch.from_numpy(image.copy()).to(weight) / 255
        features.append(pose_guider(pixels.permute(2, 0, 1)[None]))
    if len(features) > 1:
        # Release: padding has the pose image of the first frame, at both ends.
        features = [features[0]] * num_padding + features + [features[0]] * num_padding
    return torch.cat(features)
