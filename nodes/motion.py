"""Motion: encoded from a driving video, changed, combined, and kept in files."""

from __future__ import annotations

from typing import Any, Literal

from comfy_api.latest import io, ui

from ..hunyuan_core.data import FaceTrack, Motion
from ..hunyuan_core.errors import ConfigurationError, MediaError, ShapeError
from ..hunyuan_core.motion import INTENSITY_CHUNK, encode_motion
from ..hunyuan_core.motion_editing import MotionEdit, concatenate, edit_motion, loop, mix, reverse, trim
from ..hunyuan_core.motion_files import load_motion, save_motion
from ..hunyuan_core.motion_report import CropSheet, describe_motion
from . import types as sockets
from .checking import blaming, checked
from .comfy_bridge import files, images, memory, motion_folder, progress

ENCODE = "HunyuanPortrait Motion Features"
MAX_FRAMES = 100_000
# 388 MiB are alive at most with the 25 frames of a chunk, in float32; the rest is for what the kernels take.
ACTIVATIONS = 600 * 2**20


class HunyuanPortraitEncodeMotion(io.ComfyNode):
    """Encode the motion of a driving video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitEncodeMotion",
            display_name=ENCODE,
            category="HunyuanPortrait/Motion",
            description=(
                "Turn a driving video into motion: expression, head pose, and how strongly both move. It does not "
                "depend on the portrait, so encode it once and use it for many."
            ),
            inputs=[
                sockets.MotionEncoder.Input("motion_encoder", tooltip="From 'Load HunyuanPortrait Motion Encoder'."),
                io.MultiType.Input(
                    "frames",
                    types=[io.Image, io.Video],
                    tooltip="The driving video. A VIDEO is read as it goes, so it may be of any length.",
                ),
                sockets.FaceTrack.Input(
                    "track", tooltip="The face in each of these frames, from 'HunyuanPortrait Detect Faces'."
                ),
                io.Int.Input(
                    "head_intensity",
                    default=-1,
                    min=-1,
                    max=127,
                    tooltip="How strongly the head moves, 0 (still) to 127, for all frames; "
                    "-1 measures it in each 25 frames, as released.",
                ),
                io.Int.Input(
                    "expression_intensity",
                    default=-1,
                    min=-1,
                    max=127,
                    tooltip="How strongly the face moves, 0 (still) to 127, for all frames; "
                    "-1 measures it in each 25 frames, as released.",
                ),
            ],
            outputs=[
                sockets.Motion.Output(
                    display_name="motion", tooltip="Motion of as many frames as the video has, for any portrait."
                ),
                io.Image.Output(
                    display_name="crops",
                    tooltip="One picture of up to 16 crops, evenly spread: what the expression is read from.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Number of frames, the intensities of each 25 frames, and the range of the head's rotation "
                    "in degrees.",
                ),
            ],
            **sockets.supported(search_aliases=["driving video", "expression", "head pose", "encode motion"]),
        )

    @classmethod
    @checked
    def execute(
        cls, motion_encoder: Any, frames: Any, track: Any, head_intensity: int, expression_intensity: int
    ) -> io.NodeOutput:
        """Encode."""
        encoder = sockets.expect(
            motion_encoder, memory.MotionEncoder, "motion_encoder", "Load HunyuanPortrait Motion Encoder"
        )
        faces = sockets.expect(track, FaceTrack, "track", "HunyuanPortrait Detect Faces")
        video = images.frames_of(frames, "frames")
        memory.load(encoder.expression, encoder.head_pose, encoder.refiner, activations=ACTIVATIONS)
        crops = CropSheet(len(faces))
        with blaming("track does not fit frames"):
            motion = encode_motion(
                video,
                faces,
                encoder.expression.network,
                encoder.head_pose.network,
                encoder.refiner.network,
                progress.Progress(len(faces)),
                head_intensity=None if head_intensity == -1 else head_intensity,
                expression_intensity=None if expression_intensity == -1 else expression_intensity,
                on_crop=crops,
            )
        report = describe_motion(motion)
        if len(motion) == 1:
            report += (
                "\nWarning: this is a still, and the model knows video only; set length of 'HunyuanPortrait Edit "
                f"Motion' to at least {INTENSITY_CHUNK}, to hold it."
            )
        progress.say(report)
        preview = images.to_image([crops.draw()])
        return io.NodeOutput(motion, preview, report, ui=ui.PreviewImage(preview, cls=cls))


class HunyuanPortraitEditMotion(io.ComfyNode):
    """Change strength, smoothness, direction and length of a motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitEditMotion",
            display_name="HunyuanPortrait Edit Motion",
            category="HunyuanPortrait/Motion",
            description=(
                "Change a motion, in this order: cut it, smooth it, keep a part of it, scale it, turn its direction, "
                "loop it. As it comes, nothing is changed, not by a bit."
            ),
            inputs=[
                sockets.Motion.Input("motion", tooltip=f"From '{ENCODE}', 'Load Motion' or another edit."),
                _strength("expression_strength", "of the expression"),
                _strength("rotation_strength", "of the head's rotation"),
                _strength(
                    "translation_strength",
                    "of the head's translation. The released model does not use the translation: this changes only the "
                    "record that is saved and measured, not the picture",
                ),
                io.Combo.Input(
                    "keep",
                    options=["all", "expression", "pose"],
                    default="all",
                    tooltip="The part that moves: with 'expression' the head pose stands still as in the first frame, "
                    "with 'pose' the expression does.",
                ),
                io.Boolean.Input(
                    "relative",
                    default=False,
                    tooltip="Scale the change since the first frame, instead of the values themselves.",
                ),
                _smoothing("expression_smoothing", "expression; 5 or more wipes out blinks"),
                _smoothing("pose_smoothing", "head pose"),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=MAX_FRAMES,
                    tooltip="First frame that is kept, counted from 0.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=0,
                    min=0,
                    max=MAX_FRAMES,
                    tooltip="Number of frames that are kept; 0 keeps all to the end.",
                ),
                io.Combo.Input(
                    "direction",
                    options=["forward", "reverse", "ping-pong"],
                    default="forward",
                    tooltip="Ping-pong goes there and back, so that a loop has no jump.",
                ),
                io.Int.Input(
                    "length",
                    default=0,
                    min=0,
                    max=MAX_FRAMES,
                    tooltip="Loop or cut to this number of frames; a single frame is held. 0 leaves the length.",
                ),
                sockets.Motion.Input(
                    "portrait_motion",
                    optional=True,
                    tooltip="Motion of the portrait itself, encoded as a video of one frame: the head starts from its "
                    "rotation. For relative only.",
                ),
            ],
            outputs=[sockets.Motion.Output(display_name="motion", tooltip="The changed motion.")],
            **sockets.supported(
                search_aliases=["expression strength", "retarget", "trim motion", "loop motion", "smooth motion"]
            ),
        )

    @classmethod
    @checked
    def execute(
        cls,
        motion: Any,
        expression_strength: float,
        rotation_strength: float,
        translation_strength: float,
        keep: Literal["all", "expression", "pose"],
        relative: bool,
        expression_smoothing: int,
        pose_smoothing: int,
        first_frame: int,
        num_frames: int,
        direction: str,
        length: int,
        portrait_motion: Any = None,
    ) -> io.NodeOutput:
        """Edit."""
        edited = sockets.expect(motion, Motion, "motion", ENCODE)
        base = None
        if portrait_motion is not None:
            if not relative:
                raise ConfigurationError("portrait_motion is for relative only; switch relative on or disconnect it.")
            base = _first_rotation(sockets.expect(portrait_motion, Motion, "portrait_motion", ENCODE))
        edit = MotionEdit(
            expression_strength=expression_strength,
            rotation_strength=rotation_strength,
            translation_strength=translation_strength,
            keep=keep,
            is_relative=relative,
            base_rotation=base,
            expression_smoothing=expression_smoothing,
            pose_smoothing=pose_smoothing,
        )
        edited = edit_motion(_cut(edited, first_frame, num_frames), edit)
        if direction == "reverse":
            edited = reverse(edited)
        elif direction == "ping-pong":
            there_and_back = max(2 * len(edited) - 2, 1)
            return io.NodeOutput(loop(edited, length or there_and_back, is_ping_pong=True))
        return io.NodeOutput(loop(edited, length) if length else edited)


