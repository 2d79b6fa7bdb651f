"""What can drive a portrait: a video file, an animated image, a folder of images, or one image."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import ConfigurationError, MediaError
from .decoding import VideoDecoder
from .images import ImageFrames, read_image
from .timing import FrameRate, Timing, find_timing, read_frame_rate

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Files that a folder of frames may hold; others in it are passed over."""

_SUFFIXES_AS_TEXT = f"{', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}"

_MAYBE_ANIMATED = (".gif", ".apng", *IMAGE_SUFFIXES)


class VideoSource(ABC):
    """Frames that can be read again and again without being held in memory.

    Iterating starts at the first frame each time and gives (H, W, 3) uint8 RGB, all of one size, upright.

    Attributes:
        path: The file or folder.
        width: Pixels, as shown: after rotation and with square pixels.
        height: Pixels, as shown.
        has_audio: Whether write_video can take the audio from ``path``.
        is_still: Whether there is one frame only; the model knows motion only, so hold it for a clip.
        audio_start: Time in the file, seconds, of the audio that belongs to the first frame of a part, for write_video;
            None for a whole file.
    """

    path: Path
    width: int
    height: int
    has_audio: bool = False
    is_still: bool = False
    audio_start: Fraction | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]:
        """Read from the first frame on."""

    @abstractmethod
    def _find_timing(self) -> Timing:
        """Learn count, rate and times of the frames."""

    @cached_property
    def timing(self) -> Timing:
        """Count, rate and times of the frames; a video file is read through once to learn them."""
        return self._find_timing()

    @property
    def num_frames(self) -> int:
        """Number of frames that iterating gives."""
        return self.timing.num_frames

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second, exactly; the mean where the rate varies."""
        return self.timing.frame_rate

    @property
    def timestamps(self) -> tuple[Fraction, ...] | None:
        """None at a constant rate from 0 on; else num_frames + 1 times in seconds (see Timing), for write_video."""
        return self.timing.timestamps

    def held(self, num_frames: int = 25, frame_rate: FrameRate = 25) -> VideoSource:
        """Repeat the first frame for a clip; the defaults are one window of the model, one second.

        Args:
            frame_rate: As in read_frame_rate.

        Raises:
            ConfigurationError: If the number of frames is not positive, or the rate unusable.
        """
        if num_frames < 1:
            raise ConfigurationError(
                f"A held frame needs at least one frame; got num_frames {num_frames}, give e.g. 25."
            )
        return _HeldFrame(self.path, next(iter(self)), Timing(num_frames, read_frame_rate(frame_rate)))


def open_video(
    path: Path | str, *, frame_rate: FrameRate | None = None, part: tuple[float, float] | None = None
) -> VideoSource:
    """Open a driving video: a video file, an animated GIF, PNG or WebP, a folder of images, or a still image.

    Images of a folder are taken in natural order (2 before 10) and must have the same size.

    Args:
        frame_rate: Frames per second of a folder of images, as in read_frame_rate (29.97 is 2997/100); 25 if None.
        part: Start and length in seconds of the part of a file to read, on the file's own clock; length 0 is all that
            follows. Frames from the start on and before the end belong to it; timestamps begin at 0 with the first.

    Raises:
        MediaError: If it is missing, damaged, empty, or none of these, or shows nothing in the part.
        ConfigurationError: If the rate is unusable, or given for something that has its own, or a part of a folder is
            asked for.
    """
    path = Path(path)
    if not path.exists():
        raise MediaError(f"{path} does not exist; check the path of the driving video.")
    if path.is_dir():
        if part is not None:
            raise ConfigurationError(f"part is for a file only, but {path} is a folder; remove images from it instead.")
        return _ImageFolder(path, read_frame_rate(25 if frame_rate is None else frame_rate))
    if frame_rate is not None:
        raise ConfigurationError(f"frame_rate is for a folder of images only, but {path} is a file; leave it out.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes); copy or download it again.")
    if part is not None or path.suffix.lower() not in _MAYBE_ANIMATED:
        return _VideoFile(path, part)
    images = ImageFrames(path)
    return _AnimatedImage(path, images) if images.is_animated else _HeldFrame(path, next(iter(images)))


class _VideoFile(VideoSource):
    def __init__(self, path: Path, part: tuple[float, float] | None) -> None:
        self.path = path
        self._decoder = VideoDecoder(path, part)
        self.audio_start = self._decoder.part_start
        self.width, self.height = self._decoder.width, self._decoder.height
        self.has_audio, self.is_still = self._decoder.has_audio, self._decoder.is_still

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._decoder.frames()

    def _find_timing(self) -> Timing:
        return self._decoder.timing()


class _AnimatedImage(VideoSource):
    def __init__(self, path: Path, images: ImageFrames) -> None:
        self.path = path
        self._images = images
        self.height, self.width = next(iter(images)).shape[:2]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._images)

    def _find_timing(self) -> Timing:
        times = [Fraction(0)]
        for duration in self._images.durations():
            times.append(times[-1] + Fraction(duration) / 1000)
        return find_timing(times, Fraction(0), ())


class _ImageFolder(VideoSource):
    def __init__(self, path: Path, frame_rate: Fraction) -> None:
        self.path = path
        self._files = sorted(
            (
                file
                for file in path.iterdir()
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
            ),
            key=_natural_order,
        )
        if not self._files:
            raise MediaError(f"The folder {path} holds no images; put frames there as {_SUFFIXES_AS_TEXT}.")
        self._timing = Timing(len(self._files), frame_rate)
        self.height, self.width = read_image(self._files[0], min_side=1).shape[:2]
        self.is_still = len(self._files) == 1

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self._files:
            frame = read_image(file, min_side=1)
            if frame.shape[:2] != (self.height, self.width):
                raise MediaError(
                    f"{file} is {frame.shape[1]}x{frame.shape[0]} pixels but {self._files[0].name} is "
                    f"{self.width}x{self.height}; the images of a folder must have one size, so scale or remove it."
                )
            yield frame

    def _find_timing(self) -> Timing:
        return self._timing


class _HeldFrame(VideoSource):
    def __init__(self, path: Path, frame: np.ndarray, timing: Timing | None = None) -> None:
        self.path = path
        self._frame = frame
        self._timing = timing or Timing(1, Fraction(25))
        self.height, self.width = frame.shape[:2]
        self.is_still = timing is None

    def __iter__(self) -> Iterator[np.ndarray]:
        for _ in range(self._timing.num_frames):
            yield self._frame.copy()

    def _find_timing(self) -> Timing:
        return self._timing


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Compare runs of digits as numbers, the rest without case."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
