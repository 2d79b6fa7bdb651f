"""The paper's Table 2 on the drawn world: the model trained whole and without each of its parts, over several seeds.

``python -m hunyuan_core.training.ablations CONFIG --seeds 0 1 2 --out FOLDER`` trains what the folder does not have,
and writes ``ablations.json`` and ``ablations.md`` into it. Of one seed all rows begin alike and see the same clips and
noise, so that they are compared seed by seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ablation import ABLATIONS
from ..checkpoints.integrity import sha256_of
from ..errors import ConfigurationError, HunyuanPortraitError
from ..evaluation.tables import Column
from ..toy import toy_reader_file
from .config import TrainingConfig, read_config
from .held_out import COLUMNS, measure
from .loop import find_starts, fingerprint, train
from .toyworld.reader import READER_SIDE, Reader, load_reader

ROWS = {"whole": "HunyuanPortrait", **ABLATIONS}
"""Names and titles, in the order of the paper's table."""

Figures = Mapping[str, Mapping[int, Mapping[str, float]]]
"""By row, seed and metric."""


def run(
    config: TrainingConfig,
    seeds: Sequence[int],
    folder: Path,
    num_pairs: int,
    reader: Reader | None,
    say: Callable[[str], None],
    parts: Sequence[str] = tuple(ABLATIONS),
) -> Figures:
    """Train and measure all rows; what the folder has of the same configuration stays.

    Args:
        config: Of the whole model; its seed and folder are not used, and of ``data.encoded`` each seed has a folder.
        parts: Of ABLATIONS, each a row below that of the whole model.
        reader: As in ``held_out.measure``.
        say: Gets a line for each row that is done.

    Raises:
        ConfigurationError: If the folder has figures of another configuration.
        HunyuanPortraitError: As ``train`` and ``measure``.
    """
    figures: dict[str, dict[int, Mapping[str, float]]] = {name: {} for name in ("whole", *parts)}
    start = start_digests(config)
    for seed in seeds:
        for name in figures:
            place = folder / name / f"seed_{seed}"
            encoded = f"{config.data.encoded}/seed_{seed}" if config.data.encoded else ""
            of_row = dataclasses.replace(
                config,
                seed=seed,
                ablate=() if name == "whole" else (name,),
                data=dataclasses.replace(config.data, encoded=encoded),
                output=dataclasses.replace(config.output, folder=str(place)),
            )
            made_of = [fingerprint(of_row), num_pairs, start]
            found = _stored(place, made_of)
            if found is None:
                began = time.monotonic()
                weights = train(of_row, is_resumed=True).weights
                found = measure(weights, of_row, num_pairs, reader)
                _write(place / "figures.json", json.dumps({"run": made_of, "figures": found}, indent=1))
                say(f"{ROWS[name]}, seed {seed}: {time.monotonic() - began:.0f} s  {_line(found)}")
            figures[name][seed] = found
    return figures


def start_digests(config: TrainingConfig) -> dict[str, str]:
    """SHA-256 of the weights that all rows start from, by their paths in the folder."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for folder in reversed(find_starts(config))  # the first one counts
        for path in sorted(folder.rglob("*.safetensors"))
    }


def _stored(place: Path, made_of: list[Any]) -> Mapping[str, float] | None:
    path = place / "figures.json"
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        is_same, figures = stored["run"] == made_of, stored["figures"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is damaged ({error}); remove it.") from error
    if not is_same:
        raise ConfigurationError(f"{path} is of another configuration or start; name another --out.")
    return figures


def summary(figures: Figures) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, of each figure and of its difference to the whole model's."""
    return {
        name: {
            "title": ROWS[name],
            "metrics": {
                column.metric: {
                    "values": values,
                    **_spread(values),
                    "difference": _spread([a - b for a, b in zip(values, whole, strict=True)]),
                }
                for column in _columns(figures)
                for values, whole in [(_values(figures, name, column), _values(figures, "whole", column))]
            },
        }
        for name in figures
    }


def to_markdown(figures: Figures) -> str:
    """Write the table; a figure is bold where all seeds differ from the whole model's by more than the spread."""
    rows, columns = summary(figures), _columns(figures)
    num_seeds = len(figures["whole"])
    lines = [["Setting", *(column.header for column in columns)], ["---", *["---:"] * len(columns)]]
    for row in rows.values():
        cells = []
        for column in columns:
            metric = row["metrics"][column.metric]
            mean, deviation = (metric[key] for key in ("mean", "deviation"))
            text = f"{mean * column.factor:.{column.digits}f}"
            if deviation is not None:
                text += f" ± {deviation * column.factor:.{column.digits}f}"
            cells.append(f"**{text}**" if is_clear(metric["difference"]) else text)
        lines.append([row["title"], *cells])
    table = ["| " + " | ".join(line) + " |" for line in lines]
    notes = [f"- {column.title}: {column.note}." for column in columns if column.note]
    head = (
        f"Mean ± standard deviation over {num_seeds} seeds. Bold: the difference to the first row, seed by seed, is "
        "more than twice its own standard deviation."
    )
    return "\n".join([*table, "", head, "", *notes]) + "\n"


def is_clear(difference: Mapping[str, float | None]) -> bool:
    """Whether a difference, mean and standard deviation over the seeds, is more than chance would make it."""
    mean, deviation = difference["mean"], difference["deviation"]
    return mean is not None and deviation is not None and abs(mean) > 2 * deviation


def _columns(figures: Figures) -> list[Column]:
    measured = next(iter(figures["whole"].values()))
    return [column for column in COLUMNS if column.metric in measured]


def _values(figures: Figures, name: str, column: Column) -> list[float]:
    return [values[column.metric] for values in figures[name].values()]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": statistics.fmean(values), "deviation": statistics.stdev(values) if len(values) > 1 else None}


def _line(figures: Mapping[str, float]) -> str:
    shown = [column for column in COLUMNS if column.metric in figures]
    return "  ".join(f"{c.title} {figures[c.metric] * c.factor:.{c.digits}f}" for c in shown)


def _write(path: Path, text: str) -> None:
    # Beside its place first, so that what is there is whole.
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def main(arguments: list[str] | None = None) -> str | None:
    """Run; what comes back is the exit status or the error to print."""
    parser = argparse.ArgumentParser(
        prog="python -m hunyuan_core.training.ablations", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="TOML file of the whole model's training")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="each row is trained once for each (default: 0 1 2)"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=ABLATIONS, default=list(ABLATIONS), help="rows beside the whole model's"
    )
    parser.add_argument("--pairs", type=int, default=24, help="held-out pairs that are animated (default: 24)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything goes")
    options = parser.parse_args(arguments)
    try:
        config = read_config(options.config)
        reader = load_reader(toy_reader_file()) if config.data.image_size == READER_SIDE else None
        figures = run(config, options.seeds, options.out, options.pairs, reader, _say, options.parts)
    except HunyuanPortraitError as error:
        return str(error)
    values = {
        "config": dataclasses.asdict(config),
        "start": start_digests(config),
        "seeds": options.seeds,
        "pairs": options.pairs,
    }
    _write(options.out / "ablations.json", json.dumps({**values, "rows": summary(figures)}, indent=1) + "\n")
    _write(options.out / "ablations.md", to_markdown(figures))
    return None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
