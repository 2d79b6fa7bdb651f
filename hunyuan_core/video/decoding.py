"""Decoding of one video stream with PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError
from .timing import Timing, find_timing

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

_UNTIMED_RATE = Fraction(25)

# Values of AVColorSpace, the same in every FFmpeg.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 5

_HD_HEIGHT = 720


class VideoDecoder:
    """The first video stream of a file, or a part of it, decoded from the start as often as wanted.

    Args:
        part: Start and length in seconds, on the file's own clock; length 0 is all that follows.

    Attributes:
        width: Pixels, after rotation and with square pixels.
        height: Pixels, after rotation.
        has_audio: Whether the file has an audio stream.
        is_still: Whether there is one frame only.
        part_start: Time of the part's first frame on the file's own clock, seconds; None for the whole file.

    Raises:
        MediaError: If the file cannot be opened, has no video stream, or no frame in it or in the part.
    """

    def __init__(self, path: Path, part: tuple[float, float] | None = None) -> None:
        self.path = path
        self.part_start: Fraction | None = None
        self._part: _Part | None = None
        with open_container(path) as container:
            self.has_audio = bool(container.streams.audio)
            tick = find_video(container).time_base or Fraction(1)
        if part is not None:
            self._part = _Part.of(part, tick)
            self._part = replace(self._part, is_seekable=self._reaches(self._part.first))
            start = next((frame.pts for frame, _ in self._decode_part() if frame.pts is not None), None)
            if start is None:
                raise MediaError(f"{path} shows no frame in the part from {part[0]:g} s on; trim it less.")
            self.part_start = start * tick
        first_frames = list(islice(self.frames(), 2))
        if not first_frames:
            raise _damaged(path, 0, "its video stream is empty")
        self.height, self.width = first_frames[0].shape[:2]
        self.is_still = len(first_frames) == 1

    def frames(self) -> Iterator[np.ndarray]:
        """Decode from the start; should the resolution change later, frames are scaled to the first one's.

        Yields:
            (H, W, 3) uint8 RGB, upright; transparency lies over white.

        Raises:
            MediaError: If the file is damaged or cut; names the frame.
        """
        from av.video.reformatter import VideoReformatter

        size = None
        reformatter = VideoReformatter()  # a frame's own method makes a new one each time
        for frame, pixel_aspect in self._decode_part():
            size = size or (round(frame.width * pixel_aspect), frame.height)
            yield _turn_upright(_to_rgb(reformatter, frame, *size), _display_matrix(frame))

    def timing(self) -> Timing:
        """Decode the whole stream, without conversion to RGB, for the times of its frames.

        Raises:
            MediaError: As in frames.
        """
        pts = [frame.pts for frame, _ in self._decode_part()]
        with open_container(self.path) as container:
            stream = find_video(container)
            tick, start = stream.time_base, clock_start(container) if self.part_start is None else self.part_start
            rates = stream.guessed_rate, stream.average_rate, stream.base_rate
            # The last frame of a part lasts as long as the rate says.
            demuxed = container.demux(stream) if self._part is None else ()
            packets = (packet for packet in demuxed if packet.size and not packet.is_discard)
            ends = [None if packet.pts is None else packet.pts + (packet.duration or 0) for packet in packets]
        rate = rates[0] or _UNTIMED_RATE
        times = [value * tick - start for value in pts if value is not None and tick is not None]
        if not tick or None in pts or None in ends or any(b <= a for a, b in pairwise(times)):
            # Some files (AVI, bare streams) say in which order frames are decoded, not when they are shown.
            return Timing(len(pts), rate)
        end = max((value for value in ends if value is not None), default=0) * tick - start
        return find_timing([*times, end if end > times[-1] else times[-1] + 1 / rate], tick, rates)

    def _decode_part(self) -> Iterator[tuple[VideoFrame, Fraction]]:
        part = self._part
        if part is None:
            yield from self._decode()
            return
        for frame, pixel_aspect in self._decode(part.first if part.is_seekable else None):
            if frame.pts is None:
                raise MediaError(f"{self.path} has frames without a time and cannot be trimmed; convert it to mp4.")
            if part.last is not None and frame.pts >= part.last:
                return
            if frame.pts >= part.first:
                yield frame, pixel_aspect

    def _reaches(self, pts: int) -> bool:
        """Whether decoding can begin near a time without missing its frame: some files know no key frames."""
        try:
            frame = next((frame for frame, _ in self._decode(pts)), None)
        except MediaError:
            return False
        return frame is not None and frame.pts is not None and frame.pts <= pts

    def _decode(self, seek_to: int | None = None) -> Iterator[tuple[VideoFrame, Fraction]]:
        """Give each frame, and its pixels' width over their height.

        Args:
            seek_to: Begin with a key frame before this time, ticks; None is the file's beginning.
        """
        from av.error import FFmpegError

        num_frames = num_packets = 0
        end = Fraction(0)
        with open_container(self.path) as container:
            stream = find_video(container)
            stream.thread_type = "AUTO"
            tick = stream.time_base or Fraction(0)
            frame_duration = 1 / (stream.guessed_rate or _UNTIMED_RATE)
            pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
            try:
                if seek_to is not None:
                    container.seek(seek_to, stream=stream)
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        for frame in stream.decode(None):  # the whole frames that the decoder still holds
                            yield frame, pixel_aspect
                            num_frames += 1
                        raise _damaged(self.path, num_frames, "its data is cut off")
                    if packet.pts is not None:
                        num_packets += 1
                        end = max(end, packet.pts * tick + ((packet.duration or 0) * tick or frame_duration))
                    for frame in packet.decode():
                        yield frame, pixel_aspect
                        num_frames += 1
            except FFmpegError as error:
                raise _damaged(self.path, num_frames, error.strerror or str(error)) from error
            # Files round what they announce, and some exaggerate; but those hold all the packets that they count.
            is_counted = 0 < stream.frames <= num_packets
            if not is_counted and _announced_end(stream) > end + frame_duration:
                raise _damaged(self.path, num_frames, f"it announces {float(_announced_end(stream)):.2f} s")


@dataclass(frozen=True)
class _Part:
    """A part of a video, in ticks of the file.

    Attributes:
        first: The first tick.
        last: The tick after the last one; None is the video's end.
    """

    first: int
    last: int | None
    is_seekable: bool = False

    @classmethod
    def of(cls, part: tuple[float, float], tick: Fraction) -> _Part:
        # Rounded down as ComfyUI does, so that both find the same frames.
        start, length = part
        return cls(int(start / tick), int((start + length) / tick) if length else None)


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a file of any format that FFmpeg reads.

    Raises:
        MediaError: If it cannot be opened.
    """
    import av
    from av.error import FFmpegError

    try:
        # Absolute, or FFmpeg takes "a:b.mp4" for an address.
        container = av.open(str(path.absolute()), "r", metadata_errors="replace")
    except FFmpegError as error:
        raise MediaError(
            f"{path} cannot be read as a video ({error.strerror}): it is cut short, damaged or something else; "
            "copy or download it again, or convert it to mp4."
        ) from error
    with container:
        if container.format.name == "tty":  # FFmpeg plays any text as a film of a terminal
            raise MediaError(f"{path} is a text file; give a video.")
        yield container


