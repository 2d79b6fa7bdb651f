"""Context windows over time."""

from __future__ import annotations

from ..errors import ConfigurationError


def context_windows(num_frames: int, window: int, overlap: int, shift: int = 0) -> list[list[int]]:
    """Cover a video with windows that overlap.

    Windows start every ``window - overlap`` frames, all moved back by ``shift``; indices are taken modulo the number of
    frames, so that the video is a circle and every window is full. A video shorter than a window goes around it more
    than once; its frames then appear in it several times.

    Args:
        shift: Frames; the released sampler lets it grow from step to step, so that the seams move.

    Returns:
        Frame indices of each window; every frame is in at least one.

    Raises:
        ConfigurationError: If the overlap does not let a window advance, or there is no frame.
    """
    if num_frames < 1:
        raise ConfigurationError(f"num_frames must be at least 1; got {num_frames}.")
    if not 0 <= overlap < window:
        raise ConfigurationError(f"context_overlap must be in [0, context_window); got {overlap} and {window}.")
    starts = range(0, num_frames, window - overlap)
    return [[(start - shift + i) % num_frames for i in range(window)] for start in starts]
