"""How alike two motions are whose parameters are known exactly, as those of a renderer are."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError


def parameter_distance(reference: np.ndarray, result: np.ndarray, period: float | None = None) -> np.ndarray:
    """Average the absolute differences of the parameters of each frame.

    With expression parameters this is the exact AED, with head rotation and translation the exact APD (Manhattan
    distance as in appendix A of the paper, over the number of parameters).

    Args:
        reference: (T, P), each parameter in its own unit.
        result: The same.
        period: Of angles: from 179 to -179 degrees it is 2 with a period of 360. None for what does not wrap.

    Returns:
        (T,) in the parameters' unit.

    Raises:
        ShapeError: If the two are not (T, P) alike.
    """
    a, b = _pair(reference, result)
    difference = np.abs(a - b)
    if period is not None:
        difference = difference % period
        difference = np.minimum(difference, period - difference)
    return difference.mean(axis=1)


def parameter_correlation(reference: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Correlate each parameter over the frames (Pearson).

    Args:
        reference: (T, P).
        result: The same.

    Returns:
        (P,) in [-1, 1]; NaN where a parameter does not move in one of the two.

    Raises:
        ShapeError: If the two are not (T, P) alike.
    """
    a, b = (values - values.mean(axis=0) for values in _pair(reference, result))
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return np.divide((a * b).sum(axis=0), scale, out=np.full(a.shape[1], np.nan), where=scale > 0)


def _pair(reference: np.ndarray, result: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(reference, np.float64), np.asarray(result, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise ShapeError(f"Parameters must be two arrays of one shape (T, P); got {a.shape} and {b.shape}.")
    return a, b