def find_video(container: InputContainer) -> VideoStream:
    """Find the first video stream that is not the cover picture of an audio file.

    Raises:
        MediaError: If there is none; names what there is.
    """
    for stream in _videos(container):
        return stream
    kinds = " and ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise MediaError(f"{container.name} has no moving pictures, only {kinds}; give a file with video in it.")


def clock_start(container: InputContainer) -> Fraction:
    """Time in the file, seconds, that is 0 for the frames' timestamps and for the audio written with them.

    It is the file's own 0, except where all streams begin later (a piece of a broadcast) or pictures begin before 0.
    """
    videos = [_start(stream) for stream in _videos(container)[:1]]
    earliest = min([*videos, *(_start(stream) for stream in container.streams.audio)], default=Fraction(0))
    return min([*videos, max(Fraction(0), earliest)])


def _videos(container: InputContainer) -> list[VideoStream]:
    from av.stream import Disposition

    return [stream for stream in container.streams.video if Disposition.attached_pic not in stream.disposition]


def _start(stream: Stream) -> Fraction:
    return Fraction(stream.start_time or 0) * (stream.time_base or 0)


def _announced_end(stream: VideoStream) -> Fraction:
    """Time at which the header says that the stream ends, seconds; 0 where it says nothing."""
    if stream.duration is not None:
        return _start(stream) + Fraction(stream.duration) * (stream.time_base or 0)
    # Matroska has no duration per stream, but most programs that write it leave this tag.
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if match is None:
        return Fraction(0)
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)


def _damaged(path: Path, num_frames: int, reason: str) -> MediaError:
    if num_frames == 0:
        return MediaError(f"{path} has not one whole frame ({reason}); copy or download it again, or export it anew.")
    return MediaError(
        f"{path} breaks off at frame {num_frames} ({reason}); copy or download it again, or cut the video before it."
    )


def _to_rgb(reformatter: VideoReformatter, frame: VideoFrame, width: int, height: int) -> np.ndarray:
    """Convert to (height, width, 3) uint8 RGB by the matrix and range that the frame names."""
    # As players do where a file says nothing. Release: the same for its 512x512 material (pinned by frame0, frame60
    # of golden/cases/face_crops).
    guess = _BT709 if frame.height >= _HD_HEIGHT else _BT601
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="rgba" if has_alpha else "rgb24",
        src_colorspace=guess if frame.colorspace == _UNSPECIFIED else None,
    ).to_ndarray()
    if not has_alpha:
        return pixels
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _display_matrix(frame: VideoFrame) -> np.ndarray | None:
    """Read the linear part of the matrix from decoded to shown coordinates, (2, 2), if the frame carries one."""
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data  # PyAV's types know of motion vectors only
    if Type.DISPLAYMATRIX not in side_data:
        return None
    # ISO 14496-12: (a b u, c d v, x y w) in 16.16 fixed point; x' = a x + c y, y' = b x + d y.
    return np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32).reshape(3, 3)[:2, :2]


def _turn_upright(frame: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Apply a display matrix; angles between the right ones are taken for the nearest."""
    if matrix is None:
        return frame
    (a, b), (c, d) = matrix.tolist()
    flip_x, flip_y = a < 0, d < 0
    if abs(b) > abs(a):
        frame = frame.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    return np.ascontiguousarray(frame[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
