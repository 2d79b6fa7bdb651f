"""Folders of shards: safetensors with the clips of one video each, and one index of them all.

``index.json`` says what became of each video. A shard holds, for each of its clips, the tensors of
``stored_clips.TENSORS`` under ``NUMBER.NAME``; what is read of one is read alone, wherever it lies.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..checkpoints.writing import write_safetensors
from ..data import FaceTrack
from ..errors import ConfigurationError, MediaError
from ..video.files import replacing
from .stored_clips import Square, StoredClip, decode_frame

INDEX = "index.json"
_VERSION = 1
_REMEDY = "remove what is left of it and run `hunyuan-portrait prepare` again as before, which makes it anew"


@dataclass(frozen=True)
class ClipRecord:
    """A clip in the index: where it begins in its video, and its length in frames."""

    start: int
    num_frames: int


@dataclass(frozen=True)
class ShardRecord:
    """A shard in the index: its file name, its size, and its clips in order."""

    file: str
    num_bytes: int
    clips: tuple[ClipRecord, ...]


@dataclass(frozen=True)
class VideoRecord:
    """What became of a video.

    Attributes:
        name: Path from the folder of videos, with slashes.
        num_bytes: Of the file, and ``modified``, its time in nanoseconds, tell whether it is still the same.
        sha256: Of the file.
        fps: Frames per second, as a ratio.
        reason: Why there is no clip of it; empty if there is one.
        shards: Of its clips.
        left_out: What else was in it, in words.
    """

    name: str
    num_bytes: int
    modified: int
    sha256: str = ""
    fps: str = ""
    reason: str = ""
    shards: tuple[ShardRecord, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def num_clips(self) -> int:
        """In all shards."""
        return sum(len(shard.clips) for shard in self.shards)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> VideoRecord:
        """Undo ``asdict``."""
        shards = tuple(
            ShardRecord(**{**shard, "clips": tuple(ClipRecord(**clip) for clip in shard["clips"])})
            for shard in values["shards"]
        )
        return cls(**{**values, "shards": shards, "left_out": tuple(values["left_out"])})


@dataclass
class Index:
    """What a folder of shards holds.

    Attributes:
        settings: By which it was prepared.
        videos: By name.
    """

    settings: dict[str, Any]
    videos: dict[str, VideoRecord] = field(default_factory=dict)


def read_index(folder: Path) -> Index:
    """Read the index of a folder of shards.

    Raises:
        ConfigurationError: If there is none, or it is damaged or of another version.
    """
    path = folder / INDEX
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] == _VERSION:
            videos = [VideoRecord.from_json(video) for video in values["videos"]]
            return Index(values["settings"], {video.name: video for video in videos})
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{folder} holds no prepared videos ({INDEX} is missing); make them by `hunyuan-portrait prepare`."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({error!r}); remove it and run `hunyuan-portrait prepare` again."
        ) from error
    raise ConfigurationError(
        f"{path} is of version {values['version']} and this program reads {_VERSION}; prepare the videos anew into "
        "another folder."
    )


def write_index(index: Index, folder: Path) -> None:
    """Write the index; it is the old or the new one at all times.

    Raises:
        MediaError: If it cannot be written.
    """
    videos = [asdict(video) for _, video in sorted(index.videos.items())]
    text = json.dumps({"version": _VERSION, "settings": index.settings, "videos": videos}, indent=1)
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_shard(clips: Sequence[tuple[ClipRecord, StoredClip]], path: Path, source: Mapping[str, str]) -> ShardRecord:
    """Write a shard; it is there as a whole or not at all.

    Args:
        source: What the file itself should say of where it comes from.

    Raises:
        WeightsError: If it cannot be written.
    """
    tensors = {
        f"{number}.{name}": tensor for number, (_, clip) in enumerate(clips) for name, tensor in clip.tensors().items()
    }
    # One entry, because safetensors writes several in any order.
    write_safetensors(tensors, path, {"hunyuan_portrait_shard": json.dumps({"version": _VERSION, **source})})
    return ShardRecord(path.name, path.stat().st_size, tuple(record for record, _ in clips))


@dataclass(frozen=True)
class ClipPlace:
    """Where a clip lies: its shard, and its number in that."""

    path: Path
    number: int
    num_frames: int


def list_clips(index: Index, folder: Path) -> list[ClipPlace]:
    """List all clips, in the order of the index.

    Raises:
        MediaError: If a shard is missing or has another size than when it was written; names it.
    """
    places = []
    for video in index.videos.values():
        for shard in video.shards:
            if problem := shard_problem(shard, folder):
                raise _bad_shard(folder / shard.file, problem)
            places += [ClipPlace(folder / shard.file, i, clip.num_frames) for i, clip in enumerate(shard.clips)]
    return places


def shard_problem(shard: ShardRecord, folder: Path) -> str:
    """What can be seen to be wrong with a shard without reading it; empty if nothing."""
    try:
        num_bytes = (folder / shard.file).stat().st_size
    except OSError as error:
        return f"is missing ({error.strerror})"
    return "" if num_bytes == shard.num_bytes else f"has {num_bytes} bytes in place of {shard.num_bytes}"


class OpenClip:
    """A clip of an open shard; reads of it what is asked for."""

    def __init__(self, file: safe_open, place: ClipPlace) -> None:
        self._file = file
        self._place = place

    def array(self, name: str) -> np.ndarray:
        """Read one of ``stored_clips.TENSORS``."""
        return self._file.get_tensor(f"{self._place.number}.{name}").numpy()

    @property
    def square(self) -> Square:
        """The square that is animated, in stored pixels."""
        x1, y1, x2, y2 = self.array("square").tolist()
        return x1, y1, x2, y2

    @property
    def track(self) -> FaceTrack:
        """The face in each frame, in stored pixels."""
        return FaceTrack(self.array("boxes"), self.array("landmarks"), self.array("is_detected"))

    def frames(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Read frames, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: If one is not what was written.
        """
        offsets, checksums = self.array("offsets"), self.array("checksums")
        stored = self._file.get_slice(f"{self._place.number}.frames")
        frames = []
        for number in numbers:
            data = bytes(stored[int(offsets[number]) : int(offsets[number + 1])].numpy())
            if zlib.crc32(data) != checksums[number]:
                raise ValueError(f"frame {number} of clip {self._place.number} has another checksum")
            frames.append(decode_frame(data))
        return frames


@contextmanager
def open_clip(place: ClipPlace) -> Iterator[OpenClip]:
    """Open a clip; what is not asked for is not read.

    Raises:
        MediaError: If the shard is missing or damaged, here or in the block; names it and the remedy.
    """
    try:
        with safe_open(place.path, framework="pt") as file:
            yield OpenClip(file, place)
    except FileNotFoundError as error:
        raise _bad_shard(place.path, "is missing") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise _bad_shard(place.path, f"is damaged ({error})") from error


def _bad_shard(path: Path, problem: str) -> MediaError:
    return MediaError(f"The shard {path} {problem}; {_REMEDY}.")
