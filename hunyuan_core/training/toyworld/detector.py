"""The face of a drawn picture, found by the reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ...data import Face
from ...faces.validation import check_image
from .geometry import LANDMARK_GROUPS, Geometry, landmarks
from .identity import IDENTITY_PARAMETERS, Identity, random_identity
from .motion import MOTION_RANGES
from .reader import READER_SIDE, Reading, load_reader, standard_looks

_LOW, _HIGH = np.array(list(MOTION_RANGES.values()), dtype=np.float32).T
_LENGTHS = [name for name in IDENTITY_PARAMETERS if name[-2:] not in ("_r", "_g", "_b")]
_JAW = LANDMARK_GROUPS["jaw"]
_LEFT_LIDS, _RIGHT_LIDS, _NOSE, _MOUTH = [1, 3], [5, 7], 16, [17, 21]
FARTHEST = 0.035
"""How far the landmarks may lie on average from where motion and looks put them, shares of the side.

The reader sees them apart from each other. Of drawn faces they differ by 0.02 at the most, of plain colours, noise and
photographs by more than 0.05.
"""

SMALLEST = 0.25
"""Side of the smallest box of a drawn face, a share of the picture's."""


class DrawnFaceDetector:
    """Finds the one face of a drawn picture, whose middle square it looks at.

    Attributes:
        reader: What looks at the picture.
    """

    def __init__(self, path: str | Path) -> None:
        """Open ``reader.safetensors``.

        Raises:
            WeightsError: If the file is missing, damaged, or not of a reader.
        """
        self.reader = load_reader(path)

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the face.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            One face, or none where the reader contradicts itself, as it does where there is none.
        """
        import cv2

        check_image(image)
        height, width = image.shape[:2]
        side = min(height, width)
        corner = np.array([(width - side) // 2, (height - side) // 2])
        square = image[corner[1] :, corner[0] :][:side, :side]
        kind = cv2.INTER_AREA if side > READER_SIDE else cv2.INTER_LINEAR
        picture = torch.from_numpy(cv2.resize(square, (READER_SIDE, READER_SIDE), interpolation=kind))
        found = face_of(self.reader(picture.permute(2, 0, 1)[None].float() / 127.5 - 1))
        if found is None:
            return []
        return [Face(found.box * side + np.tile(corner, 2), found.landmarks * side + corner, found.score)]


def face_of(reading: Reading) -> Face | None:
    """Make of a reading of one picture what ``toyworld.face`` gives.

    The drawn world's geometry says where motion and looks put the face; from there it goes to where its landmarks lie.

    Returns:
        The face, in shares of the side; None where the two do not fit together, or make no face.
    """
    person, motion = _understood(reading)
    points = reading.landmarks[0].double().numpy()
    expected = landmarks(person, motion, 1)
    distance = float(np.linalg.norm(points - expected, axis=1).mean())
    if not distance < FARTHEST:
        return None
    geometry = Geometry(person, motion)
    # The affine map that takes the expected jaw to the one that is seen.
    jaw = np.column_stack([expected[_JAW], np.ones(len(expected[_JAW]))])
    to_seen = np.linalg.lstsq(jaw, points[_JAW], rcond=None)[0]
    outline = geometry.outline()
    outline = np.column_stack([outline, np.ones(len(outline))]) @ to_seen
    box = np.concatenate([outline.min(0), outline.max(0)])
    if not (box[2:] - box[:2]).min() > SMALLEST:
        return None
    return Face(box, geometry.five_points() + _anchors(points) - _anchors(expected), 1 - distance / FARTHEST)


def _understood(reading: Reading) -> tuple[Identity, np.ndarray]:
    """The person and the motion of a reading; the person's colours are anybody's."""
    # standard_looks is linear, so that two of its values give its inverse.
    zero, one = (standard_looks(torch.full((len(IDENTITY_PARAMETERS),), value)) for value in (0.0, 1.0))
    looks = dict(zip(IDENTITY_PARAMETERS, ((reading.looks[0] - zero) / (one - zero)).tolist(), strict=True))
    person = replace(random_identity(np.random.default_rng(0)), **{name: looks[name] for name in _LENGTHS})
    return person, (reading.motion[0].numpy() + 1) / 2 * (_HIGH - _LOW) + _LOW


def _anchors(points: np.ndarray) -> np.ndarray:
    """Landmarks (34, 2) that move with the five points, (5, 2): middles of the lids, nose, corners of the mouth."""
    return np.stack([points[_LEFT_LIDS].mean(0), points[_RIGHT_LIDS].mean(0), points[_NOSE], *points[_MOUTH]])
