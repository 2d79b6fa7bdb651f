"""Many videos from one list: the manifest, what is done already, and the report."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .checkpoints.integrity import sha256_of
from .errors import ConfigurationError
from .jobs import changed_parts
from .video.files import replacing, write_error

DONE, SKIPPED, FAILED, NOT_RUN = "done", "skipped", "failed", "not run"
"""What may come of a row; ``skipped`` is one that was done before."""


@dataclass(frozen=True)
class Row:
    """One video of a manifest.

    Attributes:
        line: In the file, from 1.
        cells: By column; those that are empty are left out.
    """

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What came of one row.

    Attributes:
        line: Of the manifest, from 1.
        out: As the manifest names it.
        status: One of ``DONE``, ``SKIPPED``, ``FAILED``, ``NOT_RUN``.
        reason: Of a failure, one line.
        seconds: That the row took.
        process: Rank of the process that ran it.
    """

    line: int
    out: str
    status: str
    reason: str = ""
    seconds: float = 0
    process: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the video is there."""
        return self.status in (DONE, SKIPPED)


def read_manifest(path: Path, columns: Collection[str]) -> list[Row]:
    """Read a CSV file whose first line names the columns.

    Args:
        path: UTF-8, with or without a byte order mark.
        columns: Those that are known; ``_`` in the file counts as ``-``.

    Raises:
        ConfigurationError: If it is no such file, or has no rows; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"The manifest {path} cannot be read ({error.strerror}); give a CSV file.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The manifest {path} is not UTF-8 text; save it as CSV in UTF-8.") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    names: list[str] = []
    try:
        for cells in lines:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not names:
                names = _column_names(path, cells, columns)
                continue
            if len(cells) != len(names):
                raise ConfigurationError(
                    f"{path}, line {lines.line_num}: {len(cells)} cells under {len(names)} columns; put text with "
                    "commas in quotes."
                )
            filled = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
            rows.append(Row(lines.line_num, filled))
    except csv.Error as error:
        raise ConfigurationError(f"{path}, line {lines.line_num}: not CSV ({error}); correct the quotes.") from error
    if not rows:
        raise ConfigurationError(f"The manifest {path} has no rows; name the columns first, then one video a line.")
    return rows


def _column_names(path: Path, cells: Sequence[str], columns: Collection[str]) -> list[str]:
    names = [cell.replace("_", "-") for cell in cells]
    if unknown := [repr(name) for name in names if name not in columns]:
        raise ConfigurationError(
            f"{path}: unknown columns {', '.join(unknown)}; the first line names options of animate without the "
            "dashes, with commas between them, such as portrait,driving,out,seed."
        )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigurationError(f"{path}: repeated columns {', '.join(repeated)}; leave one of each.")
    return names


def check_files(manifest: Path, files: Mapping[int, tuple[Path, Sequence[Path]]]) -> None:
    """Refuse rows that would write one file twice, or over an input of any row.

    Args:
        files: Output and inputs by the row's line.

    Raises:
        ConfigurationError: Names the lines.
    """
    readers = {path.resolve(): line for line, (_, inputs) in files.items() for path in inputs}
    writers: dict[Path, int] = {}
    for line, (out, _) in files.items():
        target = out.resolve()
        if target in writers:
            raise ConfigurationError(f"{manifest}: lines {writers[target]} and {line} both write {out}; change one.")
        if target in readers:
            raise ConfigurationError(
                f"{manifest}: line {line} would write {out}, an input of line {readers[target]}; choose another name, "
                "and run videos that build on each other in batches of their own."
            )
        writers[target] = line


def record_path(out: Path) -> Path:
    """Where the record of a finished video lies."""
    return out.with_name(f"{out.name}.json")


def write_record(out: Path, parts: Mapping[str, str]) -> None:
    """Note beside a finished video what it was made of.

    Raises:
        MediaError: If that cannot be written.
    """
    record = {"sha256": sha256_of(out), "parts": dict(parts)}
    _write_text(record_path(out), json.dumps(record, indent=1))


def why_not_finished(out: Path, parts: Mapping[str, str]) -> str:
    """Say why a video is to be made; empty if it is there, whole, and made of the same.

    Args:
        parts: Everything that determines the video, by name.
    """
    if not out.exists():
        return "it is not there yet"
    try:
        record = json.loads(record_path(out).read_text(encoding="utf-8"))
        kept, digest = dict(record["parts"]), record["sha256"]
    except FileNotFoundError:
        return "nothing says what the video there was made of"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{record_path(out).name} cannot be read"
    if changes := changed_parts(kept, parts):
        return f"these changed: {', '.join(changes)}"
    return "" if sha256_of(out) == digest else "the video there is damaged or was changed"


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write one JSON object a line, with the fields of ``Outcome``.

    Raises:
        MediaError: If it cannot be written.
    """
    _write_text(path, "".join(f"{json.dumps(asdict(outcome))}\n" for outcome in outcomes))


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """Tell the outcomes to people: a line for each row that is not there, and one of numbers."""
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    lines = [f"line {bad_.line}, {bad_.out or 'no output'}: {bad_.status}: {bad_.reason}" for bad_ in bad]
    numbers = Counter(outcome.status for outcome in outcomes)
    counted = ", ".join(f"{numbers[status]} {status}" for status in (DONE, SKIPPED, FAILED, NOT_RUN) if numbers[status])
    return [*lines, f"{len(outcomes)} videos: {counted}."]


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        try:
            temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_error(path, error.errno, error.strerror) from error
