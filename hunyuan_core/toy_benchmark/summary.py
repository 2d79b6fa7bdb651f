"""Figures of many pairs, and whether they are good enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation.face_metrics import landmark_distance
from ..evaluation.parameters import parameter_correlation, parameter_distance
from ..training.toyworld import IDENTITY_PARAMETERS, MOTION_PARAMETERS, MOTION_RANGES
from .measuring import BASELINES, VIDEOS, Outcome

OPEN_EYES = 0.5
"""Largest true blink of frames that gaze is judged by: behind a lid there is none to be read."""

_GAZE = ("gaze_x", "gaze_y")
_BLINK = MOTION_PARAMETERS.index("blink")
# Yaw, pitch, roll and translation lead the parameters; the ranges of angles are symmetric.
_ROTATION, _EXPRESSION = slice(0, 3), slice(5, None)
_DEGREES = np.array(list(MOTION_RANGES.values()))[_ROTATION, 1]
_FACE = [i for i, name in enumerate(IDENTITY_PARAMETERS) if not name.startswith(("clothes", "background"))]


@dataclass(frozen=True)
class Gate:
    """A figure that has to be reached.

    Attributes:
        limit: Reached when the figure is this, or on the better side of it.
    """

    name: str
    limit: float
    is_higher_better: bool
    means: str


GATES = (
    Gate("psnr_gain", 6.0, True, "dB of the result above the best baseline, in the region of the true face"),
    Gate("lmd_share", 0.25, False, "landmark distance of the result, read, by that of the portrait held still, exact"),
    *(
        Gate(f"correlation_{name}", 0.9, True, "read from the result, with the driver's over all frames of all pairs")
        for name in MOTION_PARAMETERS
    ),
    Gate("identity_share", 0.97, True, "share of pairs whose result looks more like the portrait than like the driver"),
)


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Average over pairs.

    Returns:
        ``exact``, which needs no reader, and by the names of VIDEOS what was measured: ``psnr`` in dB and
        ``psnr_of_pairs``, infinite where all is equal; ``lmd`` in pixels; ``aed`` and ``apd``, mean absolute errors of
        the expression in halves of the ranges and of the rotation in degrees; ``correlation`` by parameter, gaze over
        frames whose true blink is at most OPEN_EYES, NaN where a parameter does not move; ``identity_share``, and
        ``identity_share_face`` without clothes and background.
    """
    motion = np.concatenate([pair.motion for pair in outcomes])
    still = np.concatenate([np.broadcast_to(pair.pose, pair.motion.shape) for pair in outcomes])
    exact = {
        "held_still_lmd": _lmd(outcomes, [np.broadcast_to(p.held_landmarks, p.landmarks.shape) for p in outcomes]),
        "held_still_aed": _aed(motion, still),
        "held_still_apd": _apd(motion, still),
    }
    return {"exact": exact, **{name: _summarise_video(outcomes, name, motion) for name in VIDEOS}}


def _summarise_video(outcomes: Sequence[Outcome], name: str, motion: np.ndarray) -> dict[str, Any]:
    videos = [pair.videos[name] for pair in outcomes]
    read = np.concatenate([video.motion for video in videos])
    values = [video.psnr for video in videos]
    return {
        "psnr": float(np.mean(values)),
        "lmd": _lmd(outcomes, [video.landmarks for video in videos]),
        "aed": _aed(motion, read),
        "apd": _apd(motion, read),
        "correlation": _correlations(motion, read),
        "identity_share": _identity_share(outcomes, name, list(range(len(IDENTITY_PARAMETERS)))),
        "identity_share_face": _identity_share(outcomes, name, _FACE),
        "psnr_of_pairs": values,
    }


def check_gates(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare what ``summarise`` gives with GATES: name, value, limit, passed and what it means."""
    result, held = figures["result"], figures["exact"]["held_still_lmd"]
    values = {f"correlation_{name}": value for name, value in result["correlation"].items()}
    values["psnr_gain"] = result["psnr"] - max(figures[name]["psnr"] for name in BASELINES)
    values["lmd_share"] = result["lmd"] / held if held else math.nan
    values["identity_share"] = result["identity_share"]
    return [
        {
            "name": gate.name,
            "value": values[gate.name],
            "limit": gate.limit,
            # NaN is neither.
            "passed": values[gate.name] >= gate.limit if gate.is_higher_better else values[gate.name] <= gate.limit,
            "means": gate.means,
        }
        for gate in GATES
    ]


def rounded(figures: Any) -> Any:
    """Prepare nested figures for JSON: four decimals, and None for infinite and NaN, which it does not know."""
    if isinstance(figures, dict):
        return {key: rounded(value) for key, value in figures.items()}
    if isinstance(figures, (list, tuple)):
        return [rounded(value) for value in figures]
    if isinstance(figures, float):
        return round(figures, 4) if math.isfinite(figures) else None
    return figures


def _lmd(outcomes: Sequence[Outcome], found: Sequence[np.ndarray]) -> float:
    distances = [landmark_distance(pair.landmarks, points) for pair, points in zip(outcomes, found, strict=True)]
    return float(np.mean(distances))


def _aed(motion: np.ndarray, found: np.ndarray) -> float:
    return float(parameter_distance(motion[:, _EXPRESSION], found[:, _EXPRESSION]).mean())


def _apd(motion: np.ndarray, found: np.ndarray) -> float:
    a, b = (values[:, _ROTATION] * _DEGREES for values in (motion, found))
    return float(parameter_distance(a, b).mean())


def _correlations(motion: np.ndarray, read: np.ndarray) -> dict[str, float]:
    is_open = (motion[:, _BLINK] + 1) / 2 <= OPEN_EYES
    everywhere = parameter_correlation(motion, read)
    opened = (
        parameter_correlation(motion[is_open], read[is_open]) if is_open.any() else np.full(len(everywhere), np.nan)
    )
    return {name: float((opened if name in _GAZE else everywhere)[i]) for i, name in enumerate(MOTION_PARAMETERS)}


def _identity_share(outcomes: Sequence[Outcome], name: str, columns: list[int]) -> float:
    """Of pairs whose looks, the mean of the frames, lie nearer to the portrait's than to the driver's."""
    nearer = []
    for pair in outcomes:
        looks = pair.videos[name].looks.mean(axis=0)
        own, other = (np.linalg.norm((looks - wanted)[columns]) for wanted in (pair.looks, pair.driver_looks))
        nearer.append(bool(own < other))
    return float(np.mean(nearer))
