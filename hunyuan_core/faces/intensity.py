"""How strongly a driving video moves, as buckets that choose the refiner's embeddings."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..data import NOSE
from ..errors import ConfigurationError, ShapeError


def motion_intensity(
    landmarks: np.ndarray,
    *,
    levels: int = 128,
    statistic: Literal["mean", "rms"] = "mean",
    head_range: float = 0.5,
    expression_range: float = 0.125,
) -> tuple[int, int]:
    """Measure head motion and change of expression in one chunk of frames (eqs. 2-3).

    With e the points relative to the nose and s the diagonal of e's bounding box in the first frame, the expression's
    intensity averages ‖e[k, j] − mean_k e[k, j]‖ / s over frames k and points j; the head's does so with the nose.

    The released weights take the plain mean and 128 levels (the defaults). The paper has 64 levels and root mean
    squares: ``levels=64, statistic="rms"``.

    Args:
        landmarks: (T, N, 2) pixels, the nose tip at index 2.
        levels: Number of buckets.
        statistic: ``"mean"``, or ``"rms"``: root mean square over the points of a frame for the expression (then the
            mean over frames), over the frames for the head.
        head_range: Head intensity, in face sizes, at which the last bucket ends; what exceeds it falls into that too.
        expression_range: The same for the expression.

    Returns:
        Head and expression bucket, each in 0..levels-1; both 0 for a face without extent.

    Raises:
        ShapeError: If the landmarks are not (T, N, 2) with at least one frame and a nose.
        ConfigurationError: If a landmark is not finite, or an option is unknown or out of range.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 3 or points.shape[0] == 0 or points.shape[1] <= NOSE or points.shape[2] != 2:
        raise ShapeError(f"Expected landmarks (T, N, 2) with T >= 1 and the nose at index {NOSE}; got {points.shape}.")
    if not np.isfinite(points).all():
        frame = int(np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))[0])
        raise ConfigurationError(f"The landmarks of frame {frame} are not finite numbers; check the face detection.")
    if statistic not in ("mean", "rms"):
        raise ConfigurationError(f'statistic must be "mean" (released) or "rms" (paper); got {statistic!r}.')
    if levels < 1 or not head_range > 0 or not expression_range > 0:
        raise ConfigurationError(
            f"levels, head_range and expression_range must be positive; got {levels}, {head_range}, {expression_range}."
        )
    nose = points[:, NOSE]
    relative = points - nose[:, None]
    scale = np.linalg.norm(np.ptp(relative[0], axis=0))
    if scale == 0:
        return 0, 0
    head = np.linalg.norm(nose - nose.mean(axis=0), axis=-1)  # (T,)
    expression = np.linalg.norm(relative - relative.mean(axis=0), axis=-1)  # (T, N)
    if statistic == "rms":
        head_intensity = np.sqrt(np.mean(head**2))
        expression_intensity = np.sqrt(np.mean(expression**2, axis=1)).mean()
    else:
        head_intensity, expression_intensity = head.mean(), expression.mean()
    return (
        _bucket(float(head_intensity / scale), head_range, levels),
        _bucket(float(expression_intensity / scale), expression_range, levels),
    )


def chunk_intensities(
    landmarks: np.ndarray,
    chunk: int = 25,
    *,
    levels: int = 128,
    statistic: Literal["mean", "rms"] = "mean",
) -> list[tuple[int, int]]:
    """Measure a whole video in chunks, of which the last may be shorter.

    Args:
        landmarks: (T, N, 2) pixels, the nose tip at index 2.
        chunk: Frames in a chunk.

    Returns:
        Head and expression bucket of each chunk, as ``motion_intensity`` gives them.
    """
    if chunk < 1:
        raise ConfigurationError(f"chunk must be at least 1 frame; got {chunk}.")
    return [
        motion_intensity(landmarks[start : start + chunk], levels=levels, statistic=statistic)
        for start in range(0, len(landmarks), chunk)
    ]


def _bucket(intensity: float, intensity_range: float, levels: int) -> int:
    return min(int(intensity / intensity_range * levels), levels - 1)
