"""Tables in the form of the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .summary import KINDS, PairOutcome, Row

NOT_MEASURED = "–"


@dataclass(frozen=True)
class Column:
    """A column of the paper's Tables 1 and 2.

    Attributes:
        factor: By which the paper multiplies.
        note: How this differs from the paper's; empty if it does not.
    """

    title: str
    metric: str
    is_higher_better: bool
    factor: float = 1
    digits: int = 2
    note: str = ""

    @property
    def header(self) -> str:
        """Title with its arrow."""
        return f"{self.title} {'↑' if self.is_higher_better else '↓'}"


COLUMNS = (
    Column(
        "LMD",
        "landmark_distance",
        is_higher_better=False,
        factor=1e3,
        note="thousandths of the picture's longer side, over the detector's five landmarks (paper: MediaPipe's mesh)",
    ),
    Column("FID-VID", "fid_vid", is_higher_better=False),
    Column("FVD", "fvd", is_higher_better=False),
    Column("PSNR", "psnr", is_higher_better=True),
    Column("SSIM", "ssim", is_higher_better=True, digits=3),
    Column("LPIPS", "lpips", is_higher_better=False, digits=3),
    Column(
        "AED",
        "motion_error",
        is_higher_better=False,
        factor=1e2,
        note="hundredths, mean absolute difference of this project's expression features (paper: SMIRK)",
    ),
    Column(
        "APD",
        "rotation_error",
        is_higher_better=False,
        note="degrees, mean absolute difference of this project's head rotation (paper: SMIRK)",
    ),
    Column("Identity", "identity_similarity", is_higher_better=True, factor=10, note="tenths, as in the paper"),
)


def cells(row: Row, kind: str) -> list[str]:
    """Write the numbers of a row, in the order of COLUMNS."""
    texts = []
    for column in COLUMNS:
        value = _landmark_share(row, kind) if column.metric == "landmark_distance" else row.mean(column.metric, kind)
        texts.append(NOT_MEASURED if value is None else _number(value * column.factor, column.digits))
    return texts


def to_markdown(rows: Sequence[Row]) -> str:
    """Write a table for each kind of pair, what its columns mean, and what has no number."""

    def table(header: list[str], body: list[list[str]]) -> list[str]:
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
        return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]

    return _written(rows, table, lambda title: f"## {title}", "- ")


def to_text(rows: Sequence[Row]) -> str:
    """Write the same for a terminal."""

    def table(header: list[str], body: list[list[str]]) -> list[str]:
        lines = [header, *body]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        return [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]

    return _written(rows, table, lambda title: title, "  ")


def _written(
    rows: Sequence[Row],
    table: Callable[[list[str], list[list[str]]], list[str]],
    heading: Callable[[str], str],
    bullet: str,
) -> str:
    header = ["Setting", *(column.header for column in COLUMNS)]
    lines: list[str] = []
    for kind, title in KINDS.items():
        pairs = [pair for pair in rows[0].pairs if pair.kind == kind]
        if not pairs:
            continue
        lines += [heading(f"{title}, {len(pairs)} {'pairs' if len(pairs) > 1 else 'pair'}"), ""]
        lines += table(header, [[row.title, *cells(row, kind)] for row in rows])
        lines += ["", *(f"{bullet}{text}" for text in _reasons(rows, kind)), ""]
    lines += [f"{bullet}{column.title}: {column.note}." for column in COLUMNS if column.note]
    failures = [(row, pair) for row in rows for pair in row.pairs if pair.error]
    if failures:
        lines += ["", heading("Failed"), "", *(f"{bullet}{p.name} ({row.title}): {p.error}" for row, p in failures)]
    return "\n".join(lines) + "\n"


def _reasons(rows: Sequence[Row], kind: str) -> list[str]:
    """Why columns are empty, those of one reason together."""
    titles = {column.metric: column.title for column in COLUMNS}
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        for name, reason in row.reasons(kind).items():
            if name in titles and row.mean(name, kind) is None and titles[name] not in by_reason.get(reason, []):
                by_reason.setdefault(reason, []).append(titles[name])
    return [f"{', '.join(names)} not measured: {reason}" for reason, names in by_reason.items()]


def _landmark_share(row: Row, kind: str) -> float | None:
    """Average the landmark distance as a share of the picture's longer side."""

    def share(pair: PairOutcome) -> float | None:
        value = pair.value("landmark_distance")
        return None if value is None or pair.report is None else value / max(pair.report.height, pair.report.width)

    values = [value for pair in row.pairs if pair.kind == kind and (value := share(pair)) is not None]
    return math.fsum(values) / len(values) if values else None


def _number(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"
