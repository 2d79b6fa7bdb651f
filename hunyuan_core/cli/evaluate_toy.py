"""``hunyuan-portrait evaluate-toy``: the carried model against the exact truth of the drawn world."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ConfigurationError
from ..pipeline import default_device
from ..toy import TOY_SIZE
from ..toy_benchmark import NUM_FRAMES, check_gates, summarise
from ..toy_benchmark.running import Source, default_processes, measure_pairs
from ..toy_benchmark.summary import OPEN_EYES, rounded
from .animate import find_device
from .model import TOY
from .options import add_sampling_options, sampling_config
from .progress import bar


def add_commands(commands: Any) -> None:
    """Add ``evaluate-toy``."""
    parser = commands.add_parser(
        "evaluate-toy",
        help="measure the small model that the package carries",
        description="Animate drawn portraits by drawn drivers that no training has seen, and compare with the exact "
        "truth and with three baselines: the portrait held still, the driver's frames, and these recoloured to the "
        "portrait. Prints one JSON object; progress goes to standard error.",
    )
    parser.add_argument("pairs", type=int, metavar="SEED", help="0 or more, chooses the pairs")
    parser.add_argument("--num-pairs", type=int, default=200, metavar="N", help="(default: 200)")
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER", help="weights of the same kind, as `train` leaves them (default: own)"
    )
    parser.add_argument(
        "--reader", type=Path, metavar="FILE", help="what reads the pictures (default: that of --models, else own)"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="(default: one for each core, up to 4; a GPU: 1)")
    parser.add_argument("--device", help="torch device (default: CUDA, then MPS, then the CPU)")
    add_sampling_options(parser)
    parser.set_defaults(run=_evaluate, stopped="Interrupted; nothing was printed.", weights=TOY, size=None, preset=None)


def _evaluate(options: argparse.Namespace) -> int:
    device = find_device(options) or default_device()
    num_processes = default_processes(device) if options.processes is None else options.processes
    if options.pairs < 0:
        raise ConfigurationError(f"SEED must be 0 or more; got {options.pairs}.")
    if min(options.num_pairs, num_processes) < 1:
        raise ConfigurationError(
            f"--num-pairs and --processes must be at least 1; got {options.num_pairs} and {num_processes}."
        )
    sampling = sampling_config(options)
    source = Source(options.models, options.reader, str(device), sampling)
    source.load()  # what is missing is said before processes start
    start = time.perf_counter()
    with bar("Evaluating", "pair", options.num_pairs) as update:
        outcomes = measure_pairs(source, options.pairs, options.num_pairs, num_processes, update)
    figures = summarise(outcomes)
    gates = check_gates(figures)
    report = {
        "software": f"hunyuan-portrait {__version__}",
        "task": "cross-reenactment of drawn faces that no training has seen",
        "model": "toy" if options.models is None else options.models.name,
        "seed": options.pairs,
        "num_pairs": options.num_pairs,
        "num_frames": NUM_FRAMES,
        "size": TOY_SIZE,
        "sampling": dataclasses.asdict(sampling),
        "gaze_is_judged_up_to_blink": OPEN_EYES,
        "device": str(device),
        "processes": num_processes,
        "seconds": time.perf_counter() - start,
        "passed": all(gate["passed"] for gate in gates),
        "gates": gates,
        "videos": figures,
    }
    print(json.dumps(rounded(report), allow_nan=False))
    return 0
