"""How alike two pictures are, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from ..errors import MediaError, MissingDependencyError, ShapeError
from ..faces.validation import check_image
from ..optional import require

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window; a smaller picture has no SSIM."""

PictureMetric = Callable[[np.ndarray, np.ndarray], float]
"""Compares a reference with a result, both (H, W, 3) uint8 RGB."""

_INSTALL = "pip install torchmetrics"


def frame_pairs(
    reference_frames: Iterable[np.ndarray], result_frames: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read two videos side by side, one pair in memory at a time.

    Args:
        reference_frames: (H, W, 3) uint8 RGB each.
        result_frames: The same.

    Raises:
        ShapeError: If a frame is no RGB picture or has another size than the first one of the reference, or the videos
            differ in length; names both.
        MediaError: If there are no frames.
    """
    videos = {"reference": iter(reference_frames), "result": iter(result_frames)}
    expected: tuple[int, ...] | None = None
    num_pairs = 0
    while True:
        pair = {name: frame for name, frames in videos.items() if (frame := next(frames, None)) is not None}
        if len(pair) < len(videos):
            break
        for name, frame in pair.items():
            check_image(frame)
            expected = expected or frame.shape
            if frame.shape != expected:
                raise ShapeError(
                    f"Frame {num_pairs} of the {name} is {_size(frame.shape)} but the reference begins with "
                    f"{_size(expected)} (width×height); scale one video to the size of the other."
                )
        yield pair["reference"], pair["result"]
        num_pairs += 1
    lengths = {name: num_pairs + (name in pair) + sum(1 for _ in frames) for name, frames in videos.items()}
    if lengths["reference"] != lengths["result"]:
        raise ShapeError(
            f"The reference has {lengths['reference']} frames but the result {lengths['result']}; "
            f"cut both videos to the same frames."
        )
    if num_pairs == 0:
        raise MediaError("Reference and result have no frames; give at least one frame of each.")


def picture_metrics(height: int, width: int) -> tuple[dict[str, PictureMetric], dict[str, str]]:
    """Gather the metrics that can be measured on pictures of a size.

    Returns:
        The metrics by name, and for each of the others the reason.
    """
    metrics: dict[str, PictureMetric] = {"psnr": psnr}
    if min(height, width) < SSIM_WINDOW:
        return metrics, {
            "ssim": f"needs pictures of at least {SSIM_WINDOW}×{SSIM_WINDOW} pixels; got {width}×{height}."
        }
    try:
        metrics["ssim"] = load_ssim()
    except MissingDependencyError as error:
        return metrics, {"ssim": str(error)}
    return metrics, {}


def psnr(reference: np.ndarray, result: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio, 10 log₁₀(255² / mean squared error), in dB; infinite for identical pictures.

    Args:
        reference: (H, W, 3) uint8 RGB.
        result: The same.
        mask: (H, W) bool, True in the region to compare; None compares the whole pictures.

    Raises:
        ShapeError: If the mask is of another size, or holds no pixel.
    """
    squares = np.square(reference.astype(np.float64) - result)
    if mask is not None:
        if mask.shape != reference.shape[:2] or not mask.any():
            raise ShapeError(
                f"The mask must be {_size(reference.shape)} (width×height) with a pixel that is True; got shape "
                f"{mask.shape} with {np.count_nonzero(mask)}. Choose another region."
            )
        squares = squares[mask.astype(bool)]
    error = np.mean(squares)
    return math.inf if error == 0 else float(10 * np.log10(255**2 / error))


def load_ssim() -> PictureMetric:
    """Make the structural similarity (Wang et al. 2004): Gaussian window of 11×11 pixels, σ 1.5, mean of the channels.

    As in its first publication, windows that would leave the picture are not counted.

    Raises:
        MissingDependencyError: If torchmetrics cannot be imported.
    """
    try:
        structural_similarity = require(
            "torchmetrics.functional.image", "SSIM", _INSTALL
        ).structural_similarity_index_measure
    except RuntimeError as error:
        # What torchmetrics imports, torchvision for one, fails like this where it was built for another torch.
        cause = " ".join(str(error).split())
        raise MissingDependencyError(
            f"The package 'torchmetrics' is needed for SSIM but cannot be imported ({cause}). Repair what it names, "
            f"or install it again: {_INSTALL}"
        ) from error

    border = SSIM_WINDOW // 2

    def ssim(reference: np.ndarray, result: np.ndarray) -> float:
        # On the CPU, because some GPUs have no float64.
        pictures = _batch(result), _batch(reference)
        _, full = structural_similarity(*pictures, data_range=1.0, return_full_image=True)
        # torchmetrics 1.4 leaves the border out of its mean, 1.9 counts it with mirrored pixels.
        return float(full[..., border:-border, border:-border].mean())

    return ssim


def _batch(picture: np.ndarray) -> torch.Tensor:
    # float64: variances are differences of mean squares, of which float32 leaves little in flat, bright areas.
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].double() / 255


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
