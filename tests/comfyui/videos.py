"""What a video file holds, and a short piece of one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av

from hunyuan_core.video import open_video, write_video


@dataclass(frozen=True)
class VideoFacts:
    """What the tests look at.

    Attributes:
        num_frames: Counted by decoding.
        audio_seconds: Sound after decoding; 0 where the file holds none.
        brightness: Mean (0 to 255) of the luma of each frame.
    """

    num_frames: int
    fps: Fraction
    width: int
    height: int
    audio_seconds: float
    brightness: tuple[float, ...]

    @property
    def has_audio(self) -> bool:
        return self.audio_seconds > 0


def read_facts(path: Path) -> VideoFacts:
    """Decode a whole file, picture and sound."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        brightness = [float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video)]
        fps, width, height = video.average_rate, video.width, video.height
    seconds = 0.0
    with av.open(str(path)) as container:
        if container.streams.audio:
            seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert fps is not None
    return VideoFacts(len(brightness), fps, width, height, seconds, tuple(brightness))


def cut(source: Path, target: Path, num_frames: int) -> Path:
    """Encode the first frames of a video anew, with the sound that goes with them."""
    video = open_video(source)
    seconds = num_frames / video.frame_rate
    frames = islice(video, num_frames)
    write_video(target, frames, video.frame_rate, audio_from=source, audio_length=seconds)
    return target
