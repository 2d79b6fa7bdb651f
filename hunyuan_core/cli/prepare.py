"""``hunyuan-portrait prepare``: training shards from a folder of videos."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..appearance import check_size
from ..checkpoints.files import FILES, locate, models_folder
from ..errors import ConfigurationError
from ..faces.identity import ArcFace
from ..pose.dwpose import DWPose
from ..pose.keypoints import WholeBodyDetector
from ..training.clip_cutting import CutRules
from ..training.preparation import Settings, Tools, prepare_folder
from ..training.shards import VideoRecord
from ..training.stored_clips import IMAGE_FORMATS
from .animate import DWPOSE_FILE, YOLOX_FILE, find_device
from .options import add_face_options, add_models_option, check_faces, face_choice, find_detectors, is_manual
from .progress import bar, say, warn

_RULES = CutRules()
_SUBJECTS = ("driving",)


def add_commands(commands: Any) -> None:
    """Add ``prepare``."""
    parser = commands.add_parser(
        "prepare",
        help="make training shards from a folder of videos",
        description="Cut the videos of a folder and its subfolders into clips of one face, in one shot, and store once "
        "what training needs: the frames around the face, face track, identities and poses, in shards that train reads "
        "(data.videos). Videos that cannot be used are reported; those that are done are skipped, so the same command "
        "goes on after an interruption. Exit status: 0 all prepared, 1 some videos gave no clip, 2 none did.",
    )
    parser.add_argument("videos", type=Path, metavar="VIDEOS", help="folder of videos")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the shards; one for each folder of videos")
    parser.add_argument(
        "--size",
        type=int,
        default=512,
        help="largest data.image_size it should be good for: frames are made smaller only as far as the animated "
        "square keeps this side, and motion crops their 256 pixels (default: 512)",
    )
    parser.add_argument(
        "--image-format",
        choices=IMAGE_FORMATS,
        default="jpeg",
        help="jpeg: quality 95, full colour resolution; png: exact, several times as large (default: jpeg)",
    )
    parser.add_argument(
        "--shard-size", type=int, default=256, metavar="MIB", help="of a shard, unless one clip has more (default: 256)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="videos prepared at a time, each in its process (default: 1)",
    )
    parser.add_argument("--device", help="torch device of yoloface (default: the CPU)")
    parser.add_argument("--no-identity", action="store_true", help="leave out ArcFace even if it is there")
    parser.add_argument(
        "--dwpose", type=Path, metavar="FOLDER", help=f"store poses: holds {DWPOSE_FILE}, and {YOLOX_FILE} if wanted"
    )
    add_models_option(parser)
    add_face_options(parser, _SUBJECTS)
    group = parser.add_argument_group("clips")
    for name, kind, text in (
        ("min-frames", int, "shorter clips are left out"),
        ("max-frames", int, "longer ones are divided"),
        ("min-face", int, "pixels of the face's shorter side, in half of the frames"),
        ("max-gap", int, "frames without a face that are filled; a longer gap divides the clip"),
        ("max-missing", float, "share of a clip's frames without a face"),
    ):
        default = getattr(_RULES, name.replace("-", "_"))
        group.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{text} (default: {default})")
    parser.set_defaults(run=prepare, stopped="Interrupted; the same command goes on with the videos that are not done.")


def prepare(options: argparse.Namespace) -> int:
    """Run the command."""
    _check(options)
    tools = _make_tools(options)  # also for workers, so that what is missing is found before the folder is touched
    make_tools = partial(_same, tools) if options.workers == 1 else partial(_make_tools, options)
    settings = _settings(options, tools)
    with bar("Preparing", "video") as update:

        def report(record: VideoRecord, num_done: int, num_videos: int) -> None:
            update(num_done, num_videos)
            if record.reason:
                warn(f"{record.name} gives no clip: {record.reason}")

        index = prepare_folder(options.videos, options.out, make_tools, settings, options.workers, report)
    return _report(index.videos, options.out)


def _report(videos: Mapping[str, VideoRecord], out: Path) -> int:
    good = [video for video in videos.values() if video.shards]
    clips = [clip for video in good for shard in video.shards for clip in shard.clips]
    num_bytes = sum(shard.num_bytes for video in good for shard in video.shards)
    say(
        f"{len(good)} of {len(videos)} videos prepared: {len(clips)} clips, {sum(c.num_frames for c in clips)} frames, "
        f"{num_bytes / 2**20:.1f} MiB; {sum(len(video.left_out) for video in good)} parts of them left out. "
        f"The reasons are in {out / 'index.json'}."
    )
    print(out)
    return 2 if not good else int(len(good) < len(videos))


def _check(options: argparse.Namespace) -> None:
    check_faces(options, _SUBJECTS)
    check_size(options.size)
    if options.frame_rate is not None:
        raise ConfigurationError("--frame-rate is for folders of images, which are not prepared; leave it out.")
    if options.shard_size < 1 or options.workers < 1:
        raise ConfigurationError(
            f"--shard-size and --workers must be at least 1; got {options.shard_size} and {options.workers}."
        )
    if options.workers > (os.cpu_count() or 1):
        warn(f"{options.workers} workers share {os.cpu_count()} cores.")


def _settings(options: argparse.Namespace, tools: Tools) -> Settings:
    by_hand = f"box {options.driving_box}, landmarks {options.driving_landmarks}"
    networks = {"detector": by_hand if is_manual(options, "driving") else options.detector}
    if tools.arcface is not None:
        networks["arcface"] = "ArcFace"
    elif not options.no_identity:
        warn(f"no identities are stored: there is no arcface.onnx in {models_folder(options.models)}")
    if tools.pose is not None:
        networks["pose"] = "DWPose"
    return Settings(
        size=options.size,
        image_format=options.image_format,
        rules=CutRules(
            min_frames=options.min_frames,
            max_frames=options.max_frames,
            min_face=options.min_face,
            max_gap=options.max_gap,
            max_missing=options.max_missing,
            smoothing=options.smooth_track,
        ),
        choice=face_choice(options, "driving"),
        max_shard_bytes=options.shard_size * 2**20,
        networks=networks,
    )


def _make_tools(options: argparse.Namespace) -> Tools:
    """Open the networks; in each process once."""
    detector = find_detectors(options, _SUBJECTS, find_device(options))["driving"]
    arcface = _arcface_file(options)
    pose: WholeBodyDetector | None = None
    if options.dwpose is not None:
        yolox = options.dwpose / YOLOX_FILE
        pose = DWPose(options.dwpose / DWPOSE_FILE, yolox if yolox.exists() else None)
    return Tools(detector, None if arcface is None else ArcFace(arcface), pose)


def _same(tools: Tools) -> Tools:
    return tools


def _arcface_file(options: argparse.Namespace) -> Path | None:
    if options.no_identity:
        return None
    return locate(models_folder(options.models), next(file for file in FILES if file.name == "arcface"))
