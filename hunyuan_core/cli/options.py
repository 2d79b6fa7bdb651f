"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from ..checkpoints import FILES
from ..checkpoints.files import locate, models_folder
from ..config import SamplingConfig
from ..data import Face, FaceTrack
from ..errors import ConfigurationError, MissingDependencyError
from ..faces.detection import FaceChoice, FaceDetector, create_detector, select_face
from ..faces.report import SMALL_FACE, frame_ranges
from ..faces.tracking import smooth_track, track_faces
from ..optional import require
from ..sampling import PRESETS
from ..toy import toy_reader_file
from ..training.toyworld.detector import DrawnFaceDetector
from ..video import VideoSource, open_video
from .model import default_sampling, is_toy, set_size
from .progress import bar, say, warn

SUBJECTS = {"portrait": "portrait", "driving": "driving video"}
DRAWN = "drawn"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

SAMPLING_HELP = {
    "num_inference_steps": "denoising steps",
    "seed": "of the noise; the same seed gives the same noise on every device",
    "strength": "share of the steps that run, in (0, 1]",
    "image_guidance_scale": "weight of the appearance, at the first and (if given) the last step",
    "motion_guidance_scale": "weight of the motion, at the first and (if given) the last step",
    "motion_scale": "factor of the motion tokens' attention",
    "context_window": "frames that are denoised together",
    "context_overlap": "frames that neighbouring windows share",
    "context_shift": "frames by which the windows move from step to step",
    "num_padding_frames": "frames that fade the motion in and out at the ends, not kept",
    "fps": "micro-condition of the model, not the rate of the output",
    "motion_bucket_id": "micro-condition of the model",
    "noise_aug_strength": "noise on the portrait before it is encoded",
    "decode_chunk_size": "frames that are decoded together",
}


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Offer every field of SamplingConfig under its name."""
    group = parser.add_argument_group("sampling (defaults as released; those of the toy model are its own)")
    for field in fields(SamplingConfig):
        default = field.default
        is_ramp = isinstance(default, tuple)
        kind = type(default[0]) if isinstance(default, tuple) else type(default)
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            nargs="+" if is_ramp else None,
            metavar="SCALE" if is_ramp else "N",
            help=f"{SAMPLING_HELP[field.name]} (default: {default[0] if isinstance(default, tuple) else default})",
        )


def sampling_config(options: argparse.Namespace) -> SamplingConfig:
    """Read SamplingConfig from the options: what was given, else the preset's, else the default that fits the weights.

    What was not given is noted in the options, the size too.

    Raises:
        ConfigurationError: If a value is out of range, or a ramp has more than two values.
    """
    set_size(options)
    base = default_sampling(options)
    base = base if options.preset is None else PRESETS[options.preset].apply(base)
    for name, value in vars(base).items():
        if getattr(options, name) is None:
            setattr(options, name, list(value) if isinstance(value, tuple) else value)  # for the video's record
    values = {name: getattr(options, name) for name in vars(base)}
    for name in ("image_guidance_scale", "motion_guidance_scale"):
        if len(values[name]) > 2:
            raise ConfigurationError(f"--{name.replace('_', '-')} takes one value, or a first and a last one.")
        values[name] = (values[name][0], values[name][-1])
    return SamplingConfig(**values)


def add_models_option(parser: argparse.ArgumentParser) -> None:
    """Offer the models folder."""
    parser.add_argument(
        "--models",
        type=_path,
        metavar="FOLDER",
        help="folder of the weight files (default: $HUNYUAN_PORTRAIT_MODELS, else a folder in the user's cache)",
    )


def add_face_options(parser: argparse.ArgumentParser, subjects: Iterable[str]) -> None:
    """Offer detector, choice of face and hand-given faces for each subject (``portrait``, ``driving``)."""
    group = parser.add_argument_group("faces")
    group.add_argument(
        "--detector",
        choices=("auto", "yoloface", "mediapipe", "insightface", DRAWN),
        default="auto",
        help="face detector; auto takes the first of these that is there (released: yoloface), and with --weights toy "
        f"{DRAWN}, which knows the one face of a drawn picture",
    )
    group.add_argument(
        "--detector-model", type=_path, metavar="FILE", help="the detector's own file, if not in --models"
    )
    for subject in subjects:
        name = SUBJECTS[subject]
        group.add_argument(
            f"--{subject}-face",
            metavar="INDEX|X,Y",
            help=f"which face of the {name}: place from the left, 0 first, or a point in it (default: the largest)",
        )
        group.add_argument(
            f"--{subject}-box", metavar="X1,Y1,X2,Y2", help=f"the face of the {name} by hand (drawings, animals)"
        )
        group.add_argument(
            f"--{subject}-landmarks",
            metavar="X,Y,…",
            help="five points by hand: eyes, nose, mouth corners, left before right as seen in the picture",
        )
    if "driving" in subjects:
        group.add_argument(
            "--smooth-track",
            type=int,
            default=1,
            metavar="FRAMES",
            help="average the driving face over so many frames against jitter (default: 1, off as released)",
        )
        group.add_argument("--frame-rate", metavar="RATE", help="of a folder of images, e.g. 30000/1001 (default: 25)")


def check_faces(options: argparse.Namespace, subjects: Iterable[str]) -> None:
    """Refuse options that contradict each other, so that none is passed over in silence.

    Raises:
        ConfigurationError: Names the two options.
    """
    by_hand = {subject: is_manual(options, subject) for subject in subjects}
    for subject, manual in by_hand.items():
        if manual and getattr(options, f"{subject}_face") is not None:
            raise ConfigurationError(f"--{subject}-face chooses among detected faces; leave it out where one is given.")
    if all(by_hand.values()) and (options.detector != "auto" or options.detector_model is not None):
        raise ConfigurationError("--detector has nothing to detect: all faces are given by hand; leave it out.")
    if options.detector == "auto" and options.detector_model is not None:
        raise ConfigurationError("--detector-model needs --detector, to tell whose file it is.")
    if "driving" in by_hand and (options.smooth_track < 1 or options.smooth_track % 2 == 0):
        raise ConfigurationError(f"--smooth-track must be odd and at least 1; got {options.smooth_track}.")


def find_detectors(
    options: argparse.Namespace, subjects: Iterable[str], device: torch.device | None = None
) -> dict[str, FaceDetector]:
    """Make the detector for each subject; those that are not given by hand share one.

    Raises:
        ConfigurationError: If the options are malformed, or no detector is there; says how to get one.
    """
    detectors: dict[str, FaceDetector] = {}
    shared: FaceDetector | None = None
    for subject in subjects:
        if is_manual(options, subject):
            box = _numbers(options, subject, "box", 4)
            points = _numbers(options, subject, "landmarks", 10)
            points = None if points is None else points.reshape(5, 2)
            detectors[subject] = create_detector("manual", box=box, landmarks=points)
        else:
            shared = shared or _automatic_detector(options, subject, device)
            detectors[subject] = shared
    return detectors


def detector_files(options: argparse.Namespace) -> dict[str, Path | None]:
    """Find the file or folder of each detector that may be chosen; None where it is not there.

    Raises:
        WeightsError: If it is the one that the package carries, and that is missing.
    """
    if options.detector == DRAWN or (options.detector == "auto" and is_toy(options)):
        return {DRAWN: options.detector_model or toy_reader_file()}
    folder = models_folder(options.models)
    yoloface = next(file for file in FILES if file.name == "yoloface")
    return {
        "yoloface": options.detector_model or locate(folder, yoloface),
        "mediapipe": options.detector_model or _existing(folder / "face_landmarker.task"),
        "insightface": options.detector_model or _existing(folder / "insightface"),
    }


def _automatic_detector(options: argparse.Namespace, subject: str, device: torch.device | None) -> FaceDetector:
    folder, candidates = models_folder(options.models), detector_files(options)
    where = "cpu" if device is None else str(device)
    if options.detector != "auto":
        path = candidates[options.detector]
        if path is None and options.detector != "insightface":
            name = "yoloface_v5m.pt" if options.detector == "yoloface" else "face_landmarker.task"
            raise ConfigurationError(
                f"--detector {options.detector} needs its file: put {name} into {folder}, or give --detector-model."
            )
        return _create(options.detector, path, where)
    for name, path in candidates.items():
        if path is not None and _is_installed(name):
            options.detector = name  # for the record that the video keeps
            return _create(name, path, where)
    raise ConfigurationError(
        f"No face detector is there for the {SUBJECTS[subject]}: put yoloface_v5m.pt (hunyuan-portrait download) or "
        f"MediaPipe's face_landmarker.task (and pip install mediapipe) into {folder}, or give the face by hand with "
        f"--{subject}-box."
    )


def find_face(image: np.ndarray, detector: FaceDetector, options: argparse.Namespace, subject: str) -> Face:
    """Find the chosen face of a still picture."""
    face = select_face(detector.detect(image), face_choice(options, subject))
    width, height = face.box[2:] - face.box[:2]
    if min(width, height) < SMALL_FACE:
        warn(f"the face of the {SUBJECTS[subject]} has only {width:.0f}x{height:.0f} pixels; it will come out blurred")
    return face


def find_track(video: VideoSource, detector: FaceDetector, options: argparse.Namespace) -> FaceTrack:
    """Follow the chosen face through the driving video, with a progress bar and a report of what was filled."""
    with bar("Detecting faces", "frame", video.num_frames) as update:
        track = track_faces(video, detector, face_choice(options, "driving"), lambda i: update(i + 1))
    if filled := track.filled_frames:
        warn(f"{len(filled)} of {len(track)} frames show no face; filled from their neighbours: {frame_ranges(filled)}")
    return smooth_track(track, options.smooth_track) if options.smooth_track != 1 else track


def find_driving(options: argparse.Namespace) -> VideoSource:
    """Open the driving video; a still image is held for a clip, with a warning."""
    video = open_video(options.driving, frame_rate=options.frame_rate)
    if video.is_still:
        video = video.held()
        warn(
            f"{options.driving} is a single picture, held for {video.num_frames} frames. The model knows motion only, "
            "so its head pose may come out wrong; a short clip drives better."
        )
    say(f"Driving video: {video.num_frames} frames of {video.width}x{video.height}, {video.frame_rate} per second")
    return video


def check_output(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that would overwrite an input, or whose folder is not there.

    Raises:
        ConfigurationError: Names the output.
    """
    if out.resolve() in [path.resolve() for path in inputs]:
        raise ConfigurationError(f"--out {out} is also an input and would be lost; choose another name.")
    if not out.resolve().parent.is_dir():
        raise ConfigurationError(f"--out {out}: the folder {out.resolve().parent} does not exist; make it first.")