class HunyuanPortraitCombineMotions(io.ComfyNode):
    """Play two motions one after the other, or blend them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitCombineMotions",
            display_name="HunyuanPortrait Combine Motions",
            category="HunyuanPortrait/Motion",
            description="Play two motions one after the other, or blend them, such as one's expression on the other's "
            "head pose.",
            inputs=[
                sockets.Motion.Input("motion_a", tooltip="The first motion."),
                sockets.Motion.Input("motion_b", tooltip="The second motion."),
                io.Combo.Input(
                    "mode",
                    options=["concatenate", "mix"],
                    default="concatenate",
                    tooltip="concatenate: b after a. mix: both at once, frame by frame.",
                ),
                io.Int.Input(
                    "blend_frames",
                    default=0,
                    min=0,
                    max=MAX_FRAMES,
                    tooltip="concatenate: frames in which the end of a fades into the start of b; they overlap.",
                ),
                _weight("expression_weight", "expression"),
                _weight("pose_weight", "head pose"),
                io.Combo.Input(
                    "fit",
                    options=["error", "loop", "trim"],
                    default="error",
                    tooltip="mix, where the lengths differ: stop, loop or cut b to the length of a, or trim both to "
                    "the shorter one.",
                ),
            ],
            outputs=[sockets.Motion.Output(display_name="motion", tooltip="The combined motion.")],
            **sockets.supported(search_aliases=["mix motion", "blend motion", "concatenate motion", "join motion"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        motion_a: Any,
        motion_b: Any,
        mode: str,
        blend_frames: int,
        expression_weight: float,
        pose_weight: float,
        fit: str,
    ) -> io.NodeOutput:
        """Combine."""
        a = sockets.expect(motion_a, Motion, "motion_a", ENCODE)
        b = sockets.expect(motion_b, Motion, "motion_b", ENCODE)
        if mode == "concatenate":
            return io.NodeOutput(concatenate([a, b], blend_frames))
        if fit == "error" and len(a) != len(b):
            raise ShapeError(
                f"motion_a has {len(a)} frames and motion_b {len(b)}; set fit to 'loop' or 'trim', or edit one of them."
            )
        if fit == "trim":
            last = min(len(a), len(b)) - 1
            a, b = trim(a, 0, last), trim(b, 0, last)
        return io.NodeOutput(mix(a, b, expression_weight, pose_weight, is_fitting=fit == "loop"))


class HunyuanPortraitSaveMotion(io.ComfyNode):
    """Keep a motion in a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitSaveMotion",
            display_name="HunyuanPortrait Save Motion",
            category="HunyuanPortrait/Motion",
            description="Save a motion as .safetensors in ComfyUI's output folder, to use it without its video.",
            inputs=[
                sockets.Motion.Input("motion", tooltip=f"From '{ENCODE}' or an edit."),
                io.String.Input(
                    "filename_prefix",
                    default=f"{motion_folder.FOLDER}/motion",
                    tooltip="Folder and start of the name below the output folder; a number is added. 'Load Motion' "
                    f"lists what lies in {motion_folder.FOLDER}.",
                ),
            ],
            outputs=[sockets.Motion.Output(display_name="motion", tooltip="The motion, unchanged.")],
            is_output_node=True,
            **sockets.supported(search_aliases=["export motion", "motion template"]),
        )

    @classmethod
    @checked
    def execute(cls, motion: Any, filename_prefix: str) -> io.NodeOutput:
        """Save."""
        saved = sockets.expect(motion, Motion, "motion", ENCODE)
        path, name = motion_folder.next_file(filename_prefix)
        save_motion(saved, path)
        progress.say(f"Saved {name}")
        return io.NodeOutput(saved, ui=ui.PreviewText(name))


