"""Loading the model: one node for each part, and one for all of it."""

from __future__ import annotations

from comfy_api.latest import io

from ..hunyuan_core.errors import WeightsError
from ..hunyuan_core.faces.identity import ArcFace
from ..hunyuan_core.toy import TOY_FOLDER, toy_files, toy_reader_file
from ..hunyuan_core.training.toyworld.detector import DrawnFaceDetector
from . import types as sockets
from .checking import blaming, checked
from .comfy_bridge import files, model, untrained, vae
from .deferred import DeferredArcFace, DeferredYoloFace
from .detectors import HunyuanPortraitLoadFaceDetector, HunyuanPortraitLoadPoseDetector
from .loading import (
    WEIGHT_DTYPES,
    Validity,
    all_valid,
    chosen_dtype,
    dtype_input,
    file_input,
    load_image_encoder,
    load_managed,
    load_motion_encoder,
    weight_dtype_input,
)

RELEASED, TOY, UNTRAINED = "released", "toy", "untrained-tiny"
ALL_FILES = (*files.NETWORKS, files.ARCFACE, files.YOLOFACE)


class HunyuanPortraitLoadUNet(io.ComfyNode):
    """Load the denoising UNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitLoadUNet",
            display_name="Load HunyuanPortrait UNet",
            category="HunyuanPortrait/Loaders",
            description="Loads HunyuanPortrait's UNet, the SVD UNet with two attentions, one to the portrait and one "
            "to the motion.",
            inputs=[file_input(files.UNET), weight_dtype_input()],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="For HunyuanPortrait Sampler or Guider; LoRA, compile and attention nodes may lie between.",
                )
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "portrait animation", "load diffusion model"]),
        )

    @classmethod
    def validate_inputs(cls, unet_name: str | None) -> Validity:
        """Check the file's name."""
        return files.validate(files.UNET, unet_name)

    @classmethod
    def fingerprint_inputs(cls, unet_name: str | None, **_: object) -> str:
        """Load again what has changed on the disk."""
        return files.fingerprint(files.UNET, unet_name)

    @classmethod
    @checked
    def execute(cls, unet_name: str, weight_dtype: str) -> io.NodeOutput:
        """Load it."""
        path = files.resolve(files.UNET, unet_name)
        with blaming("unet_name", (WeightsError,)):
            return io.NodeOutput(model.portrait_patcher(path, WEIGHT_DTYPES[weight_dtype]))


class HunyuanPortraitLoadVAE(io.ComfyNode):
    """Load SVD's VAE in the diffusers format."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitLoadVAE",
            display_name="Load HunyuanPortrait VAE",
            category="HunyuanPortrait/Loaders",
            description="Loads the VAE of Stable Video Diffusion in the diffusers format. The VAE of an SVD "
            "checkpoint, from ComfyUI's own loaders, does as well.",
            inputs=[file_input(files.VAE), dtype_input()],
            outputs=[
                io.Vae.Output(
                    display_name="vae",
                    tooltip="For Appearance and Decode, and for ComfyUI's own VAE nodes. Its encoder stays in fp32, as "
                    "released.",
                )
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "svd vae", "temporal decoder"]),
        )

    @classmethod
    def validate_inputs(cls, vae_name: str | None) -> Validity:
        """Check the file's name."""
        return files.validate(files.VAE, vae_name)

    @classmethod
    def fingerprint_inputs(cls, vae_name: str | None, **_: object) -> str:
        """Load again what has changed on the disk."""
        return files.fingerprint(files.VAE, vae_name)

    @classmethod
    @checked
    def execute(cls, vae_name: str, dtype: str) -> io.NodeOutput:
        """Load it."""
        path = files.resolve(files.VAE, vae_name)
        with blaming("vae_name"):
            return io.NodeOutput(vae.portrait_vae(path, chosen_dtype(dtype)))


class HunyuanPortraitLoadImageEncoder(io.ComfyNode):
    """Load DINOv2 with its IMAdapters, and the token projection."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitLoadImageEncoder",
            display_name="Load HunyuanPortrait Image Encoder",
            category="HunyuanPortrait/Loaders",
            description="Loads what turns the portrait into image tokens: DINOv2 with IMAdapters, and the token "
            "projection.",
            inputs=[file_input(files.VISION), file_input(files.TOKEN_PROJECTION), dtype_input()],
            outputs=[sockets.ImageEncoder.Output(display_name="image_encoder", tooltip="For Appearance (IMAdapter).")],
            **sockets.supported(search_aliases=["hunyuan portrait", "dinov2", "imadapter"]),
        )

    @classmethod
    def validate_inputs(cls, vision_name: str | None, token_projection_name: str | None) -> Validity:
        """Check the files' names."""
        return all_valid((files.VISION, vision_name), (files.TOKEN_PROJECTION, token_projection_name))

    @classmethod
    def fingerprint_inputs(cls, vision_name: str | None, token_projection_name: str | None, **_: object) -> list[str]:
        """Load again what has changed on the disk."""
        return [
            files.fingerprint(files.VISION, vision_name),
            files.fingerprint(files.TOKEN_PROJECTION, token_projection_name),
        ]

    @classmethod
    @checked
    def execute(cls, vision_name: str, token_projection_name: str, dtype: str) -> io.NodeOutput:
        """Load them."""
        vision = files.resolve(files.VISION, vision_name)
        token_projection = files.resolve(files.TOKEN_PROJECTION, token_projection_name)
        with blaming("vision_name or token_projection_name"):
            return io.NodeOutput(load_image_encoder(vision, token_projection, chosen_dtype(dtype)))


