"""The job folder of ``animate``: what the command keeps there, and by which inputs it knows it again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..checkpoints.integrity import sha256_of
from ..data import Face, FaceTrack
from ..jobs import Found, JobFolder, hash_tensors, machine_parts, tensors_of, weight_parts
from ..pipeline import Pipeline
from .progress import say
from .provenance import fingerprint


def add_job_option(parser: argparse.ArgumentParser) -> None:
    """Offer the job folder."""
    parser.add_argument(
        "--job",
        type=Path,
        metavar="FOLDER",
        help="keep what is computed there, so that the same command goes on where it was interrupted",
    )


def open_job(options: argparse.Namespace) -> JobFolder | None:
    """Open the folder that ``--job`` names; None without it."""
    if options.job is None:
        return None
    job = JobFolder(options.job, say)
    options.stopped = f"Interrupted; the same command goes on from {options.job}."
    return job


def remembered(
    job: JobFolder | None, kind: type[Found], parts: Callable[[], dict[str, str]], find: Callable[[], Found]
) -> Found:
    """Take from the job what it knows, else find it.

    Args:
        parts: Names what determines it; called only where there is a job, because that takes seconds.
    """
    return find() if job is None else job.remember(kind, parts(), find)


def face_parts(options: argparse.Namespace, subject: str) -> dict[str, str]:
    """Name what determines a face, or its track; call it when the detector is chosen."""
    names = [name for name in vars(options) if name.startswith((f"{subject}_", "detector"))]
    settings = {name: str(getattr(options, name)) for name in (*names, "smooth_track", "frame_rate")}
    return {**settings, **_file(getattr(options, subject))}


def appearance_parts(options: argparse.Namespace, pipeline: Pipeline, face: Face, size: int) -> dict[str, str]:
    """Name what determines the appearance."""
    arcface = "none" if pipeline.arcface is None else sha256_of(Path(pipeline.arcface.path))
    settings = {name: str(getattr(options, name)) for name in ("seed", "noise_aug_strength")}
    networks = weight_parts(pipeline, ("vision", "token_projection", "vae"))
    inputs = {**_file(options.portrait), "face": hash_tensors(tensors_of(face)), "size": str(size), "arcface": arcface}
    return {**settings, **inputs, **networks, **machine_parts(pipeline)}


def motion_parts(options: argparse.Namespace, pipeline: Pipeline, track: FaceTrack) -> dict[str, str]:
    """Name what determines the motion."""
    networks = weight_parts(pipeline, ("expression", "head_pose", "refiner"))
    inputs = {**_file(options.driving), "track": hash_tensors(tensors_of(track))}
    return {**inputs, **networks, **machine_parts(pipeline)}


def _file(path: Path) -> dict[str, str]:
    return {"file": fingerprint(path)["sha256"]}
