"""A page that shows an evaluation: tables, plot and sample videos."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from .summary import KINDS, Row
from .tables import COLUMNS, cells

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #d0d7de; padding: .3rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.videos { display: flex; flex-wrap: wrap; gap: .75rem; }
figure { margin: 0; width: 13rem; } video, figure img { width: 100%; } .plot { max-width: 100%; }
"""


@dataclass(frozen=True)
class Sample:
    """Videos of one pair to be shown side by side.

    Attributes:
        videos: Path of each, relative to the page, by its caption.
    """

    title: str
    videos: dict[str, str]


def page(rows: Sequence[Row], notes: str, samples: Sequence[Sample], plot: str | None = None) -> str:
    """Write the page: one HTML file that needs nothing but the files beside it.

    Args:
        notes: Text below the tables.
        plot: Path of the picture, relative to the page.
    """
    parts = [_table(rows, kind) for kind in KINDS if any(pair.kind == kind for pair in rows[0].pairs)]
    parts.append(f"<details><summary>Notes</summary><pre>{html.escape(notes)}</pre></details>")
    if plot is not None:
        parts.append(f'<img class="plot" src="{html.escape(plot)}" alt="Each metric over the pairs">')
    parts += [_sample(sample) for sample in samples]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>HunyuanPortrait: evaluation</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>Evaluation</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _table(rows: Sequence[Row], kind: str) -> str:
    header = "".join(f"<th>{html.escape(column.header)}</th>" for column in COLUMNS)
    body = "\n".join(
        f"<tr><td>{html.escape(row.title)}</td>{''.join(f'<td>{cell}</td>' for cell in cells(row, kind))}</tr>"
        for row in rows
    )
    return f"<h2>{KINDS[kind]}</h2>\n<table>\n<tr><th>Setting</th>{header}</tr>\n{body}\n</table>"


def _sample(sample: Sample) -> str:
    videos = "\n".join(
        f'<figure><video src="{html.escape(path)}" controls loop muted playsinline></video>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, path in sample.videos.items()
    )
    return f'<h3>{html.escape(sample.title)}</h3>\n<div class="videos">\n{videos}\n</div>'