class HunyuanPortraitLoadArcFace(io.ComfyNode):
    """Load ArcFace."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitLoadArcFace",
            display_name="Load HunyuanPortrait ArcFace",
            category="HunyuanPortrait/Loaders",
            description="Loads ArcFace, which tells the image encoder who the portrait shows. Needs onnxruntime. Leave "
            "it out for drawings and animals.",
            inputs=[file_input(files.ARCFACE)],
            outputs=[
                sockets.ArcFace.Output(display_name="arcface", tooltip="For Appearance (IMAdapter) and Evaluate.")
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "face recognition", "identity"]),
        )

    @classmethod
    def validate_inputs(cls, arcface_name: str | None) -> Validity:
        """Check the file's name."""
        return files.validate(files.ARCFACE, arcface_name)

    @classmethod
    def fingerprint_inputs(cls, arcface_name: str | None) -> str:
        """Load again what has changed on the disk."""
        return files.fingerprint(files.ARCFACE, arcface_name)

    @classmethod
    @checked
    def execute(cls, arcface_name: str) -> io.NodeOutput:
        """Load it."""
        path = files.resolve(files.ARCFACE, arcface_name)
        with blaming("arcface_name"):
            return io.NodeOutput(ArcFace(path, is_cpu_only=True))


class HunyuanPortraitLoadMotionEncoder(io.ComfyNode):
    """Load expression encoder, head-pose encoder and refiner."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitLoadMotionEncoder",
            display_name="Load HunyuanPortrait Motion Encoder",
            category="HunyuanPortrait/Loaders",
            description="Loads what reads the motion off the driving video: the expression encoder, the head-pose "
            "encoder, and the refiner with its memory bank. They compute in fp32 always, as released.",
            inputs=[file_input(files.EXPRESSION), file_input(files.HEAD_POSE), file_input(files.REFINER)],
            outputs=[
                sockets.MotionEncoder.Output(
                    display_name="motion_encoder", tooltip="For Motion Features and Evaluate. In fp32, as released."
                )
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "expression", "head pose", "memory bank"]),
        )

    @classmethod
    def validate_inputs(
        cls, expression_name: str | None, head_pose_name: str | None, refiner_name: str | None
    ) -> Validity:
        """Check the files' names."""
        return all_valid(
            (files.EXPRESSION, expression_name), (files.HEAD_POSE, head_pose_name), (files.REFINER, refiner_name)
        )

    @classmethod
    def fingerprint_inputs(
        cls, expression_name: str | None, head_pose_name: str | None, refiner_name: str | None
    ) -> list[str]:
        """Load again what has changed on the disk."""
        return [
            files.fingerprint(files.EXPRESSION, expression_name),
            files.fingerprint(files.HEAD_POSE, head_pose_name),
            files.fingerprint(files.REFINER, refiner_name),
        ]

    @classmethod
    @checked
    def execute(cls, expression_name: str, head_pose_name: str, refiner_name: str) -> io.NodeOutput:
        """Load them."""
        expression = files.resolve(files.EXPRESSION, expression_name)
        head_pose = files.resolve(files.HEAD_POSE, head_pose_name)
        refiner = files.resolve(files.REFINER, refiner_name)
        with blaming("expression_name, head_pose_name or refiner_name"):
            return io.NodeOutput(load_motion_encoder(expression, head_pose, refiner))


class HunyuanPortraitLoadPoseGuider(io.ComfyNode):
    """Load the pose guider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitLoadPoseGuider",
            display_name="Load HunyuanPortrait Pose Guider",
            category="HunyuanPortrait/Loaders",
            description="Loads the network that feeds pose images to the UNet; it is needed with black ones too.",
            inputs=[file_input(files.POSE_GUIDER), dtype_input()],
            outputs=[
                sockets.PoseGuider.Output(display_name="pose_guider", tooltip="For HunyuanPortrait Sampler or Guider.")
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "pose", "skeleton"]),
        )

    @classmethod
    def validate_inputs(cls, pose_guider_name: str | None) -> Validity:
        """Check the file's name."""
        return files.validate(files.POSE_GUIDER, pose_guider_name)

    @classmethod
    def fingerprint_inputs(cls, pose_guider_name: str | None, **_: object) -> str:
        """Load again what has changed on the disk."""
        return files.fingerprint(files.POSE_GUIDER, pose_guider_name)

    @classmethod
    @checked
    def execute(cls, pose_guider_name: str, dtype: str) -> io.NodeOutput:
        """Load it."""
        path = files.resolve(files.POSE_GUIDER, pose_guider_name)
        with blaming("pose_guider_name"):
            return io.NodeOutput(load_managed("pose_guider", path, chosen_dtype(dtype)))


