"""A drawn world with exact ground truth: any identity with any motion, and where everything is.

Its portraits are tight: the square that is animated (``faces.crops.square_box``) is the whole picture.

Unlike photographs they have no texture of skin, hair that never moves of its own, a background and shoulders that stand
still, and a head that turns by parallax of its features alone. What is learned here does not carry over to real faces.
"""

from .drawing import Painter, render
from .geometry import LANDMARK_GROUPS, face, face_box, face_mask, face_track, landmarks
from .identity import IDENTITY_PARAMETERS, Identity, identity_parameters, random_identity
from .motion import MOTION_PARAMETERS, MOTION_RANGES, random_motion, standard_motion

__all__ = [
    "IDENTITY_PARAMETERS",
    "LANDMARK_GROUPS",
    "MOTION_PARAMETERS",
    "MOTION_RANGES",
    "Identity",
    "Painter",
    "face",
    "face_box",
    "face_mask",
    "face_track",
    "identity_parameters",
    "landmarks",
    "random_identity",
    "random_motion",
    "render",
    "standard_motion",
]
