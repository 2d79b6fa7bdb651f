"""Speed: what the sampler may give up of the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..hunyuan_core.config import SamplingConfig
from ..hunyuan_core.sampling import PRESETS, SAMPLERS, SCHEDULES, Preset, SpeedConfig
from . import types as sockets
from .checking import blaming, checked

OF_PRESET = "as preset"
"""Choice that leaves a setting to the preset; numbers that do so are below what they can be."""
WINDOWS = {OF_PRESET: None, "around the end": True, "end with the video": False}
ADVANCED = {"advanced": True}


def number(name: str, least: int, most: int, tooltip: str) -> io.Input:
    """Offer a whole number that is the preset's unless it is given."""
    unset = least - 1
    return io.Int.Input(
        name,
        default=unset,
        min=unset,
        max=most,
        tooltip=f"{tooltip} {unset}: as the preset.",
        optional=True,
        extra_dict=ADVANCED,
    )


def choice(name: str, options: list[str], tooltip: str) -> io.Input:
    """Offer choices, the first of which is the preset's."""
    return io.Combo.Input(name, options=options, default=OF_PRESET, tooltip=tooltip, optional=True, extra_dict=ADVANCED)


def noise_level(name: str, tooltip: str) -> io.Input:
    """Offer an end of the interval of guidance."""
    return io.Float.Input(
        name,
        default=-1.0,
        min=-1.0,
        max=1000.0,
        step=0.1,
        tooltip=f"{tooltip} Below 0: as the preset.",
        optional=True,
        extra_dict=ADVANCED,
    )


class HunyuanPortraitSpeed(io.ComfyNode):
    """Approximations for the Sampler and the Guider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="HunyuanPortraitSpeed",
            display_name="HunyuanPortrait Speed",
            category="HunyuanPortrait/Sampling",
            description=(
                "Gives up a little of the picture for speed, for HunyuanPortrait Sampler. Factors are counted "
                "arithmetic against the release, which the Sampler without this node has 1.8 times less of."
            ),
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=["none", *PRESETS],
                    default="none",
                    tooltip="None changes nothing; fast computes at least 5 times less than the release, turbo 9. They "
                    "set steps and padding in place of the Sampler's.",
                ),
                number("steps", 1, 1000, "In place of the Sampler's: 15 compute 3 times less, 10 4.3 times."),
                number("padding", 0, 1000, "In place of the Sampler's; noise as with 15. With 7, chunks stay alike."),
                choice(
                    "schedule",
                    [OF_PRESET, *SCHEDULES],
                    "Noise levels: karras as released; with 10 steps or fewer align_your_steps comes nearer to 25.",
                ),
                choice(
                    "sampler",
                    [OF_PRESET, *SAMPLERS],
                    "Euler as released, and nearest to it with few steps; dpmpp_2m and unipc are of second order.",
                ),
                noise_level("guidance_above", "No guidance at noise levels up to this one: half a step's work there."),
                noise_level("guidance_up_to", "No guidance above this noise level. From 0.3 to 20: 2.7 times less."),
                number("feature_interval", 1, 100, "Run the UNet's deep part every so many steps; 2: 2.9 times less."),
                number("outer_layers", 1, 100, "Layers that run in every step when deep features are reused."),
                number("extrapolation_interval", 1, 100, "Run the UNet every so many steps; 2: 3.2 times less."),
                number("extrapolation_order", 1, 3, "Degree of the curve through the computed steps."),
                choice(
                    "windows",
                    list(WINDOWS),
                    "Around the end as released; windows that end with the video are fewer with some lengths.",
                ),
            ],
            outputs=[sockets.Speed.Output(display_name="speed", tooltip="For HunyuanPortrait Sampler or Guider.")],
            **sockets.supported(search_aliases=["hunyuan portrait", "fast", "turbo", "few steps", "speed up"]),
        )

    @classmethod
    @checked
    def execute(
        cls,
        preset: str,
        steps: int = 0,
        padding: int = -1,
        schedule: str = OF_PRESET,
        sampler: str = OF_PRESET,
        guidance_above: float = -1.0,
        guidance_up_to: float = -1.0,
        feature_interval: int = 0,
        outer_layers: int = 0,
        extrapolation_interval: int = 0,
        extrapolation_order: int = 0,
        windows: str = OF_PRESET,
    ) -> io.NodeOutput:
        """Put the preset and what was given beside it together."""
        base = PRESETS.get(preset, Preset(SpeedConfig()))
        low, high = base.speed.guidance_interval
        given: dict[str, Any] = {
            "schedule": schedule if schedule != OF_PRESET else None,
            "sampler": sampler if sampler != OF_PRESET else None,
            "guidance_interval": (
                guidance_above if guidance_above >= 0 else low,
                guidance_up_to if guidance_up_to >= 0 else high,
            ),
            "feature_interval": feature_interval or None,
            "num_outer_layers": outer_layers or None,
            "extrapolation_interval": extrapolation_interval or None,
            "extrapolation_order": extrapolation_order or None,
            "is_circular": WINDOWS[windows],
            "noise_padding": SamplingConfig.num_padding_frames if padding >= 0 else None,
        }
        sampling = dict(base.sampling)
        if steps > 0:
            sampling["num_inference_steps"] = steps
        if padding >= 0:
            sampling["num_padding_frames"] = padding
        with blaming("guidance_above, guidance_up_to"):
            speed = replace(base.speed, **{name: value for name, value in given.items() if value is not None})
        return io.NodeOutput(Preset(speed, sampling))


NODES = [HunyuanPortraitSpeed]
