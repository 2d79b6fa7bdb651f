"""The job folder of ``animate``: what the command keeps there, and by which inputs it knows it again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@contextmanager
def open_job(options: argparse.Namespace) -> Iterator[JobFolder | None]:
    """Open the folder that ``--job`` names, and let others have it at the end; None without it."""
    if options.job is None:
        yield None
        return
    job = JobFolder(options.job, say)
    options.stopped = f"Interrupted; the same command goes on from {options.job}."
    try:
        yield job
    finally:
        job.close()


class Session:
    """What the jobs of one process share: the networks, and what was found last in the inputs.

    Args:
        has_many_jobs: Whether there are others to share it with.
    """

    def __init__(self, has_many_jobs: bool = False) -> None:
        self.has_many_jobs = has_many_jobs
        self._found: dict[type, tuple[dict[str, str], Any]] = {}
        self._networks: tuple[object, Pipeline] | None = None

    def networks(self, key: object, load: Callable[[], Pipeline]) -> Pipeline:
        """Take the networks that were loaded for the job before, or load others in their place.

        Args:
            key: Everything that determines them.
        """
        if self._networks is None or self._networks[0] != key:
            self._networks = None  # first, or both would be in memory
            self._networks = key, load()
        return self._networks[1]

    def remember(
        self, job: JobFolder | None, kind: type[Found], parts: Callable[[], dict[str, str]], find: Callable[[], Found]
    ) -> Found:
        """Take what the job before or the job's folder knows, else find it.

        Args:
            parts: Names what determines it; called only where somebody remembers, because that takes seconds.
        """
        if job is None and not self.has_many_jobs:
            return find()
        now = parts()
        before, found = self._found.pop(kind, (None, None))
        if before != now or found is None:
            found = find() if job is None else job.remember(kind, now, find)
        if self.has_many_jobs:
            self._found[kind] = now, found
        return found


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
