"""From a folder of videos to shards that training streams, made once."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.integrity import sha256_of
from ..config import ExpressionConfig
from ..errors import ConfigurationError, FaceNotFoundError, HunyuanPortraitError, MediaError
from ..faces.crops import arcface_crop, square_box, square_crop, to_crop
from ..faces.detection import FaceChoice, FaceDetector
from ..faces.identity import ArcFace
from ..faces.report import frame_ranges
from ..locks import NO_LOCKS, FolderLock
from ..pose.keypoints import NUM_POINTS, WholeBodyDetector
from ..pose.sequence import largest
from ..video import VideoSource, open_video
from ..video.files import write_error
from .clip_cutting import Cut, CutRules, cut_clips, scan
from .shards import (
    INDEX,
    ClipRecord,
    Index,
    ShardRecord,
    VideoRecord,
    read_index,
    shard_problem,
    write_index,
    write_shard,
)
from .stored_clips import Region, StoredClip, encode_frame

SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".3gp", ".gif"),
)
"""Files of a folder that count as videos."""

_NUM_IDENTITIES = 8
"""Frames of a clip that ArcFace looks at."""
_INDEX_EVERY = 20.0
"""Seconds between two writes of the index, which is long where there are many videos."""
_MAX_REASONS = 3


@dataclass(frozen=True)
class Settings:
    """What determines the shards, beside the videos and the networks that look at them."""

    size: int = 512
    """Side for which the animated square is stored; it has fewer pixels only where the video has."""
    motion_size: int = ExpressionConfig().image_size
    """The same of the motion crops."""
    image_format: str = "jpeg"
    """One of ``stored_clips.IMAGE_FORMATS``."""
    rules: CutRules = field(default_factory=CutRules)
    choice: FaceChoice = field(default_factory=FaceChoice)
    max_shard_bytes: int = 256 * 2**20
    """A shard gets another clip only while it stays below."""
    networks: dict[str, str] = field(default_factory=dict)
    """What looks at the videos, in words."""

    def as_json(self) -> dict[str, Any]:
        """All that another run into the same folder must have in common."""
        values = dataclasses.asdict(self)
        del values["max_shard_bytes"]
        # As JSON gives it back.
        position = self.choice.position
        values["choice"]["position"] = None if position is None else list(position)
        return values


@dataclass(frozen=True, eq=False)
class Tools:
    """The networks that look at the videos; identities and poses are left out without theirs."""

    detector: FaceDetector
    arcface: ArcFace | None = None
    pose: WholeBodyDetector | None = None


MakeTools = Callable[[], Tools]
"""Called once in each process, so it must be importable by name, or a ``functools.partial`` of something that is."""


def prepare_folder(
    videos: Path,
    out: Path,
    make_tools: MakeTools,
    settings: Settings,
    num_workers: int = 1,
    on_video: Callable[[VideoRecord, int, int], None] | None = None,
) -> Index:
    """Prepare all videos of a folder and its subfolders that are not prepared yet.

    A video is done when the index names it; what an interrupted run leaves of one is made anew.

    Args:
        out: Made if it is not there.
        num_workers: Processes; with one, this one.
        on_video: Called with each new record, the number of videos that are done, and that of all.

    Raises:
        ConfigurationError: If there is no video, another run uses ``out``, or it was prepared by other settings.
        MediaError: If ``out`` cannot be written to, as on a full disk; what is finished stays.
        WeightsError: The same, while a shard is written.
        HunyuanPortraitError: If a worker process died.
    """
    found = find_videos(videos)
    if not found:
        raise ConfigurationError(f"{videos} has no videos in it (no {', '.join(SUFFIXES[:4])}, …); check the folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error.errno, error.strerror) from error
    lock = _lock(out)
    try:
        index = _open_index(out, settings)
        write_index(index, out)  # what cannot be written should fail now
        todo = [(path, name) for name, path in found.items() if not _is_done(index.videos.get(name), path, out)]
        written = time.monotonic()
        try:
            for record in _prepare_all(todo, out, make_tools, settings, num_workers):
                index.videos[record.name] = record
                if time.monotonic() - written > _INDEX_EVERY:
                    write_index(index, out)
                    written = time.monotonic()
                if on_video is not None:
                    num_done = sum(name in index.videos for name in found)
                    on_video(record, num_done, len(found))
        finally:
            write_index(index, out)
    finally:
        if lock is not None:
            lock.release()
    return Index(index.settings, {name: index.videos[name] for name in found})


def find_videos(folder: Path) -> dict[str, Path]:
    """Find the videos of a folder and its subfolders, by their path from there, in order.

    Raises:
        ConfigurationError: If it is no folder.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder; give the folder that holds the videos.")
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths)}


