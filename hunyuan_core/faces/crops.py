"""Crops of the portrait and the driving frames, as the released model was trained with them.

Every function takes pixel coordinates of the image it is given. All of them equal the released inference within 1/255.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image

from ..errors import ConfigurationError, ShapeError
from .validation import as_box, as_landmarks, box_text, check_image, check_overlap

ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the five landmarks lie in ArcFace's image."""
ARCFACE_SIZE = 112
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def square_box(box: ArrayLike, height: int, width: int, growth: float = 1.0) -> tuple[int, int, int, int]:
    """Choose the square of an image that is animated around a face.

    The box grows on each side by ``growth`` times its own width or height and is cut to the image. Of that, the largest
    square is taken, as near to the centre of the face as it goes.

    Args:
        box: x1, y1, x2, y2; may leave the image in part.

    Returns:
        x1, y1, x2, y2 inside the image. The sides may differ by one pixel, because each corner is rounded on its own.

    Raises:
        ConfigurationError: If the box is not one, lies outside the image, or leaves no pixel.
    """
    face = as_box(box)
    check_overlap(face, height, width)
    size = face[2:] - face[:2]
    low = np.maximum(face[:2] - growth * size, 0)
    high = np.minimum(face[2:] + growth * size, (width, height))
    sides = high - low
    side = sides.min()
    slack = (sides - side) / 2
    centre = (low + high) / 2
    centre += np.clip((face[:2] + face[2:]) / 2 - centre, -slack, slack)
    x1, y1, x2, y2 = (round(float(value)) for value in (*(centre - side / 2), *(centre + side / 2)))
    if x1 >= x2 or y1 >= y2:
        raise ConfigurationError(f"The face box {box_text(face)} is smaller than a pixel; give a larger one.")
    return x1, y1, x2, y2


def to_crop(landmarks: ArrayLike, square: tuple[int, int, int, int], size: int = 512) -> np.ndarray:
    """Move points from an image to its resized crop.

    Args:
        landmarks: (..., 2), pixels of the image.
        square: What ``square_box`` gave for the image.
        size: Side of the resized crop.

    Returns:
        (..., 2) float64, pixels of the crop.
    """
    corners = np.asarray(square, dtype=np.float64)
    return (np.asarray(landmarks, dtype=np.float64) - corners[:2]) * (size / (corners[2:] - corners[:2]))


def reference_crop(image: np.ndarray, box: ArrayLike, size: int = 512) -> np.ndarray:
    """Cut the portrait to the square around its face.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (size, size, 3) uint8 RGB; bicubic.

    Raises:
        ConfigurationError: If the box is unusable, as in ``square_box``.
    """
    check_image(image)
    return square_crop(image, square_box(box, *image.shape[:2]), size)


