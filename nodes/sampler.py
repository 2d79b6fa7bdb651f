"""Sampling: the released sampler in one node, or a guider and noise levels for ComfyUI's own samplers."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..hunyuan_core import data
from ..hunyuan_core.config import SamplingConfig
from ..hunyuan_core.errors import ConfigurationError
from ..hunyuan_core.models.memory import MemoryMode
from ..hunyuan_core.sampling import Preset, SpeedConfig
from . import types as sockets
from .checking import checked
from .comfy_bridge.guider import PADDING_KEY, PortraitGuider, PortraitVideo, sample_video, schedule
from .comfy_bridge.images import check_finite, images_of
from .comfy_bridge.memory import ManagedNetwork

DEFAULTS = SamplingConfig()
ADVANCED = {"advanced": True}
MEMORY_MODES = {
    "auto": None,
    "fastest": MemoryMode.TOGETHER,
    "one branch at a time": MemoryMode.ONE_BRANCH,
    "smallest": MemoryMode.ONE_BRANCH_CHUNKED,
}


def video_inputs() -> list[io.Input]:
    """Sockets that the Sampler and the Guider share."""
    return [
        io.Model.Input("model", tooltip="HunyuanPortrait's UNet, with or without LoRA and compile nodes between."),
        sockets.Appearance.Input("appearance", tooltip="The portrait, from Appearance (IMAdapter)."),
        sockets.Motion.Input("motion", tooltip="The driver's motion, from Motion Features or Edit Motion."),
        sockets.PoseGuider.Input("pose_guider", tooltip="The pose guider; it runs with black pose images too."),
    ]


def step_inputs() -> list[io.Input]:
    """How many steps, and where they start."""
    return [
        io.Int.Input(
            "steps", default=DEFAULTS.num_inference_steps, min=1, max=1000, tooltip="Denoising steps; released: 25."
        ),
        io.Float.Input(
            "strength",
            default=DEFAULTS.strength,
            min=0.01,
            max=1.0,
            step=0.01,
            tooltip="Share of the steps that run, above 0 to 1. Below 1 the video starts nearer to the still portrait.",
            extra_dict=ADVANCED,
        ),
    ]


def guidance_inputs() -> list[io.Input]:
    """Guidance, windows and conditions that the Sampler and the Guider share."""

    def scale(name: str, what: str, when: str) -> io.Input:
        return io.Float.Input(
            f"{name}{'_end' if when == 'last' else ''}",
            default=2.0,
            min=-100.0,
            max=100.0,
            step=0.05,
            tooltip=f"Weight of {what} at the {when} step, linear between the two; 1 is off, released: 2.",
            extra_dict=ADVANCED if when == "last" else None,
        )

    image, motion = "the portrait over no condition", "the motion over the portrait alone"
    return [
        scale("image_guidance", image, "first"),
        scale("motion_guidance", motion, "first"),
        scale("image_guidance", image, "last"),
        scale("motion_guidance", motion, "last"),
        io.Float.Input(
            "motion_scale",
            default=DEFAULTS.motion_scale,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="Factor of the attention to the motion inside the UNet; released: 1.",
            extra_dict=ADVANCED,
        ),
        io.Int.Input(
            "context_window",
            default=DEFAULTS.context_window,
            min=1,
            max=1000,
            tooltip="Frames that the UNet sees together; released: 25. Fewer need less memory and drift more.",
            extra_dict=ADVANCED,
        ),
        io.Int.Input(
            "context_overlap",
            default=DEFAULTS.context_overlap,
            min=0,
            max=999,
            tooltip="Frames that neighbouring windows share, fewer than the window has; released: 3.",
            extra_dict=ADVANCED,
        ),
        io.Int.Input(
            "context_shift",
            default=DEFAULTS.context_shift,
            min=0,
            max=999,
            tooltip="Frames by which the windows move from step to step, so that seams do not stay; released: 3.",
            extra_dict=ADVANCED,
        ),
        io.Int.Input(
            "padding",
            default=DEFAULTS.num_padding_frames,
            min=0,
            max=1000,
            tooltip="Frames before and after the video in which the motion fades; computed and dropped. Released: 15.",
            extra_dict=ADVANCED,
        ),
        io.Float.Input(
            "fps_condition",
            default=DEFAULTS.fps,
            min=0.0,
            max=1000.0,
            step=0.5,
            tooltip="What SVD is told of the frame rate; not the rate of the output. Released: 12.5.",
            extra_dict=ADVANCED,
        ),
        io.Float.Input(
            "motion_bucket_id",
            default=DEFAULTS.motion_bucket_id,
            min=0.0,
            max=1000.0,
            step=1.0,
            tooltip="What SVD is told of the amount of motion; released: 0.",
            extra_dict=ADVANCED,
        ),
        io.Float.Input(
            "noise_aug_strength",
            default=DEFAULTS.noise_aug_strength,
            min=0.0,
            max=100.0,
            step=0.01,
            tooltip="What SVD is told of the noise on the portrait; set it as in Appearance (IMAdapter). Released: 0.",
            extra_dict=ADVANCED,
        ),
        io.Combo.Input(
            "memory_mode",
            options=list(MEMORY_MODES),
            default="auto",
            tooltip="How windows are computed; the picture is the same. Auto takes the fastest that fits the device.",
            extra_dict=ADVANCED,
        ),
        io.Image.Input(
            "pose_images",
            optional=True,
            tooltip="From Align Pose: one picture, or one for each frame. Without it they are black, as released.",
        ),
        sockets.Speed.Input(
            "speed",
            optional=True,
            tooltip="From Speed: what may be given up for speed. Without it nothing is.",
        ),
    ]


def make_guider(
    model: object,
    appearance: object,
    motion: object,
    pose_guider: object,
    pose_images: torch.Tensor | None,
    memory_mode: str,
    config: SamplingConfig,
    speed: SpeedConfig | None = None,
) -> PortraitGuider:
    """Check the sockets and put the video together."""
    poses = None if pose_images is None else images_of(pose_images, "pose_images")
    for number, image in enumerate([] if poses is None else poses):
        check_finite(image, "pose_images", number)
    video = PortraitVideo(
        sockets.expect(appearance, data.Appearance, "appearance", "HunyuanPortrait Appearance (IMAdapter)"),
        sockets.expect(motion, data.Motion, "motion", "HunyuanPortrait Motion Features"),
        sockets.expect(pose_guider, ManagedNetwork, "pose_guider", "Load HunyuanPortrait Pose Guider"),
        poses,
    )
    return PortraitGuider(model, video, config, MEMORY_MODES[memory_mode], speed)


def expect_speed(speed: object) -> Preset:
    """Check the socket; without a connection nothing is given up."""
    return Preset(SpeedConfig()) if speed is None else sockets.expect(speed, Preset, "speed", "HunyuanPortrait Speed")


def check_for_guider(preset: Preset) -> None:
    """Refuse what the nodes around SamplerCustomAdvanced decide, and what needs steps in a known order.

    Raises:
        ConfigurationError: Names what to leave out, and where to set it.
    """
    speed = preset.speed
    refused = {
        "steps": "num_inference_steps" in preset.sampling,
        "padding": "num_padding_frames" in preset.sampling,
        "schedule": speed.schedule != SpeedConfig.schedule,
        "sampler": speed.sampler != SpeedConfig.sampler,
        "extrapolation_interval": speed.extrapolation_interval > 1,
    }
    if names := [name for name, is_set in refused.items() if is_set]:
        raise ConfigurationError(
            f"speed: HunyuanPortrait Guider cannot apply {', '.join(names)}; choose preset none and leave these alone "
            "(steps and schedule are those of the SIGMAS, such as AlignYourStepsScheduler's for SVD, the sampler is "
            "KSamplerSelect's, padding is the Guider's own), or take HunyuanPortrait Sampler."
        )


class HunyuanPortraitSampler(io.ComfyNode):
    """The released sampler: Euler over the Karras levels, guidance by branches, windows over time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="HunyuanPortraitSampler",
            display_name="HunyuanPortrait Sampler",
            category="HunyuanPortrait/Sampling",
            description="Animates the portrait by the motion, with the released settings as defaults.",
            inputs=[
                *video_inputs(),
                io.Int.Input(
                    "seed",
                    default=DEFAULTS.seed,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Of the noise, drawn on the CPU: the same on every device. Released: 72580.",
                ),
                *step_inputs(),
                *guidance_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="samples", tooltip="The video's latents, for Decode or Save Long Video."),
                io.String.Output(display_name="report", tooltip="Windows, memory, time, and what had to be changed."),
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "animate portrait", "ksampler", "talking head"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        model: object,
        appearance: object,
        motion: object,
        pose_guider: object,
        seed: int,
        steps: int,
        strength: float,
        memory_mode: str,
        pose_images: torch.Tensor | None = None,
        speed: object = None,
        **guidance: Any,
    ) -> io.NodeOutput:
        """Sample the video."""
        preset = expect_speed(speed)
        config = preset.apply(sampling_config(guidance, seed=seed, num_inference_steps=steps, strength=strength))
        guider = make_guider(model, appearance, motion, pose_guider, pose_images, memory_mode, config, preset.speed)
        samples = sample_video(guider)
        return io.NodeOutput({"samples": samples, PADDING_KEY: config.num_padding_frames}, "\n".join(guider.report))