class HunyuanPortraitLoadAll(io.ComfyNode):
    """Load the whole model by the released names."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        sources = {role.file.source: None for role in ALL_FILES}
        licences = " ".join(f"{source.repository}: {source.licence}" for source in sources)
        return io.Schema(
            node_id="HunyuanPortraitLoadAll",
            display_name="Load HunyuanPortrait (all)",
            category="HunyuanPortrait/Loaders",
            description="Loads the whole released model from models/hunyuan_portrait and its neighbours. The nodes for "
            "the parts let you choose each file.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[RELEASED, TOY, UNTRAINED],
                    default=RELEASED,
                    tooltip="released: the published weights. toy: the small model that the pack carries, with its own "
                    "face detector, to try a workflow in seconds without any download; it knows drawn faces only (size "
                    "128). untrained-tiny: random networks; their pictures are noise, and arcface is empty.",
                ),
                weight_dtype_input(),
                io.Boolean.Input(
                    "download_missing",
                    default=False,
                    tooltip=f"Fetch the files that are missing, up to 7.9 GB, into models/{files.FOLDER}, by which you "
                    f"accept their licences. {licences} Stability AI's repository is gated: first accept its licence "
                    "on its page, then log in with `hf auth login` or set HF_TOKEN.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The UNet, for HunyuanPortrait Sampler or Guider."),
                io.Vae.Output(display_name="vae", tooltip="For Appearance and Decode. Its encoder stays in fp32."),
                sockets.ImageEncoder.Output(display_name="image_encoder", tooltip="For Appearance (IMAdapter)."),
                sockets.ArcFace.Output(
                    display_name="arcface",
                    tooltip="For Appearance (IMAdapter) and Evaluate; arcface.onnx is opened when it is first used. "
                    "Leave it unconnected for drawings and animals.",
                ),
                sockets.MotionEncoder.Output(display_name="motion_encoder", tooltip="For Motion Features. In fp32."),
                sockets.PoseGuider.Output(display_name="pose_guider", tooltip="For HunyuanPortrait Sampler or Guider."),
                sockets.FaceDetector.Output(
                    display_name="face_detector",
                    tooltip="yoloface, for Detect Faces; yoloface_v5m.pt is opened when it is first used. With toy: "
                    "what finds drawn faces.",
                ),
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "portrait animation", "load checkpoint"]),
        )

    @classmethod
    def fingerprint_inputs(cls, weights: str | None, download_missing: bool | None, **_: object) -> list[str]:
        """Load again what has changed on the disk; with downloads nothing, or their own arrival would count."""
        if weights == TOY:
            return [files.file_state(path) for path in sorted(TOY_FOLDER.rglob("*")) if path.is_file()]
        if download_missing:
            return []
        roles = (files.YOLOFACE,) if weights == UNTRAINED else ALL_FILES
        return [files.file_state(files.find(role)) for role in roles]

    @classmethod
    @checked
    def execute(cls, weights: str, weight_dtype: str, download_missing: bool) -> io.NodeOutput:
        """Load it."""
        detector = None
        if weights == TOY:
            paths, detector = toy_files().paths, DrawnFaceDetector(toy_reader_file())
            arcface = DeferredArcFace(paths["arcface"], _remedy(files.ARCFACE))
        elif weights == UNTRAINED:
            paths = untrained.untrained_files() | files.find_all([files.YOLOFACE], download_missing)
            arcface = None
        else:
            paths = files.find_all(ALL_FILES, download_missing)
            arcface = DeferredArcFace(paths.get("arcface"), _remedy(files.ARCFACE))
        dtype = chosen_dtype("default")
        return io.NodeOutput(
            model.portrait_patcher(paths["unet"], WEIGHT_DTYPES[weight_dtype]),
            vae.portrait_vae(paths["vae"], dtype),
            load_image_encoder(paths["vision"], paths["token_projection"], dtype),
            arcface,
            load_motion_encoder(paths["expression"], paths["head_pose"], paths["refiner"]),
            load_managed("pose_guider", paths["pose_guider"], dtype),
            detector or DeferredYoloFace(paths.get("yoloface"), _remedy(files.YOLOFACE)),
        )


def _remedy(role: files.Role) -> str:
    return (
        f"{role.file.filename} is missing in {files.main_folder()}: turn on download_missing of 'Load HunyuanPortrait "
        f"(all)', or leave its {role.file.name if role is files.ARCFACE else 'face_detector'} output unconnected."
    )


NODES = [
    HunyuanPortraitLoadAll,
    HunyuanPortraitLoadUNet,
    HunyuanPortraitLoadVAE,
    HunyuanPortraitLoadImageEncoder,
    HunyuanPortraitLoadArcFace,
    HunyuanPortraitLoadMotionEncoder,
    HunyuanPortraitLoadPoseGuider,
    HunyuanPortraitLoadFaceDetector,
    HunyuanPortraitLoadPoseDetector,
]
