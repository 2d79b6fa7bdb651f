"""All metrics over two videos, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..data import Face, FaceTrack
from ..errors import ConfigurationError, FaceNotFoundError
from ..faces.crops import head_pose_crop, motion_crop, square_box
from ..faces.detection import FaceChoice, FaceDetector, select_face
from ..faces.identity import ArcFace
from ..faces.manual import ManualDetector
from ..faces.tracking import track_faces
from ..models import ExpressionEncoder, HeadPoseEncoder
from .face_metrics import (
    BatchedComparison,
    embed_identity,
    inter_ocular_distance,
    landmark_distance,
    motion_metric,
    pose_metric,
)
from .perceptual import LPIPS_SIDE
from .pictures import PictureMetric, frame_pairs, picture_metrics
from .report import METRICS, Measurement, Report

OnFrame = Callable[[str, int], None]
"""Told of each frame that is done: the stage and the frame's number, from 0."""

_TRUTH_METRICS = ("psnr", "ssim", "lpips", "landmark_distance", "normalised_landmark_distance")
_LANDMARK_METRICS = ("landmark_distance", "normalised_landmark_distance")
_POSE_METRICS = ("rotation_error", "translation_error")
_FACE_METRICS = (*_LANDMARK_METRICS, "identity_similarity", "motion_error", *_POSE_METRICS)


