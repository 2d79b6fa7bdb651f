"""Which examples a run trains on: those of the drawn world, or of prepared videos."""

from __future__ import annotations

from .config import TrainingConfig
from .style import open_style
from .toy_data import ToyClips, ToyFrames
from .video_data import VideoClips, VideoFrames


def open_clips(config: TrainingConfig, seed: int, length: int) -> ToyClips | VideoClips:
    """Open as many clips as asked for.

    Raises:
        ConfigurationError: If prepared videos lack what the configuration needs.
        MediaError: If one of their shards is missing.
        WeightsError: If the network that redraws clips is not one.
    """
    if config.data.style_model:
        open_style(config.data.style_model)  # here too, so that a wrong file is found before the first step
    kind = VideoClips if config.data.videos else ToyClips
    return kind(config.model, config.data, seed, length)


def open_frames(config: TrainingConfig, seed: int, length: int) -> ToyFrames | VideoFrames:
    """Open as many runs of frames, for the VAE, as asked for; errors as in ``open_clips``."""
    return (VideoFrames if config.data.videos else ToyFrames)(config.data, seed, length)
