"""``hunyuan-portrait evaluate``: how near a result, or a model, comes to the truth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..ablation import ABLATIONS, ablate
from ..appearance import check_size
from ..batch import read_manifest
from ..checkpoints import ModelFiles, load_network
from ..checkpoints.files import FILES, locate, models_folder
from ..errors import ConfigurationError, HunyuanPortraitError, MediaError, MissingDependencyError
from ..evaluation import Evaluators, evaluate, plot
from ..evaluation.page import Sample, page
from ..evaluation.plotting import plot_rows
from ..evaluation.summary import SELF, PairOutcome, Row, SetMeasurer, summary_json
from ..evaluation.tables import to_markdown, to_text
from ..evaluation.weights import (
    METRICS_VARIABLE,
    MetricNetworks,
    download_metrics,
    find_metric_networks,
    metrics_folder,
)
from ..faces.detection import FaceDetector
from ..faces.identity import ArcFace
from ..optional import require
from ..toy import toy_files
from ..video import open_video, read_image, write_image
from ..video.files import replacing
from .animate import find_device
from .model import UNTRAINED, add_model_options, is_toy, load_model, set_size
from .options import (
    DTYPES,
    SUBJECTS,
    add_face_options,
    add_models_option,
    add_sampling_options,
    check_faces,
    face_choice,
    find_detectors,
    sampling_config,
)
from .progress import bar, say, warn
from .provenance import fingerprint
from .reenactments import COLUMNS, Run, run_row
from .speed import add_speed_options, speed_config

_NOT_SETTINGS = ("run", "stopped", "models", "metrics", "out", "dtype", "device", "plots")


def add_commands(commands: Any) -> None:
    """Add ``evaluate``."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a result, or a model over a list of videos, as the paper does",
        description="Compare two videos, or animate a list of pairs and compare each with its truth: PSNR, SSIM, "
        "LPIPS, FID-VID, FVD, LMD, AED, APD and identity, as far as their networks are there; what is missing is "
        "named. Writes evaluation.json, table.md, index.html, videos and plots. Status 1 where a pair failed.",
    )
    parser.add_argument("result", nargs="?", type=Path, metavar="RESULT", help="video or folder of images to measure")
    parser.add_argument("truth", nargs="?", type=Path, metavar="TRUTH", help="the video that it should equal")
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="CSV",
        help="columns driving, portrait, truth. Without portrait: the driver's first frame, the driver is the truth",
    )
    parser.add_argument("--portrait", type=Path, metavar="P", help="with RESULT TRUTH: whom the result should show")
    parser.add_argument("--out", type=Path, default=Path("evaluation"), metavar="FOLDER", help="(default: evaluation)")
    parser.add_argument(
        "--ablate",
        metavar="PARTS",
        help=f"with --pairs: measure the model without each of {','.join(ABLATIONS)} too, switched off as it runs",
    )
    parser.add_argument("--num-frames", type=int, metavar="N", help="with --pairs: of each video (default: all)")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="pairs shown on the page (default: 4)")
    parser.add_argument(
        "--metrics",
        type=Path,
        metavar="FOLDER",
        help=f"networks of LPIPS, FID-VID and FVD (default: ${METRICS_VARIABLE}, else metrics in the models folder)",
    )
    parser.add_argument(
        "--download-metrics", action="store_true", help="fetch AlexNet (LPIPS) and Inception (FID-VID) there first"
    )
    add_model_options(parser)
    add_models_option(parser)
    parser.add_argument("--no-identity", action="store_true", help="leave out ArcFace (drawings, animals)")
    parser.add_argument("--device", help="torch device (default: CUDA, then MPS, then the CPU)")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="(default: fp16 on a GPU, fp32 on the CPU)")
    add_face_options(parser, ("portrait", "driving"))
    add_sampling_options(parser)
    add_speed_options(parser)
    parser.set_defaults(run=_evaluate, stopped="Interrupted; the videos that were written stay.")


def _evaluate(options: argparse.Namespace) -> int:
    parts = _check(options)
    folder = metrics_folder(options.metrics, models_folder(options.models))
    if options.download_metrics:
        for path in download_metrics(folder):
            say(f"There: {path}")
    if options.pairs is None and options.result is None:
        return 0
    options.plots = _can_plot()
    networks = find_metric_networks(folder)
    if options.pairs is None:
        rows, samples = [_measure_videos(options, networks)], []
    else:
        rows, samples = _measure_model(options, networks, parts)
    _write(options, rows, samples, networks)
    print(to_text(rows))
    print(options.out / "index.html")
    return 1 if any(pair.error for row in rows for pair in row.pairs) else 0


def _check(options: argparse.Namespace) -> list[str]:
    """Refuse what does not go together; answers with the parts to switch off."""
    has_videos = options.result is not None
    if has_videos and (options.truth is None or options.pairs is not None):
        raise ConfigurationError("Give RESULT and TRUTH, or --pairs; see hunyuan-portrait evaluate --help.")
    if not has_videos and options.pairs is None and not options.download_metrics:
        raise ConfigurationError("Nothing to measure: give RESULT and TRUTH, or --pairs with a CSV file.")
    for name in ("ablate", "num_frames"):
        if has_videos and getattr(options, name) is not None:
            raise ConfigurationError(f"--{name.replace('_', '-')} is for --pairs; leave it out.")
    if options.pairs is not None and options.portrait is not None:
        raise ConfigurationError("--portrait is for RESULT TRUTH; the list of --pairs has a column for it.")
    if options.num_frames is not None and options.num_frames < 1:
        raise ConfigurationError(f"--num-frames must be at least 1; got {options.num_frames}.")
    if options.smooth_track != 1:
        raise ConfigurationError("--smooth-track would change what is measured; leave it out.")
    parts = [] if options.ablate is None else [part.strip() for part in options.ablate.split(",")]
    for part in parts:
        if part not in ABLATIONS or parts.count(part) > 1:
            raise ConfigurationError(f"--ablate takes each of {', '.join(ABLATIONS)} once; got {options.ablate!r}.")
    check_faces(options, SUBJECTS)
    set_size(options)
    check_size(options.size)
    return parts


