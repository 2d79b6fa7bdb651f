"""Rows, tables, the page, and where the networks of the metrics come from."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from metric_networks import CLIP_LENGTH, write_clip_features, write_frame_features, write_lpips

from hunyuan_core.errors import WeightsError
from hunyuan_core.evaluation import Measurement, Report
from hunyuan_core.evaluation.page import Sample, page
from hunyuan_core.evaluation.plotting import plot_rows
from hunyuan_core.evaluation.summary import PairOutcome, Row, SetMeasurer, SetValues, summary_json
from hunyuan_core.evaluation.tables import COLUMNS, cells, to_markdown, to_text
from hunyuan_core.evaluation.weights import (
    ALEXNET,
    INCEPTION,
    MetricFile,
    MetricNetworks,
    download_metrics,
    find_metric_networks,
    metrics_folder,
)


def pair(name: str, kind: str, **means: float) -> PairOutcome:
    measurements = {metric: Measurement(metric, (mean, mean)) for metric, mean in means.items()}
    missing = {} if "lpips" in means else {"lpips": "needs its file; fetch it."}
    return PairOutcome(name, kind, {"driving": "a.mp4"}, Report(2, 100, 200, measurements, missing, {}))


FULL = Row(
    "full",
    "HunyuanPortrait",
    (
        pair("001-a", "self", psnr=30.0, landmark_distance=1.0),
        pair("002-b", "self", psnr=20.0, landmark_distance=0.2),
        pair("003-c", "self", psnr=math.inf),
        PairOutcome("004-d", "self", {"driving": "d.mp4"}, error="d.mp4 does not exist; check the path."),
        pair("005-e", "cross", motion_error=0.25, rotation_error=3.5, identity_similarity=0.887),
    ),
    {
        "self": SetValues({"fid_vid": 75.81}, {"fvd": "needs i3d.onnx."}),
        "cross": SetValues({}, {"fid_vid": "needs a truth.", "fvd": "needs i3d.onnx."}),
    },
)
BARE = Row("no-imadapter", "- IMAdapter", (pair("001-a", "self", psnr=10.0, lpips=0.5),), {"self": SetValues()})


def test_a_row_averages_its_pairs() -> None:
    assert FULL.mean("psnr", "self") == 25
    assert FULL.mean("psnr", "cross") is None
    assert FULL.mean("fid_vid", "self") == 75.81
    assert FULL.mean("fvd", "self") is None
    assert Row("x", "x", (pair("1", "self", psnr=math.inf),)).mean("psnr", "self") == math.inf


def test_a_table_has_the_papers_columns_and_factors() -> None:
    # 1 and 0.2 of 200 pixels are 5 and 1 thousandths.
    assert cells(FULL, "self") == ["3.00", "75.81", "–", "25.00", "–", "–", "–", "–", "–"]
    assert cells(FULL, "cross") == ["–", "–", "–", "–", "–", "–", "25.00", "3.50", "8.87"]
    assert [column.title for column in COLUMNS][:6] == ["LMD", "FID-VID", "FVD", "PSNR", "SSIM", "LPIPS"]


def test_markdown_and_text_say_what_is_missing_and_what_failed() -> None:
    markdown, text = to_markdown([FULL, BARE]), to_text([FULL, BARE])

    assert "## Self-reenactment, 4 pairs" in markdown
    assert "| - IMAdapter | – | – | – | 10.00 | – | 0.500 |" in markdown
    assert "- FVD not measured: needs i3d.onnx." in markdown
    assert "- LPIPS not measured: needs its file; fetch it." in markdown
    for written in (markdown, text):
        assert "004-d (HunyuanPortrait): d.mp4 does not exist; check the path." in written
    lines = text.splitlines()
    header, row = lines[2], next(line for line in lines if line.startswith("- IMAdapter"))
    assert header.index("PSNR ↑") + len("PSNR ↑") == row.index("10.00") + len("10.00")


def test_json_holds_every_number_once() -> None:
    content = json.loads(json.dumps(summary_json([FULL], {"seed": 1}), allow_nan=False))

    row = content["rows"][0]
    kind = row["kinds"]["self"]
    assert content["format"] == 1
    assert (kind["pairs"], kind["failed"]) == (3, 1)
    assert kind["metrics"]["psnr"] == {"mean": 25, "deviation": pytest.approx(math.sqrt(50))}
    assert kind["metrics"]["fid_vid"] == {"mean": 75.81, "deviation": None}
    assert kind["not_measured"] == {"lpips": "needs its file; fetch it.", "fvd": "needs i3d.onnx."}
    assert row["pairs"][3] == {
        "name": "004-d",
        "kind": "self",
        "files": {"driving": "d.mp4"},
        "error": "d.mp4 does not exist; check the path.",
        "report": None,
    }
    assert row["pairs"][2]["report"]["metrics"]["psnr"]["mean"] == "inf"
    assert content["metrics"]["fvd"] == {"title": "FVD", "unit": "", "is_higher_better": False}


def test_the_page_links_what_lies_beside_it() -> None:
    written = page([FULL], "<notes>", [Sample("001", {"truth": "videos/reference/1.mp4"})], "metrics.png")

    assert '<video src="videos/reference/1.mp4"' in written
    assert '<img class="plot" src="metrics.png"' in written
    assert "&lt;notes&gt;" in written
    assert "<td>25.00</td>" in written
    assert "http" not in written


def test_rows_are_plotted_over_the_settings() -> None:
    pytest.importorskip("matplotlib")

    image = plot_rows([FULL, BARE])

    # PSNR, LPIPS and landmark distance; motion, rotation and identity of the cross pair.
    assert image is not None
    assert image.shape == (720, 1200, 3)
    assert plot_rows([Row("x", "x", (FULL.pairs[3],))]) is None


def test_every_missing_network_is_named_with_its_remedy(tmp_path: Path) -> None:
    networks = find_metric_networks(tmp_path)
    (tmp_path / "i3d.onnx").write_text("not a network")

    assert (networks.lpips, networks.frames, networks.clips, networks.files) == (None, None, None, {})
    assert f"{ALEXNET.filename} or lpips.onnx in {tmp_path}" in networks.reasons["lpips"]
    assert "--download-metrics" in networks.reasons["frames"]
    assert "i3d.onnx" in networks.reasons["clips"]
    assert "cannot be opened as an ONNX network" in find_metric_networks(tmp_path).reasons["clips"]
    measured = SetMeasurer(networks)
    measured.add([], [])
    assert measured.measure() == SetValues(
        {}, {"fid_vid": networks.reasons["frames"], "fvd": networks.reasons["clips"]}
    )


def test_given_networks_measure(tmp_path: Path) -> None:
    write_lpips(tmp_path / "lpips.onnx")
    write_frame_features(tmp_path / "inception.onnx")
    write_clip_features(tmp_path / "i3d.onnx")
    networks = find_metric_networks(tmp_path)
    frames = [np.full((32, 32, 3), value, np.uint8) for value in range(0, 240, 10)]
    brighter = [frame + 10 for frame in frames]
    same, other = SetMeasurer(networks), SetMeasurer(networks)
    same.add(frames, frames)
    other.add(frames, brighter)

    assert networks.reasons == {}
    assert same.measure().values == pytest.approx({"fid_vid": 0, "fvd": 0}, abs=1e-6)
    # The mean alone moves: by 10 / 127.5 in each of 12 features, of four frames in the clips.
    shift = 12 * (10 / 127.5) ** 2
    assert other.measure().values == pytest.approx({"fid_vid": shift, "fvd": shift * CLIP_LENGTH}, rel=1e-4)
    assert set(SetMeasurer(networks).measure().not_measured) == {"fid_vid", "fvd"}


HOSTILE = b"\x80\x02cbuiltins\nprint\nX\x08\x00\x00\x00executed\x85R."
"""A pickle that calls print."""


@pytest.mark.parametrize("file", [ALEXNET, INCEPTION])
def test_no_pickle_is_executed(tmp_path: Path, file: MetricFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / file.filename
    path.parent.mkdir()
    path.write_bytes(HOSTILE)

    networks = find_metric_networks(tmp_path)

    assert (networks.lpips, networks.frames) == (None, None)
    assert "executed" not in capsys.readouterr().out


def test_the_folder_is_given_or_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUAN_PORTRAIT_METRICS", str(tmp_path / "b"))
    assert metrics_folder(tmp_path / "a", tmp_path) == tmp_path / "a"
    assert metrics_folder(None, tmp_path) == tmp_path / "b"
    monkeypatch.delenv("HUNYUAN_PORTRAIT_METRICS")
    assert metrics_folder(None, tmp_path) == tmp_path / "metrics"


def test_a_download_is_the_published_file_or_none(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    good, bad = (MetricFile(f"checkpoints/{name}", source.as_uri(), h) for name, h in (("a", digest), ("b", "0" * 8)))

    assert download_metrics(tmp_path, [good]) == [tmp_path / "checkpoints/a"]
    assert (tmp_path / "checkpoints/a").read_bytes() == b"weights"
    with pytest.raises(WeightsError, match=r"cannot be fetched .*hash.*put the file there by hand"):
        download_metrics(tmp_path, [good, bad])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["a"]


def test_a_network_that_was_not_given_says_so() -> None:
    assert SetMeasurer(MetricNetworks()).measure().not_measured["fvd"] == "needs its network, and it was not given."
