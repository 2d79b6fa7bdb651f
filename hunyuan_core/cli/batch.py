"""``hunyuan-portrait batch``: many videos."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import torch

from .. import __version__
from ..batch import (
    DONE,
    FAILED,
    NOT_RUN,
    SKIPPED,
    Outcome,
    Row,
    check_files,
    read_manifest,
    summary,
    why_not_finished,
    write_record,
    write_report,
)
from ..config import SamplingConfig
from ..distributed import Processes, WorkList, join
from ..errors import ConfigurationError, HunyuanPortraitError, MediaError
from ..models import NETWORKS
from ..models.residency import is_out_of_memory
from ..pipeline import default_device, default_dtype
from ..preview import find_tiny_decoder
from ..sampling import SpeedConfig
from ..video.files import temporary_beside
from .animate import add_options, animate_in, find_device
from .job import Session
from .model import UNTRAINED, weight_files
from .options import DTYPES, SUBJECTS, detector_files, is_manual, sampling_config
from .progress import say, speak_as
from .provenance import fingerprint
from .speed import speed_config

_REQUIRED = ("portrait", "driving", "out")
_NOT_PARTS = (*_REQUIRED, "job", "stopped", "models", "detector_model", "dwpose", "device", "dtype")
"""Options that say where something is, or that stand in the record under what they come to."""
_SEVERAL = {
    field.name for kind in (SamplingConfig, SpeedConfig) for field in fields(kind) if isinstance(field.default, tuple)
}
"""Options that take more than one value."""


def add_commands(commands: Any) -> None:
    """Add ``batch``."""
    parser = commands.add_parser(
        "batch",
        help="animate many portraits, listed in a CSV file",
        description="Run animate for each line of a CSV file. Its first line names options of animate without the "
        "dashes (portrait, driving, out, seed, portrait-box, ...); paths are relative to the file, flags are yes or "
        "no, an empty cell takes what is given here for all. Videos that are done are skipped, a bad line is "
        "reported and the others are done. Started by torchrun or accelerate launch, each process takes the next "
        "video to a GPU of its own. Exit status: 0 all done, 1 some failed, 2 the file is unusable.",
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="the CSV file")
    parser.add_argument(
        "--jobs",
        type=Path,
        metavar="FOLDER",
        help="keep a job folder for each video there, so that a half-done one goes on",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="what came of each line, as one JSON object a line (default: MANIFEST.report.jsonl)",
    )
    add_options(parser, has_files=False)
    parser.set_defaults(run=batch, stopped="Interrupted; the same command goes on with what is not done.")


@dataclass(frozen=True)
class _Task:
    """One row, read.

    Attributes:
        options: As for ``animate``; None where they are unusable.
        reason: Why.
    """

    row: Row
    options: argparse.Namespace | None
    reason: str = ""

    @property
    def out(self) -> str:
        """The output, as the user wrote it."""
        return self.row.cells.get("out", "")


def batch(options: argparse.Namespace) -> int:
    """Run the command."""
    processes = join()
    if processes is not None:
        speak_as(f"process {processes.rank}")
    manifest: Path = options.manifest
    tasks = _read_tasks(options)
    report: Path = options.report or manifest.with_name(f"{manifest.name}.report.jsonl")
    if report.resolve() == manifest.resolve():
        raise ConfigurationError(f"--report {report} is the manifest and would replace it; choose another name.")
    with temporary_beside(report.resolve()):
        pass  # what cannot be written should fail now
    work = WorkList(len(tasks), processes)
    outcomes: list[Outcome] = []
    try:
        _run_tasks(options, tasks, work, processes)
        _wait(processes)
    finally:
        if processes is None or processes.is_first:
            outcomes = _outcomes(tasks, work)
            write_report(report, outcomes)
            for line in summary(outcomes):
                say(line)
            say(f"Report: {report}")
    return int(not all(outcome.is_good for outcome in outcomes))


def _wait(processes: Processes | None) -> None:
    """Wait for the others' videos; those of a process that ended show in the report."""
    try:
        if processes is not None:
            processes.wait()
    except HunyuanPortraitError as error:
        say(f"error: {error}")


def _run_tasks(
    options: argparse.Namespace, tasks: Sequence[_Task], work: WorkList, processes: Processes | None
) -> None:
    rank = 0 if processes is None else processes.rank
    session = Session(has_many_jobs=True)
    for number in work:
        task, start = tasks[number], time.monotonic()
        status, reason = FAILED, task.reason
        if task.options is not None:
            say(f"Line {task.row.line}: {task.options.out}")
            with _kept_going() as errors:
                status = _run(session, task.options, options.jobs, processes)
            reason = " ".join(errors)
        seconds = round(time.monotonic() - start, 3)
        if status == FAILED:
            say(f"error: line {task.row.line}: {reason}")
        outcome = Outcome(task.row.line, task.out, status, reason, seconds, rank)
        work.finish(number, json.dumps(asdict(outcome)))


def _run(session: Session, options: argparse.Namespace, jobs: Path | None, processes: Processes | None) -> str:
    """Make one video, unless it is done; gives its status."""
    options.device = _device_of_row(options, processes)
    parts = _parts(options)
    why = why_not_finished(options.out, parts)
    if not why:
        say(f"{options.out} is done already.")
        return SKIPPED
    if options.out.exists():
        say(f"{options.out} is made anew: {why}.")
    if jobs is not None:
        # The place of the row changes when the manifest is edited, its output does not.
        place = hashlib.sha256(str(options.out.resolve()).encode()).hexdigest()[:8]
        options.job = jobs / f"{options.out.stem}-{place}"
    animate_in(session, options)
    write_record(options.out, parts)
    print(options.out, flush=True)
    return DONE


