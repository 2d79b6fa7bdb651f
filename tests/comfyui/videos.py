"""What a video file holds, and a short piece of one; read and written with PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av


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
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        video = reader.streams.video[0]
        rate = video.average_rate
        assert rate is not None
        out = writer.add_stream("libx264", rate=rate, options={"crf": "12"})
        out.width, out.height, out.pix_fmt = video.width, video.height, "yuv420p"
        for i, frame in enumerate(reader.decode(video)):
            if i == num_frames:
                break
            frame.pts, frame.time_base = i, 1 / rate
            writer.mux(out.encode(frame.reformat(format="yuv420p")))
        writer.mux(out.encode(None))
        if reader.streams.audio:
            _copy_sound(reader, writer, float(num_frames / rate))
    return target


def _copy_sound(reader: av.container.InputContainer, writer: av.container.OutputContainer, seconds: float) -> None:
    source = reader.streams.audio[0]
    target = writer.add_stream_from_template(source)
    reader.seek(0)
    for packet in reader.demux(source):
        if packet.pts is None or packet.time_base is None or packet.pts * packet.time_base >= seconds:
            break
        packet.stream = target
        writer.mux(packet)
