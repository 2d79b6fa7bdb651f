"""A whole body to test with."""

from __future__ import annotations

import numpy as np

from hunyuan_core.pose.keypoints import BODY, FACE, LEFT_HAND, NUM_POINTS, RIGHT_HAND, WholeBody

_BODY = [
    *((256, 170), (276, 150), (236, 150), (300, 160), (212, 160)),
    *((350, 300), (162, 300), (400, 400), (110, 400), (330, 440), (180, 440)),
    *((320, 560), (200, 560), (320, 700), (200, 700), (320, 800), (200, 800)),
]


def make_person() -> WholeBody:
    """Make a person seen from the front in 512x512 pixels, the legs below the picture, the feet not seen."""
    points, scores = np.full((NUM_POINTS, 2), np.nan), np.zeros(NUM_POINTS)
    points[list(BODY)] = _BODY
    points[list(FACE)] = _face()
    for hand, wrist in ((LEFT_HAND, (330, 440)), (RIGHT_HAND, (180, 440))):
        points[list(hand)] = _hand(wrist)
    for part in (BODY, FACE, LEFT_HAND, RIGHT_HAND):
        scores[list(part)] = 0.9
    return WholeBody(points, scores)


def _face() -> np.ndarray:
    return np.concatenate(
        [
            _arc((256, 150), (60, 80), 17, np.pi, 0),  # jaw, from image left
            _arc((225, 132), (20, 8), 5, np.pi, 2 * np.pi),  # brows
            _arc((287, 132), (20, 8), 5, np.pi, 2 * np.pi),
            np.stack([np.full(4, 256), np.linspace(148, 170, 4)], axis=1),  # nose, down to its tip
            _arc((256, 176), (12, 5), 5, np.pi, 0),
            _arc((232, 148), (12, 5), 6, np.pi, 2.7 * np.pi),  # eyes
            _arc((280, 148), (12, 5), 6, np.pi, 2.7 * np.pi),
            _arc((256, 200), (24, 10), 12, np.pi, 2.83 * np.pi),  # lips
            _arc((256, 200), (18, 4), 8, np.pi, 2.75 * np.pi),
        ]
    )


def _arc(centre: tuple[float, float], radii: tuple[float, float], count: int, start: float, stop: float) -> np.ndarray:
    angles = np.linspace(start, stop, count)
    return np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], axis=1)


def _hand(wrist: tuple[float, float]) -> list[tuple[float, float]]:
    points = [wrist]
    for finger in range(5):
        angle = -np.pi / 2 + (finger - 2) * 0.35
        points += [(wrist[0] + r * np.cos(angle), wrist[1] + r * np.sin(angle)) for r in (25, 42, 56, 68)]
    return points
