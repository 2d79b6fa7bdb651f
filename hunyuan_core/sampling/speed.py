"""What may be given up for speed. Everything is off by default; each part says what it changes and where it is from.

How much each part saves and loses is measured by ``benchmarks/quality.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ..config import SamplingConfig
from ..errors import ConfigurationError
from .multistep import sample_dpmpp_2m, sample_unipc
from .samplers import sample_ddim, sample_euler
from .sigmas import align_your_steps_sigmas, karras_sigmas

SCHEDULES = {"karras": karras_sigmas, "align_your_steps": align_your_steps_sigmas}
"""Noise levels for a number of steps, by name."""

SAMPLERS = {"euler": sample_euler, "ddim": sample_ddim, "dpmpp_2m": sample_dpmpp_2m, "unipc": sample_unipc}
"""Samplers, by name."""


@dataclass(frozen=True)
class SpeedConfig:
    """Approximations of one run. The defaults change nothing.

    Fewer steps and a smaller padding save time too; they are in ``SamplingConfig``.

    Raises:
        ConfigurationError: If a name is unknown or a value out of range.
    """

    schedule: str = "karras"
    """A key of ``SCHEDULES``; the levels of Align Your Steps bear 10 steps."""
    sampler: str = "euler"
    """A key of ``SAMPLERS``; those of second order bear fewer steps."""
    guidance_interval: tuple[float, float] = (0.0, math.inf)
    """Noise levels (above the first, up to and with the second) at which guidance applies. Outside of it only the
    branch with all conditions runs, at weight 1 (Kynkäänniemi et al. 2024, arXiv 2404.07724, eq. 4)."""
    feature_interval: int = 1
    """The deep part of the UNet runs every so many steps; see ``models.feature_reuse``. 1 is off."""
    num_outer_layers: int = 2
    """Layers of the up path that run in every step when deep features are reused, 1 or more."""
    extrapolation_interval: int = 1
    """The UNet runs every so many steps, the rest is extrapolated; see ``sampling.extrapolation``. 1 is off."""
    extrapolation_order: int = 1
    """Degree of that extrapolation: 1 from two estimates, 2 from three."""
    is_circular: bool = True
    """Whether windows go around the end of the video; see ``context_windows``."""
    noise_padding: int = 0
    """The noise is drawn as if there were at least so many frames of padding, so that a smaller padding does not make
    another picture of the same seed."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        for name, known in (("schedule", SCHEDULES), ("sampler", SAMPLERS)):
            if getattr(self, name) not in known:
                raise ConfigurationError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")
        low, high = self.guidance_interval
        if not 0 <= low < high:
            raise ConfigurationError(
                f"guidance_interval is a lower and a higher noise level, 0 or more; got {self.guidance_interval!r}."
            )
        for name, most in (
            ("feature_interval", 100),
            ("num_outer_layers", 100),
            ("extrapolation_interval", 100),
            ("extrapolation_order", 3),
            ("noise_padding", 1000),
        ):
            value, least = getattr(self, name), min(getattr(type(self), name), 1)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigurationError(f"{name} must be a whole number from {least} to {most}; got {value!r}.")


@dataclass(frozen=True)
class Preset:
    """Approximations that were put together for one purpose.

    Attributes:
        sampling: Values of SamplingConfig that go with them, by name.
    """

    speed: SpeedConfig
    sampling: dict[str, int] = field(default_factory=dict)

    def apply(self, config: SamplingConfig) -> SamplingConfig:
        """Put the preset's values into a configuration, leaving the rest as it is."""
        return replace(config, **self.sampling)


PRESETS = {
    # Found by trying all of one cost (benchmarks/NOTES.md). A run of few first-order steps is nearer to the release's
    # 25 than one of second order, which comes nearer to the ODE that those 25 themselves miss. 7 frames of padding
    # put the same frames into a chunk of the decoder as 15 do.
    "fast": Preset(
        SpeedConfig(
            schedule="align_your_steps",
            guidance_interval=(0.3, 20.0),
            noise_padding=SamplingConfig.num_padding_frames,
        ),
        {"num_inference_steps": 10, "num_padding_frames": 7},
    ),
    "turbo": Preset(
        SpeedConfig(
            schedule="align_your_steps",
            guidance_interval=(1.0, 10.0),
            is_circular=False,
            noise_padding=SamplingConfig.num_padding_frames,
        ),
        {"num_inference_steps": 6, "num_padding_frames": 7},
    ),
}
"""*fast*: at least 5 times less arithmetic than the plain path, all networks counted, from 25 to 2000 frames; *turbo*:
at least 9 times. Neither keeps anything but the latents from step to step."""
