"""Pose images: the driver's skeleton, fitted to the portrait."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..hunyuan_core.errors import ConfigurationError, FaceNotFoundError, ShapeError
from ..hunyuan_core.faces.overlay import evenly_spread
from ..hunyuan_core.pose.drawing import black_pose
from ..hunyuan_core.pose.keypoints import WholeBody, WholeBodyDetector
from ..hunyuan_core.pose.openpose import OpenPoseFrame, read_openpose
from ..hunyuan_core.pose.sequence import draw_aligned, find_poses, largest
from . import types as sockets
from .checking import blaming, checked
from .comfy_bridge import images, progress

MAX_PREVIEWS = 8


class HunyuanPortraitAlignPose(io.ComfyNode):
    """Draw the driver's skeleton at the portrait's place and size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitAlignPose",
            display_name="HunyuanPortrait Align Pose",
            category="HunyuanPortrait/Pose",
            description=(
                "Draw the driver's skeleton, aligned to the portrait, for the pose guider. Connect pose_detector with "
                "frames, or portrait_keypoints with driving_keypoints; with neither the pose is black, as released."
            ),
            inputs=[
                io.Image.Input(
                    "crop", tooltip="The square crop of the portrait, from 'HunyuanPortrait Appearance (IMAdapter)'."
                ),
                io.MultiType.Input(
                    "frames",
                    types=[io.Image, io.Video],
                    optional=True,
                    tooltip="The driving video, for pose_detector; the same frames as the motion's.",
                ),
                sockets.PoseDetector.Input(
                    "pose_detector",
                    optional=True,
                    tooltip="Finds the keypoints in crop and frames; from 'Load HunyuanPortrait Pose Detector'.",
                ),
                sockets.PoseKeypoints.Input(
                    "portrait_keypoints",
                    optional=True,
                    tooltip="Instead of pose_detector: keypoints found in the crop (not in the whole portrait) by a "
                    "node such as SDPose or DWPose.",
                ),
                sockets.PoseKeypoints.Input(
                    "driving_keypoints",
                    optional=True,
                    tooltip="Instead of pose_detector: keypoints found in the driving video, one entry for each frame.",
                ),
                io.Boolean.Input(
                    "cross_reenactment",
                    default=True,
                    tooltip="Portrait and driver are different people: the eyes are neither measured nor drawn.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="pose_images",
                    tooltip="One skeleton for each frame, in the size of the crop, black where nobody was found; or a "
                    "single black picture, which the sampler uses for all frames.",
                )
            ],
            **sockets.supported(search_aliases=["skeleton", "openpose", "dwpose", "sdpose", "body pose"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        crop: Any,
        cross_reenactment: bool,
        frames: Any = None,
        pose_detector: Any = None,
        portrait_keypoints: Any = None,
        driving_keypoints: Any = None,
    ) -> io.NodeOutput:
        """Draw the skeletons."""
        reference = images.one_image(crop, "crop")
        height, width = reference.shape[:2]
        sources = {
            "frames": frames,
            "pose_detector": pose_detector,
            "portrait_keypoints": portrait_keypoints,
            "driving_keypoints": driving_keypoints,
        }
        given = [name for name, value in sources.items() if value is not None]
        if not given:
            return _output(images.to_image([black_pose(height, width)]), cls)
        if given == ["frames", "pose_detector"]:
            detector = sockets.expect(
                pose_detector, WholeBodyDetector, "pose_detector", "Load HunyuanPortrait Pose Detector"
            )
            video = images.frames_of(frames, "frames")
            find = progress.Progress(len(video))
            with blaming("crop"):
                portrait, poses = find_poses(reference, video, detector, lambda number: find(number + 1))
        elif given == ["portrait_keypoints", "driving_keypoints"]:
            portrait = _portrait_pose(portrait_keypoints, height, width)
            poses = [largest(frame.people) for frame in _read(driving_keypoints, "driving_keypoints")]
        else:
            raise ConfigurationError(
                f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} connected; connect pose_detector with "
                f"frames, or portrait_keypoints with driving_keypoints, or none of the four for a black pose."
            )
        show = progress.Progress(len(poses))
        with blaming("crop and frames" if "frames" in given else " and ".join(given)):
            drawn = draw_aligned(
                portrait,
                poses,
                height,
                width,
                is_cross_reenactment=cross_reenactment,
                on_frame=lambda number: show(number + 1),
            )
        return _output(images.to_image(drawn, len(poses)), cls)


def _portrait_pose(keypoints: Any, height: int, width: int) -> WholeBody:
    frames = _read(keypoints, "portrait_keypoints")
    if len(frames) != 1:
        raise ShapeError(
            f"portrait_keypoints must belong to one picture, the crop; got {len(frames)} frames. Run the keypoint node "
            "on the crop alone."
        )
    (frame,) = frames
    if (frame.height, frame.width) != (height, width):
        raise ShapeError(
            f"portrait_keypoints were found in a picture of {frame.width}×{frame.height} pixels, but crop has "
            f"{width}×{height}; run the keypoint node on the crop, in its resolution."
        )
    portrait = largest(frame.people)
    if portrait is None:
        raise FaceNotFoundError(
            "portrait_keypoints holds nobody; use a portrait that shows more of the person, or disconnect all "
            "keypoints for a black pose."
        )
    return portrait


def _read(keypoints: Any, socket: str) -> list[OpenPoseFrame]:
    try:
        return read_openpose(keypoints, socket)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} Connect a keypoint node, such as SDPose or DWPose.") from error


def _output(pose_images: Any, cls: type[io.ComfyNode]) -> io.NodeOutput:
    shown = pose_images[evenly_spread(len(pose_images), MAX_PREVIEWS)]
    return io.NodeOutput(pose_images, ui=ui.PreviewImage(shown, cls=cls))


NODES = [HunyuanPortraitAlignPose]
