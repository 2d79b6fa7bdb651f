"""The pack's socket types, and the check that what arrives at a socket is what it says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from comfy_api.latest import io

from ..hunyuan_core.errors import ConfigurationError

ImageEncoder = io.Custom("HUNYUANPORTRAIT_IMAGE_ENCODER")
ArcFace = io.Custom("HUNYUANPORTRAIT_ARCFACE")
MotionEncoder = io.Custom("HUNYUANPORTRAIT_MOTION_ENCODER")
PoseGuider = io.Custom("HUNYUANPORTRAIT_POSE_GUIDER")
FaceDetector = io.Custom("HUNYUANPORTRAIT_FACE_DETECTOR")
Speed = io.Custom("HUNYUANPORTRAIT_SPEED")
PoseDetector = io.Custom("HUNYUANPORTRAIT_POSE_DETECTOR")
FaceTrack = io.Custom("HUNYUANPORTRAIT_FACE_TRACK")
Motion = io.Custom("HUNYUANPORTRAIT_MOTION")
Appearance = io.Custom("HUNYUANPORTRAIT_APPEARANCE")
FaceLandmarks = io.Custom("FACE_LANDMARKS")
"""Core's, of its MediaPipe node."""
PoseKeypoints = io.Custom("POSE_KEYPOINT")
"""Core's and others', in the OpenPose frame format."""

CATEGORY = "HunyuanPortrait"

T = TypeVar("T")


def expect(value: object, kind: type[T], socket: str, source: str) -> T:
    """Check what arrived at a socket: ComfyUI lets a text or number through to any socket of a custom type.

    Args:
        socket: Name of the input.
        source: The node that makes such things.

    Raises:
        ConfigurationError: If it is something else; names the input, what came and the node to connect.
    """
    if not isinstance(value, kind):
        raise ConfigurationError(f"{socket} got a {type(value).__name__}; connect the output of '{source}' to it.")
    return value


def supported(**options: Any) -> dict[str, Any]:
    """Leave out those schema options that an older ComfyUI does not know."""
    known = {field.name for field in fields(io.Schema)}
    return {name: value for name, value in options.items() if name in known}
