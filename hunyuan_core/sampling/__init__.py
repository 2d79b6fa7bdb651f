"""Noise levels, guidance, context windows, the denoiser and the samplers over it."""