def prepare_video(path: Path, name: str, out: Path, tools: Tools, settings: Settings) -> VideoRecord:
    """Prepare one video.

    Returns:
        Its record, with the reason where nothing of it can be used.

    Raises:
        WeightsError: If a shard cannot be written.
    """
    stem = hashlib.sha256(name.encode()).hexdigest()[:16]
    for old in out.glob(f"{stem}-*"):
        old.unlink()
    record = VideoRecord(name, *_facts(path))
    shards: list[ShardRecord] = []
    waiting: list[tuple[ClipRecord, StoredClip]] = []
    left_out: list[str] = []
    source: dict[str, str] = {}

    def write() -> None:
        if waiting:
            target = out / f"{stem}-{len(shards):04d}.safetensors"
            shards.append(write_shard(waiting, target, source))
            waiting.clear()

    clips = _clips(path, tools, settings, source, left_out)
    while True:
        try:
            clip = next(clips, None)
        except HunyuanPortraitError as error:  # of the video; what cannot be written is not caught
            for shard in shards:
                (out / shard.file).unlink()
            return dataclasses.replace(record, **_known(source), reason=str(error), left_out=tuple(left_out))
        if clip is None:
            break
        if waiting and sum(stored.num_bytes for _, stored in [*waiting, clip]) > settings.max_shard_bytes:
            write()
        waiting.append(clip)
    write()
    reason = "" if shards else "; ".join(left_out[:_MAX_REASONS]) + ("; …" if len(left_out) > _MAX_REASONS else "")
    return dataclasses.replace(record, **_known(source), reason=reason, shards=tuple(shards), left_out=tuple(left_out))


def _known(source: dict[str, str]) -> dict[str, Any]:
    return {name: source[name] for name in ("sha256", "fps") if name in source}


def _clips(
    path: Path, tools: Tools, settings: Settings, source: dict[str, str], left_out: list[str]
) -> Iterator[tuple[ClipRecord, StoredClip]]:
    """Look through a video, then cut out one clip after the other; notes what it learns on the way."""
    try:
        source |= {"name": path.name, "sha256": sha256_of(path)}
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    video = open_video(path)
    source["fps"] = str(video.frame_rate)
    found = scan(video, tools.detector)
    if not any(found.faces):
        raise FaceNotFoundError(
            f"No face was found in any of the {len(found.faces)} frames; use another detector, or leave the video out."
        )
    clips = []
    for cut in cut_clips(found, settings.rules, settings.choice):
        if cut.track is not None:
            clips.append(cut)
        else:
            numbers = frame_ranges(range(cut.start, cut.start + cut.num_frames))
            left_out.append(f"frames {numbers}: {cut.reason}")
    if clips:
        yield from _cut_out(video, clips, tools, settings)


def _cut_out(
    video: VideoSource, cuts: list[Cut], tools: Tools, settings: Settings
) -> Iterator[tuple[ClipRecord, StoredClip]]:
    frames = enumerate(video)
    for cut in cuts:
        part = (frame for number, frame in frames if number >= cut.start)
        yield (
            ClipRecord(cut.start, cut.num_frames),
            _store((next(part) for _ in range(cut.num_frames)), cut, video, tools, settings),
        )


