"""Presentation times of frames, as exact fractions of a second."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ..errors import ConfigurationError

_MAX_TIMESCALE = 1_000_000
_USUAL_TIMESCALE = 90_000
_MAX_INTEGER = 2**31 - 1


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

        Raises:
            ConfigurationError: If the rate is not positive, or not a ratio of the size that files can hold.
        """
        if frame_rate <= 0 or max(frame_rate.as_integer_ratio()) > _MAX_INTEGER:
            raise ConfigurationError(
                f"frame_rate must be a positive ratio of whole numbers below 2**31; got {frame_rate}. "
                "Give e.g. 25 or Fraction(30000, 1001)."
            )
        return cls(1 / frame_rate)

    @classmethod
    def variable(cls, timestamps: Sequence[Fraction]) -> FrameClock:
        """Make a clock for given times: exact where a tick of a microsecond or more divides them all.

        Raises:
            ConfigurationError: If the times do not increase by at least a tick, or start before 0.
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