def _measure_videos(options: argparse.Namespace, networks: MetricNetworks) -> Row:
    result, truth = (
        open_video(path, frame_rate=options.frame_rate if path.is_dir() else None)
        for path in (options.result, options.truth)
    )
    portrait = None if options.portrait is None else read_image(options.portrait)
    evaluators = _evaluators_of_files(options, networks)
    with bar("Measuring", "frame", len(evaluators.stages) * truth.num_frames) as update:
        report = evaluate(
            truth,
            result,
            evaluators,
            portrait=portrait,
            on_frame=lambda stage, i: update(evaluators.stages.index(stage) * truth.num_frames + i + 1),
        )
    sets = SetMeasurer(networks)
    sets.add(truth, result)
    files = {"result": str(options.result), "truth": str(options.truth)}
    if options.plots:
        _make_folder(options.out)
        write_image(options.out / "frames.png", plot(report))
    name = options.result.stem
    return Row("result", name, (PairOutcome(name, SELF, files, report),), {SELF: sets.measure()})


def _measure_model(
    options: argparse.Namespace, networks: MetricNetworks, parts: list[str]
) -> tuple[list[Row], list[Sample]]:
    config, speed = sampling_config(options), speed_config(options)
    pairs = read_manifest(options.pairs, COLUMNS)
    device = find_device(options)
    detectors = find_detectors(options, SUBJECTS, device)
    dtype = None if options.dtype is None else DTYPES[options.dtype]
    if options.weights == UNTRAINED:
        warn(f"{UNTRAINED}: the networks are tiny and untrained, so the numbers say nothing of the model.")
    pipeline = load_model(options, device, dtype)
    reasons = dict(networks.reasons)
    if pipeline.arcface is None:
        reasons["arcface"] = "needs ArcFace, which --no-identity or the untrained model leaves out."
    evaluators = Evaluators(
        arcface=pipeline.arcface,
        expression=pipeline.expression,
        head_pose=pipeline.head_pose,
        lpips=networks.lpips,
        reasons=reasons,
    )
    settings: list[str | None] = [None, *parts]
    names = {part: "full" if part is None else f"no-{part}" for part in settings}
    reenactors = {part: ablate(pipeline, part) for part in settings}
    for name in ("reference", *names.values()):
        _make_folder(options.out / "videos" / name)
    for name in names.values() if options.plots else ():
        _make_folder(options.out / "plots" / name)
    run = Run(options.out, options, detectors, evaluators, networks, options.size, config, speed, options.samples)
    rows = [
        run_row(
            run,
            names[part],
            "HunyuanPortrait" if part is None else ABLATIONS[part],
            reenactors[part],
            pairs,
            options.pairs.parent,
        )
        for part in settings
    ]
    return rows, list(run.samples.values())


def _evaluators_of_files(options: argparse.Namespace, networks: MetricNetworks) -> Evaluators:
    """Open what the models folder holds; what it does not is named with its reason."""
    folder = models_folder(options.models)
    found_files = {file.name: path for file in FILES if (path := locate(folder, file))}
    files = toy_files() if is_toy(options) else ModelFiles(folder, found_files)
    reasons = dict(networks.reasons)

    def found(name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except HunyuanPortraitError as error:
            reasons[name] = str(error)
            return None

    device = find_device(options)
    detector: FaceDetector | None = found("detector", lambda: find_detectors(options, ("driving",), device)["driving"])
    if options.no_identity:
        reasons["arcface"] = "left out by --no-identity."
    return Evaluators(
        detector=detector,
        choice=face_choice(options, "driving"),
        arcface=None if options.no_identity else found("arcface", lambda: ArcFace(files.path("arcface"))),
        expression=found("expression", lambda: load_network("expression", files.path("expression"))),
        head_pose=found("head_pose", lambda: load_network("head_pose", files.path("head_pose"))),
        lpips=networks.lpips,
        reasons=reasons,
    )


def _write(options: argparse.Namespace, rows: list[Row], samples: list[Sample], networks: MetricNetworks) -> None:
    _make_folder(options.out)
    settings = {
        "software": f"hunyuan-portrait {__version__}",
        "options": {
            name: value.name if isinstance(value, Path) else value
            for name, value in vars(options).items()
            if name not in _NOT_SETTINGS
        },
        "networks": {name: fingerprint(path) for name, path in networks.files.items()},
    }
    picture = plot_rows(rows) if options.plots else None
    if picture is not None:
        write_image(options.out / "metrics.png", picture)
    texts = {
        "evaluation.json": json.dumps(summary_json(rows, settings), allow_nan=False, ensure_ascii=False, indent=1),
        "table.md": to_markdown(rows),
        "index.html": page(rows, to_text(rows), samples, None if picture is None else "metrics.png"),
    }
    for name, text in texts.items():
        with replacing(options.out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _can_plot() -> bool:
    try:
        require("matplotlib.figure", "plots", "pip install matplotlib")
    except MissingDependencyError as error:
        warn(str(error))
        return False
    return True


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"--out {path} cannot be made a folder ({error.strerror}); choose another.") from error
