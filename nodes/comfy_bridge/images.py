"""ComfyUI's pictures and videos, and the core's: (H, W, 3) uint8 RGB arrays, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from comfy_api.latest import Input

from ...hunyuan_core.errors import MediaError


class Frames(Protocol):
    """A video that can be gone through more than once."""

    def __len__(self) -> int:
        """Count the frames."""
        ...

    def __iter__(self) -> Iterator[np.ndarray]:
        """Go through the frames: (H, W, 3) uint8 RGB."""
        ...


class ImageFrames:
    """The pictures of an IMAGE, rounded to 8 bits one at a time.

    Args:
        images: (T, H, W, 3) float in [0, 1].
        socket: Where they arrived.
    """

    def __init__(self, images: torch.Tensor, socket: str) -> None:
        self._images = images
        self._socket = socket

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._images)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Go through the pictures.

        Raises:
            MediaError: If one is not finite; names the input and the picture.
        """
        for number, image in enumerate(self._images):
            check_finite(image, self._socket, number)
            yield to_uint8(image)


def frames_of(value: object, socket: str) -> Frames:
    """Read the frames that arrived at a socket, an IMAGE or a VIDEO.

    A VIDEO is decoded while it is gone through, so its length does not matter.

    Raises:
        MediaError: If it is neither, or empty; names the input.
    """
    if isinstance(value, Input.Video):
        from .videos import VideoFrames

        return VideoFrames(value, socket)
    return ImageFrames(images_of(value, socket, takes_video=True), socket)


def images_of(value: object, socket: str, *, takes_video: bool = False) -> torch.Tensor:
    """Check an IMAGE: (T, H, W, 3) float in [0, 1].

    Args:
        takes_video: What a message says of the socket.

    Raises:
        MediaError: If it is something else or empty; names the input.
    """
    if not isinstance(value, torch.Tensor) or value.ndim != 4 or value.shape[-1] < 3:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise MediaError(
            f"{socket} must be an IMAGE (frames, height, width, 3){' or a VIDEO' if takes_video else ''}; got {shape}. "
            f"Connect an image {'or video ' if takes_video else ''}output."
        )
    if 0 in value.shape:
        raise MediaError(f"{socket} holds no picture (shape {tuple(value.shape)}); check the node before it.")
    return value[..., :3]


def one_image(value: object, socket: str) -> np.ndarray:
    """Read a single picture as (H, W, 3) uint8 RGB.

    Raises:
        MediaError: If there are several, or it is no picture, or not finite.
    """
    images = images_of(value, socket)
    if len(images) != 1:
        raise MediaError(f"{socket} takes one picture; got {len(images)}. Pick one with 'Get Image from Batch'.")
    check_finite(images[0], socket, 0)
    return to_uint8(images[0])


def check_finite(image: torch.Tensor, socket: str, number: int) -> None:
    """Refuse what an overflow in another node has left, which would come out as black.

    Raises:
        MediaError: Names the input and the picture.
    """
    if not image.isfinite().all():
        raise MediaError(
            f"{socket} holds values in picture {number} that are not finite; check the node before it, such as a VAE "
            "that overflows in half precision (start ComfyUI with --fp32-vae)."
        )


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """(H, W, 3) float in [0, 1] to uint8, rounded."""
    return (image * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def to_image(frames: Iterable[np.ndarray], count: int | None = None) -> torch.Tensor:
    """Collect (H, W, 3) uint8 frames of one size to an IMAGE, (T, H, W, 3) float32 in [0, 1] in main memory.

    Args:
        count: How many there are, where it is known: the IMAGE is then allocated once.
    """
    if count is None:
        frames = list(frames)
        count = len(frames)
    result: torch.Tensor | None = None
    for i, frame in enumerate(frames):
        if result is None:
            result = torch.empty((count, *frame.shape), dtype=torch.float32)
        result[i] = torch.from_numpy(frame.astype(np.float32) / 255)
    if result is None:
        raise MediaError("There are no frames to make an image of.")
    return result
