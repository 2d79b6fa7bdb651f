"""Noise levels, guidance, context windows, the denoiser and the samplers over it.

Nothing here knows a network: the denoiser takes a callable that predicts v for one window.
"""

from .denoiser import Denoiser, Predictor
from .guidance import branch_weights, guidance_ramp
from .noise import initial_noise
from .samplers import sample_ddim, sample_euler
from .sigmas import apply_strength, karras_sigmas
from .windows import context_windows

__all__ = [
    "Denoiser",
    "Predictor",
    "apply_strength",
    "branch_weights",
    "context_windows",
    "guidance_ramp",
    "initial_noise",
    "karras_sigmas",
    "sample_ddim",
    "sample_euler",
]