def face_choice(options: argparse.Namespace, subject: str) -> FaceChoice:
    """Read which of several faces is meant.

    Raises:
        ConfigurationError: If it is neither a place nor a point.
    """
    text = getattr(options, f"{subject}_face")
    if text is None:
        return FaceChoice()
    if re.fullmatch("-?[0-9]+", text):
        return FaceChoice(index=int(text))
    x, y = _parse(text, f"--{subject}-face", 2)
    return FaceChoice(position=(float(x), float(y)))


def is_manual(options: argparse.Namespace, subject: str) -> bool:
    """Whether a subject's face is given by hand."""
    return getattr(options, f"{subject}_box") is not None or getattr(options, f"{subject}_landmarks") is not None


def _numbers(options: argparse.Namespace, subject: str, what: str, count: int) -> np.ndarray | None:
    text = getattr(options, f"{subject}_{what}")
    return None if text is None else _parse(text, f"--{subject}-{what}", count)


def _parse(text: str, option: str, count: int) -> np.ndarray:
    try:
        numbers = np.array([float(part) for part in text.split(",")])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count:
        raise ConfigurationError(f"{option} takes {count} numbers separated by commas; got {text!r}.")
    return numbers


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _create(name: str, path: Path | None, device: str) -> FaceDetector:
    if name == DRAWN and path is not None:
        return DrawnFaceDetector(path)
    return create_detector(name, model_path=path, device=device)


def _is_installed(detector: str) -> bool:
    if detector in ("yoloface", DRAWN):
        return True
    try:
        require(detector, "face detection", f"pip install {detector}")
    except MissingDependencyError:
        return False
    return True
