"""``hunyuan-portrait animate``: the main job."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..appearance import check_size
from ..data import Appearance, Face, FaceTrack, Motion
from ..distributed import Processes, join
from ..errors import ConfigurationError, MediaError
from ..faces.crops import reference_crop, square_box
from ..jobs import sample_in
from ..models.memory_plan import Workload
from ..paste_back import PasteBack
from ..pipeline import Pipeline
from ..pose.dwpose import DWPose
from ..pose.keypoints import WholeBodyDetector
from ..pose.sequence import Skeletons, draw_skeletons
from ..shared_sampling import check_shareable, dismiss, sample_along, sample_first
from ..video import VideoSource, check_writable, read_image, write_video
from .compilation import add_compile_option, with_compiled_unet
from .decoder import add_decoder_option, check_decoder, decode
from .estimate import TimeLeft, tell_before
from .job import Session, add_job_option, appearance_parts, face_parts, motion_parts, open_job
from .memory import add_memory_options, placement, workload_of
from .model import UNTRAINED, add_model_options, load_model, weight_files
from .options import (
    DTYPES,
    SUBJECTS,
    add_face_options,
    add_models_option,
    add_sampling_options,
    check_faces,
    check_output,
    find_detectors,
    find_driving,
    find_face,
    find_track,
    sampling_config,
)
from .progress import bar, say, speak_as, warn
from .provenance import provenance
from .speed import add_speed_options, speed_config

UNTRAINED_REDUCTION = 4
DWPOSE_FILE, YOLOX_FILE = "dw-ll_ucoco_384.onnx", "yolox_l.onnx"


def add_commands(commands: Any) -> None:
    """Add ``animate``."""
    parser = commands.add_parser(
        "animate",
        help="animate a portrait by a driving video",
        description="Animate a portrait by the motion of a driving video. Frame count, frame rate and audio are the "
        "driving video's. Started by torchrun or accelerate launch, each process computes a share of the windows on "
        "a GPU of its own.",
    )
    add_options(parser)
    parser.set_defaults(run=animate, stopped="Interrupted; nothing was written.")


def add_options(parser: argparse.ArgumentParser, *, has_files: bool = True) -> None:
    """Offer the inputs, the output, and everything that changes the one into the other.

    Args:
        has_files: False lets inputs and output be named elsewhere, and offers no job folder.
    """
    parser.add_argument("--portrait", type=Path, required=has_files, metavar="P", help="image of the face to animate")
    parser.add_argument(
        "--driving",
        type=Path,
        required=has_files,
        metavar="V",
        help="video, GIF or folder of images that gives the motion",
    )
    parser.add_argument("--out", type=Path, required=has_files, metavar="O", help="video to write: .mp4 or .mov")
    _add_run_options(parser)
    if has_files:
        add_job_option(parser)
    add_face_options(parser, ("portrait", "driving"))
    add_sampling_options(parser)
    add_speed_options(parser)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """Offer what to compute with and what to write."""
    add_model_options(parser)
    add_models_option(parser)
    parser.add_argument(
        "--full-resolution", action="store_true", help="paste the result back into the whole portrait, at its own size"
    )
    parser.add_argument(
        "--no-identity", action="store_true", help="leave out ArcFace, where there is no human face (drawings, animals)"
    )
    parser.add_argument(
        "--pose",
        choices=("black", "skeleton"),
        default="black",
        help="pose images: black as released, or the driver's skeleton (DWPose) fitted to the portrait",
    )
    parser.add_argument(
        "--dwpose",
        type=Path,
        metavar="FOLDER",
        help=f"for --pose skeleton: holds {DWPOSE_FILE}, and {YOLOX_FILE} if wanted",
    )
    parser.add_argument(
        "--same-person",
        action="store_true",
        help="for --pose skeleton: portrait and driver are one person, keep the eyes",
    )
    parser.add_argument("--device", help="torch device (default: CUDA, then MPS, then the CPU)")
    parser.add_argument(
        "--dtype",
        choices=tuple(DTYPES),
        help="precision of all but the motion networks (default: fp16 on a GPU, as released; fp32 on the CPU)",
    )
    add_memory_options(parser)
    add_compile_option(parser)
    add_decoder_option(parser)
    parser.add_argument("--crf", type=int, default=17, help="quality of the video, 0 lossless to 51 (default: 17)")


def animate(options: argparse.Namespace) -> int:
    """Run the command."""
    processes = join()
    if processes is None or processes.is_first:
        animate_in(Session(), options, processes)
        print(options.out)
    else:
        _help(options, processes)
    return 0


def animate_in(session: Session, options: argparse.Namespace, processes: Processes | None = None) -> None:
    """Animate one portrait.

    Args:
        processes: Those that share the windows; None is this one alone.

    Raises:
        HunyuanPortraitError: If an option or an input is unusable, or the output cannot be written.
    """
    # What can fail without a network fails first, and what takes longest comes last.
    config, speed = sampling_config(options), speed_config(options)
    if processes is not None:
        check_shareable(speed)
    check_size(options.size)
    check_faces(options, SUBJECTS)
    check_output(options.out, [options.portrait, options.driving])
    check_decoder(options)
    device = find_device(options, processes)
    if options.weights != UNTRAINED:
        files = weight_files(options)
        if not options.no_identity:
            files.path("arcface")
    pose_detector = _find_pose_detector(options)
    portrait = read_image(options.portrait)
    video = find_driving(options)
    output = {
        "timestamps": video.timestamps,
        "audio_from": video.path if video.has_audio else None,
        "crf": options.crf,
    }
    frame_size = portrait.shape[:2] if options.full_resolution else (options.size, options.size)
    check_writable(options.out, size=frame_size, frame_rate=video.frame_rate, **output)
    with open_job(options) as job:
        detectors = find_detectors(options, SUBJECTS, device)
        face = session.remember(
            job,
            Face,
            lambda: face_parts(options, "portrait"),
            lambda: find_face(portrait, detectors["portrait"], options, "portrait"),
        )
        track = session.remember(
            job,
            FaceTrack,
            lambda: face_parts(options, "driving"),
            lambda: find_track(video, detectors["driving"], options),
        )
        size = _working_size(options)
        workload = workload_of(options, config, speed, size, None if processes else video.num_frames)
        pipeline = _networks(session, options, device, workload)
        _tell_of_identity(options, pipeline)
        appearance = session.remember(
            job,
            Appearance,
            lambda: appearance_parts(options, pipeline, face, size),
            lambda: pipeline.encode_appearance(portrait, face, size=size, config=config),
        )
        motion = session.remember(
            job, Motion, lambda: motion_parts(options, pipeline, track), lambda: _encode_motion(pipeline, video, track)
        )
        poses = None if pose_detector is None else _skeletons(options, pose_detector, portrait, face, video, size)
        sample = pipeline.sample if processes is None else partial(sample_first, processes, pipeline)
        if job is not None:
            sample = partial(sample_in, job, pipeline, sample=sample)
        num_frames = len(track) + 2 * config.num_padding_frames
        num_processes = 1 if processes is None else processes.size
        num_windows = tell_before(pipeline, config, speed, num_frames, size, num_processes)
        with bar("Sampling", "window") as update:
            progress = TimeLeft(update, num_windows, num_processes)
            latents = sample(appearance, motion, config, pose_images=poses, on_progress=progress, speed=speed)
        if processes is not None:
            dismiss(processes)
        with bar("Decoding", "frame", len(track)) as update:
            frames = _enlarged(decode(options, pipeline, (portrait, face, appearance), latents, update), options.size)
            if options.full_resolution:
                frames = map(PasteBack(portrait, np.array(square_box(face.box, *portrait.shape[:2]))), frames)
            try:
                write_video(options.out, frames, video.frame_rate, metadata=provenance(options, pipeline), **output)
            except MediaError as error:
                if options.job is not None:
                    raise
                raise MediaError(f"{error} With --job FOLDER the next try would keep what is sampled.") from error


def _help(options: argparse.Namespace, processes: Processes) -> None:
    """Take part in the sampling of the first process, which alone reads, writes and reports."""
    speak_as(f"process {processes.rank}")
    options.stopped = "Interrupted."
    config, speed = sampling_config(options), speed_config(options)
    workload = workload_of(options, config, speed, _working_size(options), None)
    pipeline = _load(options, find_device(options, processes), workload)
    sample_along(processes, pipeline, config, speed)


def _encode_motion(pipeline: Pipeline, video: VideoSource, track: FaceTrack) -> Motion:
    with bar("Encoding motion", "frame", len(track)) as update:
        return pipeline.encode_motion(video, track, update)


def _tell_of_identity(options: argparse.Namespace, pipeline: Pipeline) -> None:
    if pipeline.arcface is None:
        if options.weights != UNTRAINED:
            say("Identity: left out, a zero vector.")
    elif options.portrait_landmarks is None and options.portrait_box is not None:
        warn(
            "the face of the portrait is a box without landmarks, so its identity is read at guessed places; give "
            "--portrait-landmarks, or --no-identity for a drawing or an animal"
        )


def _find_pose_detector(options: argparse.Namespace) -> WholeBodyDetector | None:
    if options.pose == "black":
        if options.same_person or options.dwpose is not None:
            raise ConfigurationError("--dwpose and --same-person are for --pose skeleton; add that or leave them out.")
        return None
    if options.dwpose is None:
        raise ConfigurationError(f"--pose skeleton needs --dwpose, the folder that holds {DWPOSE_FILE}.")
    yolox = options.dwpose / YOLOX_FILE
    return DWPose(options.dwpose / DWPOSE_FILE, yolox if yolox.exists() else None)


def _skeletons(
    options: argparse.Namespace,
    detector: WholeBodyDetector,
    portrait: np.ndarray,
    face: Face,
    video: VideoSource,
    size: int,
) -> Skeletons:
    reference = reference_crop(portrait, face.box, size)
    with bar("Detecting poses", "frame", video.num_frames) as update:
        return draw_skeletons(
            reference,
            video,
            detector,
            is_cross_reenactment=not options.same_person,
            on_frame=lambda i: update(i + 1),
        )


def find_device(options: argparse.Namespace, processes: Processes | None = None) -> torch.device | None:
    """Read ``--device``; None leaves the choice to the pipeline.

    Args:
        processes: Each gets a GPU of its own where no particular one was named.

    Raises:
        ConfigurationError: If it cannot be used, or there are too few GPUs.
    """
    if processes is not None and options.device in (None, "cuda") and torch.cuda.is_available():
        return processes.gpu()
    if options.device is None:
        return None
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
    # Torch raises AssertionError for a build without CUDA, RuntimeError for the rest.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"--device {options.device} cannot be used ({reason}); leave it out, or give cpu, cuda, cuda:1 or mps."
        ) from error
    return device


def _networks(
    session: Session, options: argparse.Namespace, device: torch.device | None, workload: Workload
) -> Pipeline:
    if options.weights == UNTRAINED:
        size = _working_size(options)
        warn(
            f"{UNTRAINED}: the networks are tiny and untrained, so THE PICTURE IS NOISE (computed at {size}x{size} "
            f"pixels, shown at {options.size}x{options.size}). Get the released weights by: hunyuan-portrait download"
        )
    key = (options.weights, options.models, device, options.dtype, options.no_identity, options.compile)
    key += (options.memory, options.unet_weights, workload)
    return session.networks(key, lambda: _load(options, device, workload))


def _load(options: argparse.Namespace, device: torch.device | None, workload: Workload) -> Pipeline:
    dtype = None if options.dtype is None else DTYPES[options.dtype]
    placed = placement(options, device, dtype, workload, is_tiny=options.weights == UNTRAINED)
    return with_compiled_unet(options, load_model(options, device, dtype, **placed))


def _working_size(options: argparse.Namespace) -> int:
    """Side of the square that the networks compute: noise is not worth the time of the full size."""
    if options.weights != UNTRAINED:
        return options.size
    return max(options.size // UNTRAINED_REDUCTION // 8 * 8, 64)


def _enlarged(frames: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    import cv2

    for frame in frames:
        yield frame if len(frame) == size else cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR)
