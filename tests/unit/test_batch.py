"""Many videos from one list."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from clips import make_clip
from PIL import Image

from hunyuan_core.batch import record_path
from hunyuan_core.cli import main
from hunyuan_core.demo import FACE_BOX, draw_portrait

BOX = ",".join(str(value / 4) for value in FACE_BOX)
QUICK = ["--weights", "untrained-tiny", "--num-inference-steps", "1", "--num-padding-frames", "0", "--size", "64"]
FACES = ["--portrait-box", BOX, "--driving-box", "20,20,80,80"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(draw_portrait()).resize((128, 128)).save(folder / "portrait.png")
    make_clip(folder / "driving.mp4", num_frames=4)
    return folder


@pytest.fixture
def folder(inputs: Path, tmp_path: Path) -> Path:
    for path in inputs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def run(folder: Path, *more: str) -> int:
    return main(["batch", str(folder / "jobs.csv"), *QUICK, *FACES, *more])


def report_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "jobs.csv.report.jsonl").read_text().splitlines()]


def statuses(folder: Path) -> list[str]:
    return [row["status"] for row in report_of(folder)]


def test_a_bad_row_is_reported_and_the_rest_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "jobs.csv").write_text(
        "\ufeffportrait,driving,out,seed,image_guidance_scale,full-resolution\r\n"
        "portrait.png,driving.mp4,first.mp4,1,,\r\n"
        "none.png,driving.mp4,never.mp4,1,,\r\n"
        "\r\n"
        "portrait.png,jobs.csv,never_too.mp4,1,,\r\n"
        f'"{folder / "portrait.png"}",driving.mp4,second.mp4,2,1.5 2.5,yes\r\n',
        encoding="utf-8",
    )

    assert run(folder) == 1

    rows = report_of(folder)
    assert [(row["line"], row["status"]) for row in rows] == [(2, "done"), (3, "failed"), (5, "failed"), (6, "done")]
    assert "none.png (portrait) cannot be read" in rows[1]["reason"]
    assert "jobs.csv" in rows[2]["reason"]
    captured = capsys.readouterr()
    assert "line 3, never.mp4: failed: " in captured.err
    assert "4 videos: 2 done, 2 failed." in captured.err
    assert captured.out.splitlines() == [str(folder / "first.mp4"), str(folder / "second.mp4")]
    assert captured.err.count("Encoding motion: 100%") == 1  # of one driver
    made = json.loads(record_path(folder / "second.mp4").read_text())["parts"]
    assert (made["image_guidance_scale"], made["full_resolution"]) == ("[1.5, 2.5]", "True")
    assert not list(folder.glob("never*"))


def test_what_is_done_is_skipped_and_what_changed_is_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "jobs.csv").write_text("out,seed\nfirst.mp4,1\nsecond.mp4,2\n")
    both = ["--portrait", str(folder / "portrait.png"), "--driving", str(folder / "driving.mp4")]
    first, second = folder / "first.mp4", folder / "second.mp4"
    assert run(folder, *both) == 0
    before = [first.stat().st_mtime_ns, second.stat().st_mtime_ns]

    assert run(folder, *both) == 0
    assert statuses(folder) == ["skipped", "skipped"]
    assert [first.stat().st_mtime_ns, second.stat().st_mtime_ns] == before

    (folder / "jobs.csv").write_text("out,seed\nsecond.mp4,3\nfirst.mp4,1\n")
    assert run(folder, *both) == 0
    assert statuses(folder) == ["done", "skipped"]
    assert "second.mp4 is made anew: these changed: seed (2 before, 3 now)." in capsys.readouterr().err

    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    record_path(second).unlink()
    assert run(folder, *both) == 0
    assert statuses(folder) == ["done", "done"]
    said = capsys.readouterr().err
    assert "first.mp4 is made anew: the video there is damaged or was changed." in said
    assert "second.mp4 is made anew: nothing says what the video there was made of." in said
    assert first.read_bytes() == whole

    make_clip(folder / "driving.mp4", num_frames=3)
    assert run(folder, *both) == 0
    assert "first.mp4 is made anew: these changed: driving." in capsys.readouterr().err


def test_bad_cells_fail_their_rows_alone(folder: Path) -> None:
    (folder / "jobs.csv").write_text(
        "portrait,driving,out,seed,no-circle,size,portrait-box\n"
        "portrait.png,driving.mp4,a.mp4,x,,,\n"
        "portrait.png,driving.mp4,b.mp4,,maybe,,\n"
        "portrait.png,,c.mp4,,,,\n"
        "portrait.png,driving.mp4,d.mp4,,,100,\n"
        'portrait.png,driving.mp4,e.mp4,-1,,,"900,900,950,950"\n'
        "portrait.png,driving.mp4,none/f.mp4,,,,\n"
    )

    assert run(folder) == 1

    words = ["invalid int value: 'x'", "yes or no; got 'maybe'", "driving missing", "multiple of 8", "seed must be"]
    for row, word in zip(report_of(folder), [*words, "does not exist"], strict=True):
        assert (row["status"], word in row["reason"]) == ("failed", True), row
    assert not list(folder.glob("*.mp4.json"))


UNUSABLE = {
    "unknown columns 'potrait'": b"potrait,driving,out\na,b,c\n",
    "with commas between them": b"portrait;driving;out\na;b;c\n",
    "unknown columns 'job'": b"portrait,driving,out,job\na,b,c,d\n",
    "repeated columns out": b"portrait,driving,out,out\na,b,c,d\n",
    "no rows": b"portrait,driving,out\n\n,,\n",
    "has no rows": b"",
    "not UTF-8": "porträt".encode("utf-16"),
    "not CSV": b'portrait,driving,out\na,b,"c\n',
    "line 3: 4 cells under 3 columns": b"portrait,driving,out\na,b,c\na,b,c,d\n",
    "lines 2 and 4 both write": b"portrait,driving,out\na,b,c.mp4\na,b,d.mp4\na,b,./c.mp4\n",
    "an input of line 3": b"portrait,driving,out\na,b,c.mp4\na,c.mp4,d.mp4\n",
}


@pytest.mark.parametrize("word", UNUSABLE)
def test_an_unusable_manifest_is_one_line(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobs.csv").write_bytes(UNUSABLE[word])

    assert run(tmp_path) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


def test_a_manifest_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 2
    assert "jobs.csv cannot be read" in capsys.readouterr().err
    (tmp_path / "jobs.csv").write_text("out\na.mp4\n")
    assert run(tmp_path, "--report", str(tmp_path / "jobs.csv")) == 2
    assert run(tmp_path, "--report", str(tmp_path / "none" / "report")) == 2


def test_an_interrupted_batch_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "jobs.csv").write_text(
        "portrait,driving,out,num-inference-steps\n"
        "portrait.png,driving.mp4,first.mp4,1\nportrait.png,driving.mp4,second.mp4,40\n"
    )

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not list(folder.glob("jobs/second-*/step_00002.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run(folder, "--jobs", str(folder / "jobs")) == 130
    thread.join()
    assert statuses(folder) == ["done", "not run"]
    assert not (folder / "second.mp4").exists()

    assert run(folder, "--jobs", str(folder / "jobs")) == 0

    assert statuses(folder) == ["skipped", "done"]
    assert "goes on after step" in capsys.readouterr().err