def square_crop(
    image: np.ndarray,
    square: tuple[int, int, int, int],
    size: int = 512,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> np.ndarray:
    """Cut a picture to a square and resize that.

    Args:
        image: (H, W, 3) uint8 RGB.
        square: As ``square_box`` gives it, for the reference, or ``motion_square``, which goes with bilinear.

    Returns:
        (size, size, 3) uint8 RGB, black where the square leaves the picture.
    """
    check_image(image)
    return np.asarray(_crop(image, square).resize((size, size), resample))


def head_pose_crop(
    frame: np.ndarray, square: tuple[int, int, int, int], size: int = 256, reference_size: int = 512
) -> np.ndarray:
    """Cut a driving frame to the square around the face of the first driving frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        square: ``square_box`` of the first frame's box; the same for every frame.
        reference_size: Side of the intermediate picture.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    check_image(frame)
    # Release: two resizes, and the values are rounded to uint8 between them (tests/parity/test_golden_faces.py).
    large = _crop(frame, square).resize((reference_size, reference_size), Image.Resampling.BICUBIC)
    return np.asarray(large.resize((size, size), Image.Resampling.BILINEAR))


def motion_crop(
    frame: np.ndarray, landmarks: ArrayLike, first_box: ArrayLike, size: int = 256, towards_box: float = 0.45
) -> np.ndarray:
    """Cut a driving frame to what shows the expression: about from the eyebrows to below the mouth.

    Args:
        frame: (H, W, 3) uint8 RGB.
        landmarks: (5, 2), of this frame.
        first_box: x1, y1, x2, y2 of the face in the first driving frame.
        towards_box: How far each side of the landmarks' bounding box moves to the same side of ``first_box``.

    Returns:
        (size, size, 3) uint8 RGB, black where the square leaves the frame.

    Raises:
        ConfigurationError: If box or landmarks are unusable or the square is smaller than two pixels.
    """
    check_image(frame)
    check_overlap(as_box(first_box), *frame.shape[:2])
    return square_crop(frame, motion_square(landmarks, first_box, towards_box), size, Image.Resampling.BILINEAR)


def motion_square(landmarks: ArrayLike, first_box: ArrayLike, towards_box: float = 0.45) -> tuple[int, int, int, int]:
    """Choose the square of ``motion_crop``.

    Returns:
        x1, y1, x2, y2; may leave the frame.

    Raises:
        ConfigurationError: If box or landmarks are unusable or the square is smaller than two pixels.
    """
    points = as_landmarks(landmarks)
    # Release: the box of the first frame, not of this one, so that the crop does not follow the box's jitter.
    first = as_box(first_box)
    inner = np.concatenate([points.min(axis=0), points.max(axis=0)])
    region = inner + towards_box * (first - inner)
    # Release: truncated, not rounded.
    half = int(max(region[2:] - region[:2])) // 2
    x, y = (int(value) for value in (region[:2] + region[2:]) / 2)
    if half < 1:
        raise ConfigurationError(
            f"The landmarks and the face box {box_text(first)} span less than two pixels; "
            f"use a larger video or check the landmarks."
        )
    return x - half, y - half, x + half, y + half


def arcface_crop(reference: np.ndarray, landmarks: ArrayLike) -> np.ndarray:
    """Align a face for ArcFace: the similarity that brings its landmarks nearest to the template, in least squares.

    Args:
        reference: (H, W, 3) uint8 RGB, the resized reference.
        landmarks: (5, 2), pixels of the reference (see ``to_crop``).

    Returns:
        (112, 112, 3) float32 RGB in [0, 1]; bilinear, black where it leaves the reference.

    Raises:
        ConfigurationError: If the landmarks are not five points, all the same, or cannot be turned onto the template.
    """
    check_image(reference)
    turn, shift = arcface_similarity(as_landmarks(landmarks))
    columns, rows = np.meshgrid(np.arange(ARCFACE_SIZE), np.arange(ARCFACE_SIZE))
    source = (columns + 1j * rows - shift) / turn  # (112, 112), x + iy in the reference
    height, width = reference.shape[:2]
    # grid_sample counts from -1 to 1 over the pixels' outer edges.
    grid = np.stack([(2 * source.real + 1) / width - 1, (2 * source.imag + 1) / height - 1], axis=-1)
    # Not cv2.warpAffine: before OpenCV 5 it rounds coordinates to 1/32 pixel, which is off by more than 1/255.
    pixels = torch.from_numpy(np.array(reference)).permute(2, 0, 1)[None].double() / 255
    warped = torch.nn.functional.grid_sample(
        pixels, torch.from_numpy(grid)[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return warped[0].permute(1, 2, 0).float().numpy()


def arcface_similarity(landmarks: np.ndarray) -> tuple[complex, complex]:
    """Fit template ≈ turn · landmarks + shift, over points read as complex numbers x + iy.

    Without the freedom to mirror, this is the closed form of the least-squares similarity (Umeyama 1991).

    Args:
        landmarks: (5, 2) pixels, not all the same.

    Raises:
        ConfigurationError: If no rotation brings them nearer to the template than a point would be.
    """
    points, template = (array[:, 0] + 1j * array[:, 1] for array in (landmarks, ARCFACE_TEMPLATE))
    centred = points - points.mean()
    turn = complex(np.vdot(centred, template - template.mean()) / np.vdot(centred, centred))
    if turn == 0:
        raise ConfigurationError(f"The landmarks {landmarks.tolist()} do not lie as a face's do; check their order.")
    return turn, complex(template.mean() - turn * points.mean())


def image_encoder_input(reference: np.ndarray, size: int = 224) -> torch.Tensor:
    """Prepare the reference for DINOv2.

    Args:
        reference: (H, W, 3) uint8 RGB.

    Returns:
        (1, 3, size, size) float32 with ImageNet's mean and deviation taken out; antialiased bilinear.
    """
    check_image(reference)
    image = torch.from_numpy(np.array(reference)).permute(2, 0, 1)[None].float() / 255
    image = torch.nn.functional.interpolate(image, (size, size), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


def _crop(image: np.ndarray, box: tuple[int, int, int, int]) -> Image.Image:
    x1, y1, x2, y2 = box
    if x1 >= x2 or y1 >= y2:
        raise ShapeError(f"A crop needs x1 < x2 and y1 < y2; got {box}.")
    height, width = image.shape[:2]
    left, right = np.clip((x1, x2), 0, width)
    top, bottom = np.clip((y1, y2), 0, height)
    # Not Pillow's crop, which would first copy the whole picture, up to 100 megapixels.
    square = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    square[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return Image.fromarray(square)