class HunyuanPortraitLoadMotion(io.ComfyNode):
    """Read a motion from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="HunyuanPortraitLoadMotion",
            display_name="HunyuanPortrait Load Motion",
            category="HunyuanPortrait/Motion",
            description="Load a motion that was saved before; its video and the motion encoder are not needed.",
            inputs=[
                io.Combo.Input(
                    "motion_file",
                    options=motion_folder.list_files(),
                    tooltip=f"A .safetensors file in ComfyUI's input folder, or in output/{motion_folder.FOLDER}.",
                )
            ],
            outputs=[sockets.Motion.Output(display_name="motion", tooltip="The motion, bit for bit as it was saved.")],
            **sockets.supported(search_aliases=["import motion", "motion template"]),
        )

    @classmethod
    def validate_inputs(cls, motion_file: str | None) -> Literal[True] | str:
        """Say what to do about a missing file, which ComfyUI's own check does not."""
        if motion_file is not None:
            try:
                motion_folder.find(motion_file)
            except MediaError as error:
                return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, motion_file: str | None) -> str:
        """Load again when the file has changed."""
        return "" if motion_file is None else files.file_state(motion_folder.find(motion_file))

    @classmethod
    @checked
    def execute(cls, motion_file: str) -> io.NodeOutput:
        """Load."""
        path = motion_folder.find(motion_file)
        with blaming("motion_file", (MediaError,)):
            return io.NodeOutput(load_motion(path))


def _strength(name: str, of_what: str) -> io.Input:
    return io.Float.Input(
        name, default=1.0, min=0.0, max=10.0, step=0.05, tooltip=f"Strength {of_what}; 1 leaves it, 0 takes it away."
    )


def _smoothing(name: str, of_what: str) -> io.Input:
    return io.Int.Input(
        name,
        default=1,
        min=1,
        max=101,
        step=2,
        tooltip=f"Frames (odd) over which each frame is averaged with its neighbours, 1 is off: {of_what}.",
    )


def _weight(name: str, of_what: str) -> io.Input:
    return io.Float.Input(
        name,
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip=f"mix: whose {of_what}; 0 is a's, 1 is b's.",
    )


def _cut(motion: Motion, first: int, count: int) -> Motion:
    end = first + count if count else len(motion)
    if not first < end <= len(motion):
        raise ConfigurationError(
            f"first_frame {first} and num_frames {count} reach past the motion's {len(motion)} frames; lower them (0 "
            f"for num_frames keeps all to the end)."
        )
    return trim(motion, first, end - 1)


def _first_rotation(motion: Motion) -> tuple[float, float, float]:
    first, second, third = motion.rotation[0].tolist()
    return first, second, third


NODES = [
    HunyuanPortraitEncodeMotion,
    HunyuanPortraitEditMotion,
    HunyuanPortraitCombineMotions,
    HunyuanPortraitSaveMotion,
    HunyuanPortraitLoadMotion,
]
