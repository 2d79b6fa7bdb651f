"""How near a result comes to the video that it should be."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..hunyuan_core.errors import MissingDependencyError
from ..hunyuan_core.evaluation import Evaluators, Report, evaluate, plot
from ..hunyuan_core.faces.detection import FaceDetector
from ..hunyuan_core.faces.identity import ArcFace
from . import types as sockets
from .comfy_bridge import images, memory, progress

BLANK_SIDE = 64
"""Pixels a side of the picture in place of a plot that cannot be drawn."""


class HunyuanPortraitEvaluate(io.ComfyNode):
    """Measure two videos against each other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        frames = [io.Image, io.Video]
        return io.Schema(
            node_id="HunyuanPortraitEvaluate",
            display_name="HunyuanPortrait Evaluate",
            category="HunyuanPortrait/Evaluation",
            description=(
                "Compare a result with the video that it should equal, frame by frame: PSNR and SSIM always; landmark "
                "distance, identity, motion and head pose with what is connected. What was not measured is listed with "
                "the reason."
            ),
            inputs=[
                io.MultiType.Input(
                    "reference",
                    types=frames,
                    tooltip="The video that the result should equal, e.g. the driving video of the same person.",
                ),
                io.MultiType.Input(
                    "result", types=frames, tooltip="The video to judge: as many frames of the same size in pixels."
                ),
                io.Image.Input(
                    "portrait",
                    optional=True,
                    tooltip="Whom the result should show, one picture of any size. Without it the identity is compared "
                    "with the same frame of the reference.",
                ),
                sockets.FaceDetector.Input(
                    "face_detector",
                    optional=True,
                    tooltip="Finds the faces, of several the largest; all but PSNR and SSIM needs it.",
                ),
                sockets.ArcFace.Input("arcface", optional=True, tooltip="For the identity similarity."),
                sockets.MotionEncoder.Input(
                    "motion_encoder", optional=True, tooltip="For the errors of expression (motion) and head pose."
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="text", tooltip="A table: mean and worst frame of each metric, and what is missing."
                ),
                io.String.Output(display_name="json", tooltip="The same with the number of every frame, as JSON."),
                io.Image.Output(
                    display_name="plot",
                    tooltip="Each metric over the frames. Needs matplotlib; a blank picture where that is missing, and "
                    "the text says what to install.",
                ),
            ],
            **sockets.supported(search_aliases=["psnr", "ssim", "metrics", "quality", "compare videos"]),
        )

    @classmethod
    def execute(
        cls,
        reference: Any,
        result: Any,
        portrait: Any = None,
        face_detector: Any = None,
        arcface: Any = None,
        motion_encoder: Any = None,
    ) -> io.NodeOutput:
        """Measure."""
        wanted, found = images.frames_of(reference, "reference"), images.frames_of(result, "result")
        evaluators = _evaluators(face_detector, arcface, motion_encoder)
        stages, num_frames = evaluators.stages, len(wanted)
        show = progress.Progress(len(stages) * num_frames)
        report = evaluate(
            wanted,
            found,
            evaluators,
            portrait=None if portrait is None else images.one_image(portrait, "portrait"),
            on_frame=lambda stage, number: show(stages.index(stage) * num_frames + number + 1),
        )
        picture, note = _draw(report)
        text = report.to_text() + note
        progress.say(text)
        return io.NodeOutput(text, report.to_json(), picture, ui=ui.PreviewImage(picture, cls=cls))


def _evaluators(face_detector: Any, arcface: Any, motion_encoder: Any) -> Evaluators:
    if face_detector is not None:
        sockets.expect(face_detector, FaceDetector, "face_detector", "Load HunyuanPortrait Face Detector")
    if arcface is not None:
        sockets.expect(arcface, ArcFace, "arcface", "Load HunyuanPortrait ArcFace")
    if motion_encoder is None:
        return Evaluators(face_detector, arcface=arcface)
    encoder = sockets.expect(
        motion_encoder, memory.MotionEncoder, "motion_encoder", "Load HunyuanPortrait Motion Encoder"
    )
    if face_detector is not None:
        memory.load(encoder.expression, encoder.head_pose)
    return Evaluators(
        face_detector, arcface=arcface, expression=encoder.expression.network, head_pose=encoder.head_pose.network
    )


def _draw(report: Report) -> tuple[torch.Tensor, str]:
    """Draw the plot; a blank picture and a line for the text where it cannot be drawn."""
    try:
        return images.to_image([plot(report)]), ""
    except MissingDependencyError as error:
        return torch.ones(1, BLANK_SIDE, BLANK_SIDE, 3), f"\n\nNo plot: {error}"


NODES = [HunyuanPortraitEvaluate]
