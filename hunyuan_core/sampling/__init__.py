"""Noise levels, guidance, context windows, the denoiser and the samplers over it.

Nothing here knows a network: the denoiser takes a callable that predicts v for one window.
"""

from .denoiser import Denoiser, Predictor, WindowMap
from .extrapolation import ExtrapolatingDenoiser, computed_steps, extrapolate
from .guidance import branch_weights, guidance_ramp
from .multistep import sample_dpmpp_2m, sample_unipc
from .noise import initial_noise
from .samplers import sample_ddim, sample_euler
from .sigmas import align_your_steps_sigmas, apply_strength, karras_sigmas
from .speed import PRESETS, SAMPLERS, SCHEDULES, Preset, SpeedConfig
from .windows import context_windows

__all__ = [
    "PRESETS",
    "SAMPLERS",
    "SCHEDULES",
    "Denoiser",
    "ExtrapolatingDenoiser",
    "Predictor",
    "Preset",
    "SpeedConfig",
    "WindowMap",
    "align_your_steps_sigmas",
    "apply_strength",
    "branch_weights",
    "computed_steps",
    "context_windows",
    "extrapolate",
    "guidance_ramp",
    "initial_noise",
    "karras_sigmas",
    "sample_ddim",
    "sample_dpmpp_2m",
    "sample_euler",
    "sample_unipc",
]
