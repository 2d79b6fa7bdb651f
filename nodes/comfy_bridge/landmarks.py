"""Faces that core's own nodes have found: FACE_LANDMARKS and BOUNDING_BOX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...hunyuan_core.data import Face
from ...hunyuan_core.errors import ConfigurationError, ShapeError
from ...hunyuan_core.faces.given import GivenFaces
from ...hunyuan_core.faces.manual import landmarks_in_box
from ...hunyuan_core.faces.mediapipe_backend import face_from_mesh
from ...hunyuan_core.faces.validation import as_box

_MESH_POINTS = (468, 478)
_REMEDY = "Connect 'Bounding Box' or the boxes of a detection node."


def landmark_faces(value: object, num_frames: int, height: int, width: int) -> GivenFaces:
    """Read a FACE_LANDMARKS: under ``frames`` the faces of each frame, under ``image_size`` height and width.

    A face is a dict with (478, 2) pixels under ``landmarks_xy``.

    Args:
        num_frames: Of the video that they must belong to.
        height: Of its frames, pixels.
        width: The same.

    Raises:
        ConfigurationError: If it is something else.
        ShapeError: If it belongs to another video.
    """
    if not isinstance(value, Mapping) or not {"frames", "image_size"} <= value.keys():
        raise ConfigurationError(
            f"landmarks got a {type(value).__name__}; connect 'Detect Face Landmarks (MediaPipe)' to it."
        )
    frames, size = value["frames"], value["image_size"]
    is_list = isinstance(frames, Sequence) and all(isinstance(faces, Sequence) for faces in frames)
    if not is_list or not isinstance(size, Sequence) or len(size) != 2:
        raise ConfigurationError(
            "landmarks must hold a list of faces for each frame, and height and width under image_size; connect "
            "'Detect Face Landmarks (MediaPipe)' to it."
        )
    if tuple(size) != (height, width):
        raise ShapeError(
            f"landmarks were found in pictures of {size[1]}×{size[0]} pixels, but frames has {width}×{height}; "
            f"connect the same pictures to both nodes."
        )
    _check_count("landmarks", len(frames), num_frames)
    return GivenFaces([[_from_mesh(face) for face in faces] for faces in frames])


def box_faces(value: object, num_frames: int) -> GivenFaces:
    """Read a BOUNDING_BOX: one box or a list of boxes for all frames, or a list of boxes for each frame.

    A box is ``{"x", "y", "width", "height"}`` in pixels. It gets landmarks where an upright face has them.

    Args:
        num_frames: Of the video that they must belong to.

    Raises:
        ConfigurationError: If it is something else, or a box has no area.
        ShapeError: If it belongs to another video.
    """
    if isinstance(value, Mapping):
        value = [[value]]
    if not isinstance(value, list | tuple) or not value:
        raise ConfigurationError(
            f"boxes got {_described(value)}; connect 'Bounding Box' or the boxes of a detection node to it."
        )
    if isinstance(value[0], Mapping):
        value = [value]
    if len(value) == 1:
        value = [*value] * num_frames
    _check_count("boxes", len(value), num_frames)
    for boxes in value:
        if not isinstance(boxes, list | tuple):
            raise ConfigurationError(
                f"boxes must hold a list of boxes for each frame; got {_described(boxes)}. {_REMEDY}"
            )
    return GivenFaces([[_from_box(box) for box in boxes] for boxes in value])


def _from_mesh(face: object) -> Face:
    try:
        mesh = np.asarray(face["landmarks_xy"] if isinstance(face, Mapping) else None, dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        mesh = np.empty(0)
    points, *axes = mesh.shape or (0,)
    if points not in _MESH_POINTS or len(axes) != 1 or axes[0] < 2 or not np.isfinite(mesh).all():
        raise ShapeError(
            f"landmarks must have 478 points (x, y) for each face, under landmarks_xy; got {mesh.shape}; use "
            "MediaPipe's."
        )
    return face_from_mesh(mesh[:, :2])


def _from_box(box: object) -> Face:
    if not isinstance(box, Mapping) or not {"x", "y", "width", "height"} <= box.keys():
        raise ConfigurationError(
            f"boxes must hold x, y, width and height for each face; got {_described(box)}. {_REMEDY}"
        )
    try:
        x, y, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
    except (TypeError, ValueError):
        x = y = width = height = np.nan
    if not np.isfinite((x, y, width, height)).all():
        raise ConfigurationError(f"boxes must hold x, y, width and height in numbers; got {dict(box)}. {_REMEDY}")
    if not (width > 0 and height > 0):
        raise ConfigurationError(
            f"boxes holds one of {width:g}×{height:g} pixels; a face needs width and height. {_REMEDY}"
        )
    corners = as_box((x, y, x + width, y + height))
    return Face(corners, landmarks_in_box(corners))


def _check_count(socket: str, count: int, num_frames: int) -> None:
    if count != num_frames:
        raise ShapeError(
            f"{socket} belongs to {count} frames, but frames has {num_frames}; connect the same pictures to both nodes."
        )


def _described(value: object) -> str:
    return "an empty list" if value in ([], ()) else f"a {type(value).__name__}"
