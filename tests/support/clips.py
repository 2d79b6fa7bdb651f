"""Small video files, made with PyAV alone so that what reads them is not what wrote them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NTSC = Fraction(30000, 1001)


def moving_frames(num_frames: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Smooth colour ramps that move, each frame with its own brightness: (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for i in range(num_frames):
        ramps = np.stack([x * 200 / width, y * 200 / height, np.full_like(x, 100)], axis=-1)
        frames.append(np.uint8(np.clip(ramps + 4 * (i % 12), 0, 255)))
    return frames


def make_clip(
    path: Path,
    *,
    num_frames: int = 24,
    size: tuple[int, int] = (96, 128),
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    audio_codec: str | None = None,
    audio_seconds: float = 1.0,
    **options: str,
) -> Path:
    """Encode moving ramps, and a tone where an audio codec is named.

    Args:
        size: Height and width.
        pts: Presentation times in units of ``time_base``, one a frame.
        options: Options of the container.
    """
    with av.open(str(path), "w", options=options) as output:
        video = output.add_stream(codec, rate=rate)
        video.height, video.width, video.pix_fmt = *size, pix_fmt
        if time_base is not None:
            video.codec_context.time_base = time_base
        audio = output.add_stream(audio_codec, rate=48000) if audio_codec else None
        for i, pixels in enumerate(moving_frames(num_frames, *size)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i if pts is None else pts[i]
            frame.time_base = time_base or 1 / Fraction(rate)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            for frame in _tone(audio, audio_seconds):
                output.mux(audio.encode(frame))
            output.mux(audio.encode(None))
    return path


def make_sound(path: Path, codec: str = "aac") -> Path:
    """Encode a second of tone and nothing else."""
    with av.open(str(path), "w") as output:
        audio = output.add_stream(codec, rate=48000)
        for frame in _tone(audio, 1.0):
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


def audio_packets(path: Path) -> list[tuple[Fraction, Fraction, bytes]]:
    """Time, duration (seconds) and bytes of every audio packet, stream after stream."""
    packets = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio):
            if packet.size:
                assert packet.pts is not None
                packets.append((packet.stream_index, packet.pts * packet.time_base, packet))
        packets.sort(key=lambda entry: entry[:2])
        return [(time, (packet.duration or 0) * packet.time_base, bytes(packet)) for _, time, packet in packets]


def turn(path: Path, matrix: tuple[int, int, int, int], width: int, height: int) -> Path:
    """Write a display matrix (a, b, c, d of ISO 14496-12) into the first track of an mp4 file.

    Args:
        width: Of the coded picture; moves it back into view where the matrix mirrors an axis.
        height: Of the coded picture.
    """
    a, b, c, d = matrix
    shift_x, shift_y = max(0, -(a * width), -(c * height)), max(0, -(b * width), -(d * height))
    fixed = [a << 16, b << 16, 0, c << 16, d << 16, 0, shift_x << 16, shift_y << 16, 1 << 30]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = struct.pack(">9i", *fixed)
    path.write_bytes(data)
    return path


def _tone(stream: av.AudioStream, seconds: float) -> list[av.AudioFrame]:
    """Cut a sine into frames of 1024 samples, 48 kHz stereo, in the format that the encoder wants."""
    num_samples = int(seconds * 48000)
    wave = np.sin(np.arange(num_samples) * (2 * np.pi * 440 / 48000)).astype(np.float32) * 0.3
    resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=48000)
    frames = []
    for start in range(0, num_samples, 1024):
        samples = np.stack([wave[start : start + 1024]] * 2)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        frames.extend(resampler.resample(frame))
    return frames