@contextmanager
def _kept_going() -> Iterator[list[str]]:
    """Turn what is wrong with one video into a line, so that the others are done."""
    errors: list[str] = []
    try:
        yield errors
    except (HunyuanPortraitError, OSError) as error:
        errors.append(str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        errors.append(f"The memory is full ({str(error).partition('. ')[0]}); use a smaller size or context-window.")
    if errors and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _outcomes(tasks: Sequence[_Task], work: WorkList) -> list[Outcome]:
    results = work.results()
    return [
        Outcome(task.row.line, task.out, NOT_RUN, "stopped before it was done")
        if result is None
        else Outcome(**json.loads(result))
        for task, result in zip(tasks, results, strict=True)
    ]


class _RowParser(argparse.ArgumentParser):
    """Raises what is wrong with a row."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}; correct the line.")


def _read_tasks(options: argparse.Namespace) -> list[_Task]:
    """Read the manifest.

    Raises:
        ConfigurationError: If it is unusable as a whole.
    """
    parser = _RowParser(allow_abbrev=False, add_help=False)
    add_options(parser, has_files=False)
    defaults = vars(parser.parse_args([]))
    given = {name: value for name, value in vars(options).items() if name in defaults}
    rows = read_manifest(options.manifest, [name.replace("_", "-") for name in defaults])
    tasks = []
    for row in rows:
        try:
            tasks.append(_Task(row, _read_row(parser, row, given, options.manifest.parent)))
        except ConfigurationError as error:
            tasks.append(_Task(row, None, str(error)))
    named = [(task.row.line, task.options) for task in tasks if task.options is not None]
    check_files(options.manifest, {line: (row.out, [row.portrait, row.driving]) for line, row in named})
    return tasks


def _read_row(parser: _RowParser, row: Row, given: dict[str, Any], folder: Path) -> argparse.Namespace:
    arguments = []
    for column, cell in row.cells.items():
        name = column.replace("-", "_")
        if parser.get_default(name) is False:
            if cell.lower() not in ("yes", "no"):
                raise ConfigurationError(f"{column} must be yes or no; got {cell!r}.")
            given = {**given, name: cell.lower() == "yes"}
        else:
            arguments += [f"--{column}", *cell.split()] if name in _SEVERAL else [f"--{column}={cell}"]
    options = parser.parse_args(arguments, argparse.Namespace(**given))
    for column in row.cells:
        name = column.replace("-", "_")
        value = getattr(options, name)
        if isinstance(value, Path):
            setattr(options, name, folder / value)
    if missing := [name for name in _REQUIRED if getattr(options, name) is None]:
        raise ConfigurationError(f"{' and '.join(missing)} missing; fill the cell, or give --{missing[0]} for all.")
    options.job = None
    return options


def _device_of_row(options: argparse.Namespace, processes: Processes | None) -> str | None:
    device = find_device(options, processes)
    return None if device is None else str(device)


def _parts(options: argparse.Namespace) -> dict[str, str]:
    """Name everything that determines the video.

    Raises:
        HunyuanPortraitError: If an option is out of range, or an input or the weights are not there.
    """
    sampling_config(options)  # fills in what the preset or the default is
    speed_config(options)
    device = default_device() if options.device is None else torch.device(options.device)
    dtype = default_dtype(device) if options.dtype is None else DTYPES[options.dtype]
    parts = {name: str(value) for name, value in vars(options).items() if name not in _NOT_PARTS}
    parts |= {name: _hash_of(getattr(options, name), SUBJECTS[name]) for name in SUBJECTS}
    if options.weights != UNTRAINED:
        files = weight_files(options)
        names = [*NETWORKS, *(() if options.no_identity else ("arcface",))]
        parts |= {f"weights of {name}": _hash_of(files.path(name), name) for name in names}
    if not all(is_manual(options, subject) for subject in SUBJECTS):
        detectors = {name: path for name, path in detector_files(options).items() if path is not None}
        chosen = detectors if options.detector == "auto" else {options.detector} & detectors.keys()
        parts |= {f"file of {name}": _hash_of(detectors[name], name) for name in chosen}
    if options.decoder == "tiny":
        parts["file of tiny"] = _hash_of(find_tiny_decoder(options.models), "--decoder tiny")
    if options.dwpose is not None:
        parts["dwpose"] = _hash_of(options.dwpose, "--dwpose")
    machine = {"device": device.type, "dtype": str(dtype).removeprefix("torch.")}
    return {**parts, **machine, "torch": torch.__version__, "program": __version__}


def _hash_of(path: Path, what: str) -> str:
    try:
        facts = path.stat()
    except OSError as error:
        raise MediaError(f"{path} ({what}) cannot be read ({error.strerror}); correct the path.") from error
    return _fingerprint(path, facts.st_size, facts.st_mtime_ns)


@cache
def _fingerprint(path: Path, size: int, modified: int) -> str:
    """Hash a file once as long as it stays as it is; the weights are gigabytes."""
    return f"sha256:{fingerprint(path)['sha256']}"
