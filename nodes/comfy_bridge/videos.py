"""ComfyUI's VIDEO as frames that are decoded while they are gone through, with exact times and the audio's packets."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ...hunyuan_core.errors import MediaError
from ...hunyuan_core.video import VideoSource, open_video
from .images import ImageFrames, images_of

_DEFAULT_AUDIO_RATE = 48000
_MAX_DENOMINATOR = 100_000


class VideoFrames:
    """The frames of a VIDEO, (H, W, 3) uint8 RGB, those that the command line reads from the same file.

    They are decoded anew each time they are gone through. Where the video is trimmed, they are the frames of the part.

    Core's ``get_components().images`` are the same frames in floats, and the colours are the same within 1.5 levels of
    255 where each pixel has its own. With 4:2:0 core interpolates between the samples and the release's decoder repeats
    them, which is 1 level on average and tens at saturated edges. Untagged HD is BT.709 here and BT.601 in core, pixels
    that are not square are shown square, and transparency lies over white, where core drops it.

    Args:
        socket: Where it arrived.

    Raises:
        MediaError: If the file is missing, damaged, or shows nothing in the part; names the input.
    """

    def __init__(self, video: Input.Video, socket: str = "The VIDEO") -> None:
        self._folder: TemporaryDirectory[str] | None = None
        self._source: VideoSource | None = None
        self._components: Any = None
        if isinstance(video, InputImpl.VideoFromComponents):
            # Its stream source would be an encoded copy.
            self._components = video.get_components()
            self._images = ImageFrames(images_of(self._components.images, socket), socket)
        else:
            window = _trim_window(video)
            try:
                self._source = open_video(self._as_file(video), part=window if any(window) else None)
            except MediaError as error:
                raise MediaError(f"{socket}: {error}") from error

    def __len__(self) -> int:
        """Count the frames; a file is read through once for that, without conversion to pictures."""
        return len(self._images) if self._source is None else self._source.num_frames

    def __iter__(self) -> Iterator[np.ndarray]:
        """Go through the frames."""
        return iter(self._images if self._source is None else self._source)

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second, exactly; the mean where the rate varies."""
        return _shortest(self._components.frame_rate) if self._source is None else self._source.frame_rate

    @property
    def timestamps(self) -> tuple[Fraction, ...] | None:
        """None at a constant rate; else as ``VideoSource.timestamps``."""
        return None if self._source is None else self._source.timestamps

    @property
    def is_part(self) -> bool:
        """Whether the video is trimmed, so that its file's audio goes on after the frames."""
        return self.audio_start is not None

    @property
    def audio_start(self) -> Fraction | None:
        """As ``VideoSource.audio_start``."""
        return None if self._source is None else self._source.audio_start

    @cached_property
    def audio_from(self) -> Path | None:
        """File whose audio packets belong to the frames, as long as this object lives; None without sound."""
        if self._source is not None:
            return self._source.path if self._source.has_audio else None
        if not self._components.audio:
            return None
        path = self._temporary("audio.mp4")
        _write_audio(path, self._components.audio, len(self) / self.frame_rate)
        return path

    def _as_file(self, video: Input.Video) -> Path:
        source = video.get_stream_source()
        if not isinstance(source, BytesIO):
            return Path(source)
        path = self._temporary("video")
        with open(path, "wb") as file:
            shutil.copyfileobj(source, file)
        return path

    def _temporary(self, name: str) -> Path:
        """Path of a new file that goes when this object goes."""
        os.makedirs(folder_paths.get_temp_directory(), exist_ok=True)
        self._folder = TemporaryDirectory(dir=folder_paths.get_temp_directory(), ignore_cleanup_errors=True)
        return Path(self._folder.name, name)


def _trim_window(video: Input.Video) -> tuple[float, float]:
    """Start and length in seconds; zeros for the whole video, a length of 0 for all that follows the start."""
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    # ComfyUI 0.9 keeps it to itself.
    start, length = (vars(video).get(f"_VideoFromFile__{name}", 0.0) for name in ("start_time", "duration"))
    if start < 0:
        start = max(InputImpl.VideoFromFile(video.get_stream_source()).get_duration() + start, 0.0)
    return start, length


def _shortest(rate: Fraction) -> Fraction:
    """Undo what a float did to a rate: the simplest ratio that is the same float (29.97 is 2997/100)."""
    simple = Fraction(rate).limit_denominator(_MAX_DENOMINATOR)
    return simple if float(simple) == float(rate) else Fraction(rate)


def _write_audio(path: Path, audio: Mapping[str, Any], seconds: Fraction) -> None:
    """Encode an AUDIO as AAC, up to the end of the frames."""
    import av
    from av.error import FFmpegError

    rate = int(audio["sample_rate"])
    waveform: torch.Tensor = audio["waveform"][0, :, : math.ceil(rate * seconds)]
    samples = waveform.float().cpu().contiguous().numpy()
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=f"{len(samples)}c")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    rates = av.Codec("aac", "w").audio_rates or ()
    try:
        with av.open(str(path), "w") as output:
            stream = output.add_stream(
                "aac", rate=rate if rate in rates else _DEFAULT_AUDIO_RATE, layout=frame.layout.name
            )
            for given in (frame, None):
                output.mux(stream.encode(given))
    except FFmpegError as error:
        raise MediaError(
            f"The VIDEO's audio, {len(samples)} channels at {rate} Hz, cannot be encoded ({error.strerror}); "
            "convert it to stereo at 48000 Hz."
        ) from error