def _store(frames: Iterator[np.ndarray], cut: Cut, video: VideoSource, tools: Tools, settings: Settings) -> StoredClip:
    track = cut.track
    assert track is not None  # noqa: S101 - of clips that are not left out
    height, width = video.height, video.width
    region = Region.around(track, height, width, settings.size, settings.motion_size)
    square = square_box(track.boxes[0], height, width)
    detected = np.flatnonzero(track.is_detected)
    places = np.linspace(0, len(detected) - 1, min(_NUM_IDENTITIES, len(detected))).round().astype(int)
    id_frames = detected[places] if tools.arcface is not None else detected[:0]
    files, embeddings, keypoints = [], [], []
    for number, frame in enumerate(frames):
        stored = region.cut(frame)
        files.append(encode_frame(stored, settings.image_format))
        if tools.arcface is not None and number in id_frames:
            reference = square_crop(frame, square, settings.size)
            landmarks = to_crop(track.landmarks[number], square, settings.size)
            embeddings.append(tools.arcface.embed(arcface_crop(reference, landmarks)))
        if tools.pose is not None:
            # What is stored shows little of other people.
            person = largest(tools.pose.detect(stored))
            points = np.zeros((NUM_POINTS, 3), np.float32)
            if person is not None:
                points[:] = np.concatenate([person.points, person.scores[:, None]], axis=1)
            keypoints.append(points)
    return StoredClip(
        files,
        boxes=region.move(track.boxes.reshape(-1, 2, 2)).reshape(-1, 4),
        landmarks=region.move(track.landmarks),
        is_detected=track.is_detected,
        square=np.array(region.square),
        motion_squares=region.motion_squares,
        id_frames=id_frames,
        id_embeddings=np.stack(embeddings) if embeddings else np.zeros((0, ArcFace.embedding_dim), np.float32),
        keypoints=np.stack(keypoints) if keypoints else np.zeros((0, NUM_POINTS, 3), np.float32),
    )


def _prepare_all(
    todo: list[tuple[Path, str]], out: Path, make_tools: MakeTools, settings: Settings, num_workers: int
) -> Iterator[VideoRecord]:
    if num_workers == 1 or len(todo) < 2:
        tools = make_tools()
        for path, name in todo:
            yield prepare_video(path, name, out, tools, settings)
        return
    # Forked processes hang in libraries that had threads.
    context = multiprocessing.get_context("spawn")
    count = min(num_workers, len(todo))
    with ProcessPoolExecutor(count, context, _start_worker, (make_tools,)) as pool:
        futures = [pool.submit(_work, path, name, out, settings) for path, name in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException as error:
            # Whatever ends this run, do not wait for videos that would be made anew anyway.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise HunyuanPortraitError(
                    "A worker process ended before its video was done, perhaps for want of memory; use fewer workers. "
                    "What is finished stays."
                ) from error
            raise


_tools: list[Tools] = []
"""Of this worker process."""


def _start_worker(make_tools: MakeTools) -> None:
    import signal

    import torch

    # The interrupt goes to all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _tools.append(make_tools())


def _work(path: Path, name: str, out: Path, settings: Settings) -> VideoRecord:
    return prepare_video(path, name, out, _tools[0], settings)


def _open_index(out: Path, settings: Settings) -> Index:
    if not (out / INDEX).exists():
        return Index(settings.as_json())
    index = read_index(out)
    wanted = settings.as_json()
    for name, value in wanted.items():
        if index.settings.get(name) != value:
            raise ConfigurationError(
                f"{out} was prepared with {name} {index.settings.get(name)} in place of {value}; use the same options, "
                "or another folder."
            )
    return index


def _is_done(record: VideoRecord | None, path: Path, out: Path) -> bool:
    """Whether a record is of this very file and all its shards are there."""
    if record is None or (record.num_bytes, record.modified) != _facts(path):
        return False
    return not any(shard_problem(shard, out) for shard in record.shards)


def _facts(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _lock(folder: Path) -> FolderLock | None:
    try:
        return FolderLock(folder)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise write_error(folder, error.errno, error.strerror) from error