@dataclass(frozen=True, eq=False)
class Evaluators:
    """What measures. A metric whose network or detector is None is reported as not measured.

    Attributes:
        detector: Finds the faces of both videos; all but PSNR, SSIM and LPIPS need it.
        choice: Which face of several, in both videos; None for the largest.
        arcface: For the identity similarity.
        expression: For the motion error; runs in its own dtype on its own device, like ``head_pose``.
        head_pose: For the errors of head rotation and translation.
        lpips: Of ``perceptual``.
        reasons: Why one of these is None, by its name, and what to do; for the report.
    """

    detector: FaceDetector | None = None
    choice: FaceChoice | None = None
    arcface: ArcFace | None = None
    expression: ExpressionEncoder | None = None
    head_pose: HeadPoseEncoder | None = None
    lpips: PictureMetric | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the passes over the videos, for a progress bar; the last is left out where a video shows no face."""
        if self.detector is None:
            return ("pictures",)
        faces = ("pictures", "faces of the reference", "faces of the result")
        has_network = any(network is not None for network in (self.arcface, self.expression, self.head_pose))
        return (*faces, "networks") if has_network else faces


@dataclass(eq=False)
class _Findings:
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def leave_out(self, names: Iterable[str], reason: str) -> None:
        """Note why metrics are not measured; the first reason of each stays."""
        self.missing = {**dict.fromkeys(names, reason), **self.missing}


@torch.inference_mode()
def evaluate(
    reference_frames: Iterable[np.ndarray],
    result_frames: Iterable[np.ndarray],
    evaluators: Evaluators | None = None,
    *,
    portrait: np.ndarray | None = None,
    is_truth: bool = True,
    on_frame: OnFrame | None = None,
) -> Report:
    """Measure how near a result comes to its reference.

    Both videos are read once for each of ``Evaluators.stages``, holding a few frames in memory at a time. A frame in
    which no face is found has no number in the metrics of faces: what was filled in for it would measure the filling.

    Args:
        reference_frames: (H, W, 3) uint8 RGB each, the video that the result should equal: a list, an array or a
            VideoSource, not an iterator.
        result_frames: As many of the same size.
        evaluators: None measures PSNR and SSIM.
        portrait: (H, W, 3) uint8 RGB of any size: whom each result frame should show. None compares its identity with
            that of the same frame of the reference.
        is_truth: Whether the result should equal the reference; False where the reference is another person who gives
            the motion alone (cross-reenactment), so that only motion, head pose and identity can be measured.
        on_frame: Called after each frame of each stage; may raise to cancel.

    Raises:
        ShapeError: If the videos differ in size or length, or a frame is no RGB picture.
        MediaError: If there are no frames.
        ConfigurationError: If a video is an iterator, which could be read only once.
    """
    evaluators = evaluators or Evaluators()
    videos = {"reference": reference_frames, "result": result_frames}
    for name, frames in videos.items():
        if iter(frames) is frames:
            raise ConfigurationError(
                f"The {name} frames are an iterator ({type(frames).__name__}) but are read more than once; "
                f"give a list, an array or a VideoSource."
            )
    findings = _Findings()
    if not is_truth:
        findings.leave_out(_TRUTH_METRICS, "needs the video that the result should equal, and there is none.")
        if portrait is None:
            findings.leave_out(["identity_similarity"], "needs the portrait, because the reference is another person.")
    num_frames, (height, width) = _compare_pictures(videos, evaluators, findings, on_frame)
    _leave_out_what_lacks_its_means(evaluators, findings)
    tracks: dict[str, FaceTrack] = {}
    without_face: dict[str, tuple[int, ...]] = {}
    if evaluators.detector is not None:
        for name, frames in videos.items():
            try:
                tracks[name] = _track(name, frames, evaluators.detector, evaluators.choice, on_frame)
                without_face[name] = tuple(tracks[name].filled_frames)
            except FaceNotFoundError as error:
                without_face[name] = tuple(range(num_frames))
                findings.leave_out(_FACE_METRICS, f"{name}: {error}")
    if len(tracks) == len(videos):
        _compare_landmarks(tracks, findings)
        if "networks" in evaluators.stages:
            _compare_with_networks(videos, tracks, evaluators, portrait, findings, on_frame)
    return _report(num_frames, height, width, findings, without_face)


def _compare_pictures(
    videos: Mapping[str, Iterable[np.ndarray]], evaluators: Evaluators, findings: _Findings, on_frame: OnFrame | None
) -> tuple[int, tuple[int, int]]:
    """Fill in PSNR, SSIM and LPIPS; answers with the number of frames and their height and width."""
    num_frames, size, metrics = 0, (0, 0), {}
    for number, (reference, result) in enumerate(frame_pairs(videos["reference"], videos["result"])):
        if number == 0:
            size = reference.shape[0], reference.shape[1]
            metrics = _metrics_of(size, evaluators, findings)
        for name, metric in metrics.items():
            findings.values.setdefault(name, {})[number] = metric(reference, result)
        num_frames = number + 1
        if on_frame is not None:
            on_frame("pictures", number)
    return num_frames, size


def _metrics_of(size: tuple[int, int], evaluators: Evaluators, findings: _Findings) -> dict[str, PictureMetric]:
    """Gather the metrics of pictures of a height and width; notes why others are not measured."""
    metrics, missing = picture_metrics(*size)
    if evaluators.lpips is None:
        missing["lpips"] = evaluators.reasons.get(
            "lpips", "needs its network, which `hunyuan-portrait evaluate` loads."
        )
    elif min(size) < LPIPS_SIDE:
        missing["lpips"] = f"needs pictures of at least {LPIPS_SIDE}×{LPIPS_SIDE} pixels; got {size[1]}×{size[0]}."
    else:
        metrics["lpips"] = evaluators.lpips
    for name, reason in missing.items():
        findings.leave_out([name], reason)
    return {name: metric for name, metric in metrics.items() if name not in findings.missing}


def _leave_out_what_lacks_its_means(evaluators: Evaluators, findings: _Findings) -> None:
    reasons = evaluators.reasons
    if evaluators.detector is None:
        findings.leave_out(_FACE_METRICS, reasons.get("detector", "needs a face detector, and none was given."))
    if isinstance(evaluators.detector, ManualDetector):
        findings.leave_out(
            _LANDMARK_METRICS, "the face was given by hand, the same in both videos; needs a detector that finds it."
        )
    if evaluators.arcface is None:
        reason = reasons.get("arcface", "needs ArcFace, and it was not given.")
        findings.leave_out(["identity_similarity"], reason)
    if evaluators.expression is None:
        reason = reasons.get("expression", "needs the expression encoder, and it was not given.")
        findings.leave_out(["motion_error"], reason)
    if evaluators.head_pose is None:
        findings.leave_out(
            _POSE_METRICS, reasons.get("head_pose", "needs the head-pose encoder, and it was not given.")
        )


def _track(
    name: str,
    frames: Iterable[np.ndarray],
    detector: FaceDetector,
    choice: FaceChoice | None,
    on_frame: OnFrame | None,
) -> FaceTrack:
    def tell(number: int) -> None:
        if on_frame is not None:
            on_frame(f"faces of the {name}", number)

    return track_faces(frames, detector, choice, tell)


def _compare_landmarks(tracks: Mapping[str, FaceTrack], findings: _Findings) -> None:
    if "landmark_distance" in findings.missing:
        return
    reference, result = tracks["reference"], tracks["result"]
    frames = np.flatnonzero(reference.is_detected & result.is_detected).tolist()
    distances = landmark_distance(reference.landmarks[frames], result.landmarks[frames])
    findings.values["landmark_distance"] = dict(zip(frames, distances.tolist(), strict=True))
    scale = inter_ocular_distance(reference.landmarks[reference.is_detected])
    if scale == 0:
        findings.leave_out(_LANDMARK_METRICS[1:], "both eyes of the reference lie on one point; use another detector.")
    else:
        findings.values["normalised_landmark_distance"] = dict(zip(frames, (distances / scale).tolist(), strict=True))


def _compare_with_networks(
    videos: Mapping[str, Iterable[np.ndarray]],
    tracks: Mapping[str, FaceTrack],
    evaluators: Evaluators,
    portrait: np.ndarray | None,
    findings: _Findings,
    on_frame: OnFrame | None,
) -> None:
    """Fill in the metrics of identity, motion and head pose."""
    reference, result = tracks["reference"], tracks["result"]
    motion = None if evaluators.expression is None else BatchedComparison(motion_metric(evaluators.expression))
    pose = None if evaluators.head_pose is None else BatchedComparison(pose_metric(evaluators.head_pose))
    identity = _Identity(evaluators, portrait, findings)
    squares: list[tuple[int, int, int, int]] = []
    for number, pair in enumerate(frame_pairs(videos["reference"], videos["result"])):
        if number == 0:
            squares = [square_box(track.boxes[0], *pair[0].shape[:2]) for track in (reference, result)]
        identity.add(number, pair, reference, result)
        if reference.is_detected[number] and result.is_detected[number]:
            if motion is not None:
                crops = (
                    motion_crop(frame, track.landmarks[number], track.boxes[0])
                    for frame, track in zip(pair, (reference, result), strict=True)
                )
                motion.add(number, *crops)
            if pose is not None:
                pose.add(number, *(head_pose_crop(frame, square) for frame, square in zip(pair, squares, strict=True)))
        if on_frame is not None:
            on_frame("networks", number)
    findings.values["identity_similarity"] = identity.values
    for comparison in (motion, pose):
        if comparison is not None:
            findings.values.update(comparison.finish())


class _Identity:
    """Cosines between the identities of result frames and of what they should show."""

    def __init__(self, evaluators: Evaluators, portrait: np.ndarray | None, findings: _Findings) -> None:
        self.values: dict[int, float] = {}
        self._arcface = evaluators.arcface
        self._wanted: np.ndarray | None = None
        if portrait is not None and evaluators.arcface is not None and evaluators.detector is not None:
            try:
                face = select_face(evaluators.detector.detect(portrait))
            except FaceNotFoundError as error:
                findings.leave_out(["identity_similarity"], f"portrait: {error}")
                self._arcface = None
            else:
                self._wanted = embed_identity(portrait, face, evaluators.arcface)

    def add(self, number: int, pair: tuple[np.ndarray, np.ndarray], reference: FaceTrack, result: FaceTrack) -> None:
        if self._arcface is None or not result.is_detected[number]:
            return
        wanted = self._wanted
        if wanted is None:
            if not reference.is_detected[number]:
                return
            wanted = embed_identity(pair[0], _face(reference, number), self._arcface)
        found = embed_identity(pair[1], _face(result, number), self._arcface)
        self.values[number] = float(wanted.astype(np.float64) @ found)


def _face(track: FaceTrack, number: int) -> Face:
    return Face(track.boxes[number], track.landmarks[number])


def _report(
    num_frames: int, height: int, width: int, findings: _Findings, without_face: dict[str, tuple[int, ...]]
) -> Report:
    measurements, not_measured = {}, {}
    for name in METRICS:
        values = findings.values.get(name, {})
        bad = [frame for frame, value in values.items() if not math.isfinite(value) and name != "psnr"]
        if name in findings.missing:
            not_measured[name] = findings.missing[name]
        elif bad:
            not_measured[name] = f"the network's answer for frame {bad[0]} is not finite; run it in float32."
        elif not values:
            not_measured[name] = "no frame shows a face in both videos; use another detector."
        else:
            measurements[name] = Measurement(name, tuple(values.get(frame) for frame in range(num_frames)))
    return Report(num_frames, height, width, measurements, not_measured, without_face)
