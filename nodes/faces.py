"""Faces: where they are in a portrait or a driving video."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..hunyuan_core.errors import ConfigurationError, MediaError
from ..hunyuan_core.faces.detection import FaceChoice, FaceDetector
from ..hunyuan_core.faces.manual import ManualDetector
from ..hunyuan_core.faces.overlay import FaceSheet
from ..hunyuan_core.faces.report import describe_track
from ..hunyuan_core.faces.tracking import smooth_track, track_faces
from . import types as sockets
from .checking import blaming, checked
from .comfy_bridge import images, landmarks, progress

MAX_PIXELS = 16384


class HunyuanPortraitDetectFaces(io.ComfyNode):
    """Follow one face through a portrait or a driving video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitDetectFaces",
            display_name="HunyuanPortrait Detect Faces",
            category="HunyuanPortrait/Faces",
            description=(
                "Find one face in the portrait or follow it through the driving video. Connect one source of faces: a "
                "face detector, landmarks or boxes of other nodes, or set the box by hand (drawings, animals)."
            ),
            inputs=[
                io.MultiType.Input(
                    "frames",
                    types=[io.Image, io.Video],
                    tooltip="The portrait (one picture) or the driving video. A VIDEO is read frame by frame, "
                    "so that its length does not matter.",
                ),
                sockets.FaceDetector.Input(
                    "face_detector",
                    optional=True,
                    tooltip="Finds the faces; from 'Load HunyuanPortrait Face Detector'.",
                ),
                sockets.FaceLandmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Instead of a detector: what 'Detect Face Landmarks (MediaPipe)' found in the same frames.",
                ),
                io.BoundingBox.Input(
                    "boxes",
                    optional=True,
                    force_input=True,
                    tooltip="Instead of a detector: face boxes in pixels, one for all frames or a list for each frame. "
                    "Landmarks are placed as in an upright face.",
                ),
                io.Combo.Input(
                    "choose",
                    options=["largest", "index", "position"],
                    default="largest",
                    tooltip="Which face, if there are several. 'largest' looks anew in each frame, as released; a face "
                    "chosen by 'index' or 'position' is followed.",
                ),
                io.Int.Input(
                    "face_index",
                    default=0,
                    min=0,
                    max=63,
                    tooltip="For 'index': place of the face from left to right; the leftmost is 0.",
                ),
                io.Int.Input(
                    "position_x",
                    default=0,
                    min=0,
                    max=MAX_PIXELS,
                    tooltip="For 'position': x in pixels of a point on the face, or near it.",
                ),
                io.Int.Input(
                    "position_y",
                    default=0,
                    min=0,
                    max=MAX_PIXELS,
                    tooltip="For 'position': y in pixels of a point on the face, or near it.",
                ),
                io.Int.Input(
                    "smoothing",
                    default=1,
                    min=1,
                    max=101,
                    step=2,
                    tooltip="Frames (odd) over which box and landmarks are averaged; 1 is off, as released. "
                    "Calms jitter, but also fast motion.",
                ),
                io.Int.Input(
                    "box_x",
                    default=0,
                    min=0,
                    max=MAX_PIXELS,
                    tooltip="Box by hand: its left edge in pixels.",
                ),
                io.Int.Input(
                    "box_y",
                    default=0,
                    min=0,
                    max=MAX_PIXELS,
                    tooltip="Box by hand: its top edge in pixels.",
                ),
                io.Int.Input(
                    "box_width",
                    default=0,
                    min=0,
                    max=MAX_PIXELS,
                    tooltip="Box by hand, from ear to ear, the same for all frames: width in pixels; 0 is off.",
                ),
                io.Int.Input(
                    "box_height",
                    default=0,
                    min=0,
                    max=MAX_PIXELS,
                    tooltip="Box by hand, from the forehead to below the chin: height in pixels; 0 is off.",
                ),
            ],
            outputs=[
                sockets.FaceTrack.Output(
                    display_name="track",
                    tooltip="Box and five landmarks of the face in each frame; frames without it are filled.",
                ),
                io.Image.Output(
                    display_name="preview",
                    tooltip="Up to 16 frames, evenly spread: box green (orange where it was filled in), landmarks red.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Number of frames, frames without a face, face sizes in pixels, and warnings.",
                ),
            ],
            **sockets.supported(search_aliases=["face detection", "face tracking", "face box", "landmarks", "crop"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        frames: Any,
        choose: str,
        face_index: int,
        position_x: int,
        position_y: int,
        smoothing: int,
        box_x: int,
        box_y: int,
        box_width: int,
        box_height: int,
        face_detector: Any = None,
        landmarks: Any = None,
        boxes: Any = None,
    ) -> io.NodeOutput:
        """Follow the face."""
        video = images.frames_of(frames, "frames")
        box = (box_x, box_y, box_x + box_width, box_y + box_height) if box_width or box_height else None
        detector, source, height, width = _source(video, face_detector, landmarks, boxes, box)
        choice = FaceChoice(
            index=face_index if choose == "index" else None,
            position=(position_x, position_y) if choose == "position" else None,
        )
        show = progress.Progress(len(video))
        sheet = FaceSheet(len(video))
        with blaming(source):
            track = track_faces(sheet.watch(video), detector, choice, lambda number: show(number + 1))
        track = smooth_track(track, smoothing)
        report = describe_track(track, height, width)
        progress.say(report)
        preview = images.to_image([sheet.draw(track)])
        return io.NodeOutput(track, preview, report, ui=ui.PreviewImage(preview, cls=cls))


def _source(
    video: images.Frames, face_detector: Any, face_landmarks: Any, boxes: Any, box: tuple[int, int, int, int] | None
) -> tuple[FaceDetector, str, int, int]:
    """Make a detector of the one source of faces that is given; also its name, height and width of the first frame."""
    sources = {"face_detector": face_detector, "landmarks": face_landmarks, "boxes": boxes, "box_width": box}
    given = [name for name, value in sources.items() if value is not None]
    if not given:
        raise ConfigurationError(
            "There is nothing to find faces with; connect face_detector, landmarks or boxes, or set box_width and "
            "box_height (drawings, animals)."
        )
    if len(given) > 1:
        raise ConfigurationError(
            f"{' and '.join(given)} are given at once; keep one and disconnect the rest (box_width and box_height 0 "
            f"turn the box by hand off)."
        )
    if box is not None and (box[0] == box[2] or box[1] == box[3]):
        raise ConfigurationError(
            "box_width and box_height must both be above 0, or both 0 for no box by hand; change one."
        )
    first = next(iter(video), None)
    if first is None:
        raise MediaError("frames holds no picture; check the video.")
    height, width = first.shape[:2]
    detector: FaceDetector
    if face_landmarks is not None:
        detector = landmarks.landmark_faces(face_landmarks, len(video), height, width)
    elif boxes is not None:
        detector = landmarks.box_faces(boxes, len(video))
    elif box is not None:
        detector = ManualDetector(box=box)
    else:
        detector = sockets.expect(face_detector, FaceDetector, "face_detector", "Load HunyuanPortrait Face Detector")
    return detector, "box_x, box_y, box_width and box_height" if box is not None else given[0], height, width


NODES = [HunyuanPortraitDetectFaces]
