"""Encoding to H.264 with the audio of another file."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigurationError, MediaError, ShapeError
from ..overlap import write_behind
from .decoding import clock_start, open_container
from .files import replacing, temporary_beside, write_error
from .timing import FrameClock, FrameRate, read_frame_rate

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.error import FFmpegError

VIDEO_SUFFIXES = (".mp4", ".mov")
"""What write_video writes; both hold any frame rate exactly."""

# Values of AVColorSpace (and of primaries and transfer) and AVColorRange, the same in every FFmpeg.
_BT709 = 1
_LIMITED, _FULL = 1, 2

_MAX_SIDE = 16384
_MAX_CRF = 51

# What FFmpeg says about the video itself; the system says it about no file.
_NOT_THE_FILE = (errno.EINVAL, errno.ERANGE, errno.EDOM, errno.ENOMEM)

# SWS_BILINEAR, SWS_FULL_CHR_H_INP, SWS_ACCURATE_RND: without the last, colours shift by a fraction of a level.
_EXACT_COLOURS = 0x2 | 0x4000 | 0x40000


def write_video(
    path: Path | str,
    frames: Iterable[np.ndarray],
    frame_rate: FrameRate,
    *,
    timestamps: Sequence[Fraction] | None = None,
    audio_from: Path | str | None = None,
    audio_start: Fraction | None = None,
    audio_length: Fraction | None = None,
    metadata: Mapping[str, str] | None = None,
    crf: int = 17,
) -> int:
    """Encode frames as they come, as H.264 4:2:0 in BT.709, limited range; the file appears whole or not at all.

    The audio packets of another file are copied as they are, at their own times and, unless a part is asked for, to
    their own end. 4:2:0 wants even sides: the last row or column of an odd one is shown twice.

    Args:
        path: Its suffix must be one of VIDEO_SUFFIXES.
        frames: (H, W, 3) uint8 RGB, all of one size; encoded while the next ones are made, so they must not change.
        frame_rate: Frames per second, as in read_frame_rate (29.97 is 2997/100).
        timestamps: Those of the VideoSource that gave the rate; None for a constant rate from 0 on.
        audio_from: A file with video whose audio is carried over, if it has any.
        audio_start: That of the VideoSource: time in that file, seconds, at which the first frame is shown; what
            sounds before it is left out. None is where that file's own clock begins.
        audio_length: Seconds from there after which no more audio packet begins; None takes all.
        metadata: Tags of the file, any keys.
        crf: x264's quality, 0 lossless to 51; 17 is hard to tell from the original.

    Returns:
        Number of frames written.

    Raises:
        MediaError: If there are no frames, the folder cannot be written to, the disk is full, or the container cannot
            hold the audio or the video.
        ShapeError: If a frame is not (H, W, 3) uint8 of the size of the first, or too large for H.264.
        ConfigurationError: If the rate, the timestamps or the quality are unusable.
    """
    path = Path(path)
    _check_suffix(path)
    _check_crf(crf)
    rate, clock = _rate_and_clock(frame_rate, timestamps)
    part = _AudioPart(audio_start, audio_length)
    with replacing(path) as temporary, _opened_audio(audio_from) as source:
        with (
            _Encoder(path, temporary, rate, clock, source, metadata or {}, crf, part) as encoder,
            write_behind(encoder.write) as write,
        ):
            for frame in frames:
                write(frame)
        if encoder.num_frames == 0:
            raise MediaError(f"Nothing to write to {path}: there are no frames; give a driving video that has some.")
    return encoder.num_frames


def check_writable(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    frame_rate: FrameRate = 25,
    timestamps: Sequence[Fraction] | None = None,
    audio_from: Path | str | None = None,
    crf: int = 17,
) -> None:
    """Write a one-frame video beside the target and remove it, so that what must fail does so before the sampling.

    Args:
        size: Height and width of the frames to come, pixels; a small one if None.
        frame_rate: As in write_video, like the rest; give what it will be given.

    Raises:
        MediaError: As write_video would raise it, like the rest.
        ShapeError: If the frames are too large for H.264.
        ConfigurationError: If the rate, the timestamps or the quality are unusable.
    """
    path = Path(path)
    _check_suffix(path)
    _check_crf(crf)
    rate, clock = _rate_and_clock(frame_rate, timestamps)
    size = size or (64, 64)
    _check_size(*size)
    with (
        temporary_beside(path.resolve()) as temporary,
        _opened_audio(audio_from) as source,
        _Encoder(path, temporary, rate, clock, source, {}, crf, _AudioPart(), has_whole_audio=False) as encoder,
    ):
        encoder.write(np.zeros((*size, 3), np.uint8))


class _Encoder:
    """One output file. Errors name ``path``, although ``temporary`` is what is written."""

    def __init__(
        self,
        path: Path,
        temporary: Path,
        frame_rate: Fraction,
        clock: FrameClock,
        source: InputContainer | None,
        metadata: Mapping[str, str],
        crf: int,
        audio_part: _AudioPart,
        has_whole_audio: bool = True,
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.num_frames = 0
        self._reformatter = VideoReformatter()
        self._path = path
        self._frame_rate = frame_rate
        self._clock = clock
        self._source = source
        self._size: tuple[int, int] | None = None
        self._num_packets = 0
        self._has_whole_audio = has_whole_audio
        with self._blaming():
            # use_metadata_tags: without it, mp4 keeps only the tags that iTunes knows.
            self._output = av.open(str(temporary), "w", options={"movflags": "+faststart+use_metadata_tags"})
        self._output.metadata.update(metadata)
        self._video = self._output.add_stream("libx264", rate=frame_rate)
        # x264's macroblock tree reads uninitialised memory at widths like 64 or 720, and the file varies with it.
        self._video.options = {"crf": str(crf), "x264-params": "mbtree=0"}
        if clock.timestamps is not None:
            self._video.options["bf"] = "0"  # packets then come in the order of frames, each with its own duration
        self._audio = _AudioCopy(path, source, audio_part, self._output)

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        from av.error import FFmpegError

        try:
            if kind is None and self.num_frames:
                with self._blaming():
                    self._mux(self._video.encode(None))
                    if self._has_whole_audio:
                        self._audio.copy()
                    self._output.close()
        finally:
            # After a failure, closing fails for the same reason; the first error is the one to report.
            with contextlib.suppress(FFmpegError):
                self._output.close()

    def write(self, frame: np.ndarray) -> None:
        """Append a frame and the audio up to its time."""
        from av import VideoFrame

        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ShapeError(
                f"A frame must be (H, W, 3) uint8; frame {self.num_frames} is {frame.shape} {frame.dtype}."
            )
        height, width = frame.shape[:2]
        if self._size is None:
            self._start(height, width)
        if (height, width) != self._size:
            raise ShapeError(
                f"Frames must have one size: frame 0 is {self._size}, frame {self.num_frames} {frame.shape}."
            )
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        with self._blaming():
            picture = self._reformatter.reformat(
                VideoFrame.from_ndarray(even, format="rgb24"),
                format="yuv420p",
                src_colorspace=_BT709,
                dst_colorspace=_BT709,
                src_color_range=_FULL,
                dst_color_range=_LIMITED,
                interpolation=_EXACT_COLOURS,
            )
            picture.pts, picture.time_base = self._clock.ticks(self.num_frames), self._clock.time_base
            self._mux(self._video.encode(picture))
            self.num_frames += 1
            self._audio.copy(until=picture.pts * self._clock.time_base)

    def _start(self, height: int, width: int) -> None:
        from av.error import FFmpegError

        _check_size(height, width)
        self._size = height, width
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context.time_base = self._clock.time_base
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        try:
            context.open()
        except FFmpegError as error:
            raise self._refused("The H.264 encoder", error) from error

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            packet.duration = self._clock.ticks(self._num_packets + 1) - self._clock.ticks(self._num_packets)
            self._num_packets += 1
            self._output.mux(packet)

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        """Report what the library cannot write as the fault of the output, of its audio, or of the video itself."""
        from av.error import FFmpegError

        try:
            yield
        except FFmpegError as error:
            # Not before the end does the library find some audio impossible (PCM without a channel layout in mp4).
            if error.errno == errno.EINVAL and self._source is not None and self._source.streams.audio:
                raise _audio_refused(self._path, self._source) from error
            # FFmpeg's own codes are none of the system's.
            if error.errno in _NOT_THE_FILE or error.errno not in errno.errorcode:
                raise self._refused(f"The file {self._path}", error) from error
            raise write_error(self._path, error.errno, error.strerror) from error

    def _refused(self, who: str, error: FFmpegError) -> MediaError:
        height, width = self._size or (0, 0)
        return MediaError(
            f"{who} cannot take frames of {width}x{height} pixels at {self._frame_rate} per second ({error.strerror}); "
            "scale them down, or choose a usual frame rate such as 25."
        )


class _AudioCopy:
    """Carries the packets of all audio streams over, byte for byte and at their own times.

    Raises:
        MediaError: If the container cannot hold a stream; names its codec.
    """

    def __init__(self, path: Path, source: InputContainer | None, part: _AudioPart, output: OutputContainer) -> None:
        self._output = output
        self._packets: Iterator[Packet] = iter(())
        if source is not None and source.streams.audio:
            streams = {}
            for stream in source.streams.audio:
                try:
                    streams[stream.index] = output.add_stream_from_template(stream)
                except ValueError as error:
                    raise _audio_refused(path, source) from error
            self._packets = _audio_packets(source, streams, part)
        self._next = next(self._packets, None)

    def copy(self, until: Fraction | None = None) -> None:
        """Write the packets that are due at a time in seconds, or all that are left."""
        while (packet := self._next) is not None:
            if until is not None and (packet.dts or 0) * packet.time_base > until:
                break
            self._output.mux(packet)
            self._next = next(self._packets, None)


@dataclass(frozen=True)
class _AudioPart:
    """What of the audio is wanted, seconds; see write_video."""

    start: Fraction | None = None
    length: Fraction | None = None


def _audio_packets(source: InputContainer, streams: Mapping[int, AudioStream], part: _AudioPart) -> Iterator[Packet]:
    from av.error import FFmpegError

    start = clock_start(source) if part.start is None else part.start
    ended: set[int] = set()
    try:
        if part.start:
            source.seek(int(part.start * 1_000_000))
        for packet in source.demux(source.streams.audio):
            if packet.pts is None or packet.dts is None:  # the empty packet that ends a stream
                continue
            offset = round(start / packet.time_base)
            packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
            if part.start is not None and packet.pts < 0:
                continue
            if part.length is not None and packet.dts * packet.time_base >= part.length:
                ended.add(packet.stream_index)
                if ended == streams.keys():
                    return
                continue
            packet.stream = streams[packet.stream_index]
            yield packet
    except FFmpegError as error:
        raise MediaError(
            f"The audio of {source.name} cannot be read ({error.strerror}); copy or convert that file, or leave the "
            "audio out."
        ) from error


def _audio_refused(path: Path, source: InputContainer) -> MediaError:
    codecs = " and ".join(sorted({stream.codec_context.name for stream in source.streams.audio}))
    others = " or ".join(suffix for suffix in VIDEO_SUFFIXES if suffix != path.suffix.lower())
    return MediaError(
        f"{path.suffix} cannot hold the {codecs} audio of {source.name}; write {others}, convert that audio to AAC "
        "first, or leave it out."
    )


@contextlib.contextmanager
def _opened_audio(path: Path | str | None) -> Iterator[InputContainer | None]:
    if path is None:
        yield None
        return
    with open_container(Path(path)) as container:
        yield container


def _rate_and_clock(frame_rate: FrameRate, timestamps: Sequence[Fraction] | None) -> tuple[Fraction, FrameClock]:
    rate = read_frame_rate(frame_rate, is_mean=timestamps is not None)
    return rate, FrameClock.constant(rate) if timestamps is None else FrameClock.variable(timestamps)


def _check_crf(crf: int) -> None:
    if not 0 <= crf <= _MAX_CRF:
        raise ConfigurationError(f"crf must be 0 (lossless) to {_MAX_CRF} (worst); got {crf}. Give e.g. 17.")


def _check_size(height: int, width: int) -> None:
    if min(height, width) < 1:
        raise ShapeError(f"Frames must have at least one pixel, but they are {width}x{height}; give larger ones.")
    if max(height, width) > _MAX_SIDE:
        raise ShapeError(
            f"H.264 holds at most {_MAX_SIDE} pixels a side, but the frames are {width}x{height}; scale them down."
        )


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise MediaError(
            f"Cannot write {path}: the suffix must be one of {', '.join(VIDEO_SUFFIXES)}; rename the output."
        )
