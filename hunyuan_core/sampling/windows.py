"""Context windows over time."""

from __future__ import annotations

from ..errors import ConfigurationError


def context_windows(
    num_frames: int, window: int, overlap: int, shift: int = 0, *, is_circular: bool = True
) -> list[list[int]]:
    """Cover a video with windows that overlap.

    Windows start every ``window - overlap`` frames, all moved back by ``shift``; indices are taken modulo the number of
    frames, so that the video is a circle and every window is full. A video shorter than a window goes around it more
    than once; its frames then appear in it several times.

    Args:
        shift: Frames; the released sampler lets it grow from step to step, so that the seams move.
        is_circular: False changes that: windows end with the video, the last one moved back to its end, and a video
            shorter than a window is one window of its length. They move only as far as they have room, so that there
            are as few as can be; where they fit exactly, the seams stay in place.

    Returns:
        Frame indices of each window; every frame is in at least one.

    Raises:
        ConfigurationError: If the overlap does not let a window advance, or there is no frame.
    """
    if num_frames < 1:
        raise ConfigurationError(f"num_frames must be at least 1; got {num_frames}.")
    if not 0 <= overlap < window:
        raise ConfigurationError(f"context_overlap must be in [0, context_window); got {overlap} and {window}.")
    stride = window - overlap
    if not is_circular:
        window = min(window, num_frames)
        last = num_frames - window
        num_more = -(-last // stride)
        shift %= num_more * stride - last + 1
        return [
            list(range(start, start + window))
            for start in [min(max(i * stride - shift, 0), last) for i in range(num_more + 1)]
        ]
    starts = range(0, num_frames, stride)
    return [[(start - shift + i) % num_frames for i in range(window)] for start in starts]