class HunyuanPortraitGuider(io.ComfyNode):
    """Guidance and windows for ComfyUI's own samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="HunyuanPortraitGuider",
            display_name="HunyuanPortrait Guider",
            category="HunyuanPortrait/Sampling",
            description=(
                "For SamplerCustomAdvanced with any sampler and any sigmas. With Euler, HunyuanPortrait Sigmas and a "
                "RandomNoise of the same seed it gives what HunyuanPortrait Sampler gives."
            ),
            inputs=[*video_inputs(), *guidance_inputs()],
            outputs=[
                io.Guider.Output(display_name="guider", tooltip="For SamplerCustomAdvanced."),
                io.Latent.Output(
                    display_name="latent_image", tooltip="The portrait in every frame: latent_image of the sampler."
                ),
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "custom sampler", "cfg guider"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        model: object,
        appearance: object,
        motion: object,
        pose_guider: object,
        memory_mode: str,
        pose_images: torch.Tensor | None = None,
        speed: object = None,
        **guidance: Any,
    ) -> io.NodeOutput:
        """Make the guider."""
        config, preset = sampling_config(guidance), expect_speed(speed)
        check_for_guider(preset)
        guider = make_guider(model, appearance, motion, pose_guider, pose_images, memory_mode, config, preset.speed)
        return io.NodeOutput(guider, {"samples": guider.start_latents(), PADDING_KEY: config.num_padding_frames})


class HunyuanPortraitSigmas(io.ComfyNode):
    """The released noise levels."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="HunyuanPortraitSigmas",
            display_name="HunyuanPortrait Sigmas",
            category="HunyuanPortrait/Sampling",
            description="Karras noise levels from 700 to 0.002, then 0, as released. Align Your Steps (SVD) works too.",
            inputs=step_inputs(),
            outputs=[io.Sigmas.Output(display_name="sigmas", tooltip="Steps + 1 levels for SamplerCustomAdvanced.")],
            **sockets.supported(search_aliases=["hunyuan portrait", "scheduler", "karras"]),
        )

    @classmethod
    @checked
    def execute(cls, steps: int, strength: float) -> io.NodeOutput:
        """Give the noise levels."""
        return io.NodeOutput(schedule(steps, strength))


def sampling_config(guidance: dict[str, Any], **more: Any) -> SamplingConfig:
    """Gather the inputs of ``guidance_inputs`` in the core's settings.

    Raises:
        ConfigurationError: If a value is out of range, or the overlap does not leave room for a window to advance.
    """
    given = dict(guidance)
    for kind in ("image_guidance", "motion_guidance"):
        more[f"{kind}_scale"] = (given.pop(kind), given.pop(f"{kind}_end"))
    more["num_padding_frames"] = given.pop("padding")
    more["fps"] = given.pop("fps_condition")
    return SamplingConfig(**given, **more)


NODES = [HunyuanPortraitSampler, HunyuanPortraitGuider, HunyuanPortraitSigmas]
