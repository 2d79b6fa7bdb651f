"""Presentation times of frames, as exact fractions of a second."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ..errors import ConfigurationError

_MAX_TIMESCALE = 1_000_000
_USUAL_TIMESCALE = 90_000

# The files count a frame's duration, and the delay of one that waits for others, in 32 bits.
_MAX_INTEGER = 2**28
_MAX_DURATION = 1000
_MIN_RATE, _MAX_RATE = Fraction(1, _MAX_DURATION), 1000  # above, FFmpeg's readers lose frames of short clips

_RATE_TEXT = re.compile(r"[0-9]*\.?[0-9]*|[0-9]+/[0-9]+")

FrameRate = Fraction | float | str
"""A frame rate as read_frame_rate takes it."""


def read_frame_rate(rate: FrameRate, *, is_mean: bool = False) -> Fraction:
    """Read a frame rate as it is written down: 29.97, as number or text, is 2997/100, and "30000/1001" is itself.

    Args:
        rate: Frames per second, 1/1000 to 1000.
        is_mean: Whether timestamps say the times, so that the nearest ratio that files can hold will do.

    Raises:
        ConfigurationError: If it is not a number, out of range, or not a ratio of the size that files can hold.
    """
    try:
        exact = _parse(rate)
    except (ValueError, ZeroDivisionError) as error:
        raise _unusable(rate) from error
    if not _MIN_RATE <= exact <= _MAX_RATE:
        raise _unusable(rate)
    if is_mean:
        return exact.limit_denominator(_MAX_INTEGER // _MAX_RATE)
    if max(exact.as_integer_ratio()) > _MAX_INTEGER:
        raise ConfigurationError(
            f"frame_rate must be a ratio of whole numbers up to {_MAX_INTEGER}; got {exact} ({float(exact):.6g}). "
            "Give e.g. 29.97 or '30000/1001'."
        )
    return exact


def _parse(rate: FrameRate) -> Fraction:
    if isinstance(rate, (int, Fraction)):
        return Fraction(rate)
    text = str(rate)
    if not _RATE_TEXT.fullmatch(text):  # a power of ten could be too large to compute
        raise ValueError(text)
    return Fraction(text)


def _unusable(rate: FrameRate) -> ConfigurationError:
    shown = repr(rate) if isinstance(rate, str) else str(rate)
    return ConfigurationError(
        f"frame_rate must be {_MIN_RATE} to {_MAX_RATE} frames per second, as a number or a ratio like '30000/1001'; "
        f"got {shown:.80}. Give e.g. 25."
    )


@dataclass(frozen=True)
class Timing:
    """When the frames of a video are shown.

    Attributes:
        num_frames: Number of frames.
        frame_rate: Frames per second; the mean where the rate varies.
        timestamps: None where frame i is shown at i / frame_rate. Otherwise num_frames + 1 times in seconds on the
            clock that the audio shares: the start of each frame, and the end of the last.
    """

    num_frames: int
    frame_rate: Fraction
    timestamps: tuple[Fraction, ...] | None = None


def find_timing(timestamps: Sequence[Fraction], tick: Fraction, candidates: Iterable[Fraction | None]) -> Timing:
    """Recognise a constant rate behind presentation times.

    A file rounds its times to a tick (a Matroska file to milliseconds), so times are taken for constant if a rate
    explains all of them to within one tick, however long the video is.

    Args:
        timestamps: Start of each frame and the end of the last, seconds, increasing; at least two.
        tick: The unit in which the file stores times, seconds.
        candidates: Rates that the file's header suggests, best first; None and 0 are skipped.
    """
    num_frames = len(timestamps) - 1
    spans = (timestamps[-1] - timestamps[0]) / num_frames, timestamps[1] - timestamps[0]
    for rate in (*candidates, *(1 / span for span in spans)):
        if rate and all(abs(time - Fraction(i) / rate) <= tick for i, time in enumerate(timestamps[:-1])):
            return Timing(num_frames, rate)
    return Timing(num_frames, 1 / spans[0], tuple(timestamps))


@dataclass(frozen=True)
class FrameClock:
    """Presentation times in the whole ticks that a container stores.

    Attributes:
        time_base: Length of a tick, seconds.
        timestamps: As in Timing; None where every frame lasts one tick.
    """

    time_base: Fraction
    timestamps: tuple[Fraction, ...] | None = None

    @classmethod
    def constant(cls, frame_rate: Fraction) -> FrameClock:
        """Make a clock that ticks once a frame, so that nothing is rounded and nothing drifts.

        Args:
            frame_rate: As read_frame_rate gives it.
        """
        return cls(1 / frame_rate)

    @classmethod
    def variable(cls, timestamps: Sequence[Fraction]) -> FrameClock:
        """Make a clock for given times: exact where a tick of a microsecond or more divides them all.

        Raises:
            ConfigurationError: If the times do not increase by at least a tick, start before 0, or a frame lasts more
                than 1000 seconds.
        """
        scale = math.lcm(*(time.denominator for time in timestamps))
        if scale > _MAX_TIMESCALE:
            scale = _USUAL_TIMESCALE
        clock = cls(Fraction(1, scale), tuple(timestamps))
        ticks = [clock.ticks(i) for i in range(len(timestamps))]
        if len(ticks) < 2 or ticks[0] < 0 or any(b <= a for a, b in pairwise(ticks)):
            raise ConfigurationError(
                "timestamps must be seconds from 0 on that increase, the last being the end of the last frame; "
                "pass those of the VideoSource."
            )
        longest = max(b - a for a, b in pairwise(timestamps))
        if longest > _MAX_DURATION:
            raise ConfigurationError(
                f"timestamps may show a frame for at most {_MAX_DURATION} seconds, but one lasts {float(longest):.6g}; "
                "repeat that frame or cut the pause out."
            )
        return clock

    def ticks(self, frame: int) -> int:
        """Start of a frame, ticks; for the index behind the last frame, its end.

        Raises:
            ConfigurationError: If there is no timestamp for it.
        """
        if self.timestamps is None:
            return frame
        if frame >= len(self.timestamps):
            raise ConfigurationError(
                f"timestamps has {len(self.timestamps)} entries, enough for {len(self.timestamps) - 1} frames; "
                "give the start of every frame and the end of the last."
            )
        return round(self.timestamps[frame] / self.time_base)
