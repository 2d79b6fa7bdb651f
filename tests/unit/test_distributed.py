"""Two processes give what one gives, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import make_clip
from PIL import Image
from two_processes import run_two

from hunyuan_core.cli import main
from hunyuan_core.demo import FACE_BOX, draw_portrait
from hunyuan_core.distributed import Processes, WorkList, join
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.sampling import PRESETS, SpeedConfig
from hunyuan_core.shared_sampling import check_shareable

STEPS, FRAMES, PADDING, WINDOW, WINDOWS = 3, 7, 2, 5, 3
COMMON = ["--weights", "untrained-tiny", "--size", "64", "--num-inference-steps", str(STEPS)]
COMMON += ["--num-padding-frames", str(PADDING), "--context-window", str(WINDOW), "--context-overlap", "1"]
COMMON += ["--portrait-box", ",".join(str(value / 4) for value in FACE_BOX), "--driving-box", "20,20,80,80"]

ANIMATE = ["animate", "--portrait", "portrait.png", "--driving", "driving.mp4", *COMMON]
BATCH = ["batch", "jobs.csv", *COMMON]
MANIFEST = """portrait,driving,out,seed
portrait.png,driving.mp4,{0}_first.mp4,1
none.png,driving.mp4,{0}_never.mp4,2
portrait.png,driving.mp4,{0}_second.mp4,3
"""
IN_EACH = """
import json, sys
import torch
from hunyuan_core.cli import main
from hunyuan_core.distributed import join
from hunyuan_core.errors import HunyuanPortraitError
from hunyuan_core.models import UNet

counts = [0]
def count(module, inputs, output):
    # A call on meta counts operations for the estimate of the time.
    counts[-1] += isinstance(module, UNet) and output.device.type != "meta"
torch.nn.modules.module.register_module_forward_hook(count)
statuses = []
for command in json.loads(sys.argv[1]):
    statuses.append(main(command))
    counts.append(0)
complaint = ""
if join().is_first:
    try:
        join().wait()
    except HunyuanPortraitError as error:
        complaint = str(error)
print(json.dumps([statuses, counts[:-1], complaint]))
"""


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def report_of(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process and then two have done the same."""
    folder = tmp_path_factory.mktemp("two")
    Image.fromarray(draw_portrait()).resize((128, 128)).save(folder / "portrait.png")
    make_clip(folder / "driving.mp4", num_frames=FRAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "jobs.csv").write_text(MANIFEST.format("one"))
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in each of the two: more add up in another order
        assert main([*ANIMATE, "--out", "one.mp4", "--job", "job"]) == 0
        assert main([*BATCH, "--report", "one.jsonl"]) == 1
        torch.set_num_threads(num_threads)
        (folder / "jobs.csv").write_text(MANIFEST.format("two"))
        (folder / "job" / f"step_{STEPS:05}.safetensors").unlink()
        commands = [
            [*ANIMATE, "--out", "two.mp4"],
            [*ANIMATE, "--out", "resumed.mp4", "--job", "job"],
            [*BATCH, "--report", "two.jsonl"],
        ]
        results = run_two(IN_EACH, [json.dumps(commands)])
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> list:
    return json.loads((folder / "results.json").read_text())


def test_windows_shared_by_two_processes_give_the_same_frames(folder: Path, results: list) -> None:
    one, two = frames_of(folder / "one.mp4"), frames_of(folder / "two.mp4")
    assert len(one) == FRAMES
    np.testing.assert_array_equal(two, one)
    # Three windows in two rounds; in the second, one process only keeps the other company.
    assert [counts[0] for (_, counts, _), _ in results] == [2 * STEPS, 2 * STEPS]


def test_two_processes_go_on_where_one_stopped(folder: Path, results: list) -> None:
    np.testing.assert_array_equal(frames_of(folder / "resumed.mp4"), frames_of(folder / "one.mp4"))
    assert [counts[1] for (_, counts, _), _ in results] == [2, 2]
    assert f"goes on after step {STEPS - 1} of {STEPS}" in results[0][1]


def test_only_the_first_process_shows_progress(results: list) -> None:
    assert "Sampling: 100%" in results[0][1]
    assert "%" not in results[1][1]


def test_two_processes_run_a_batch_as_one_does(folder: Path, results: list) -> None:
    for name in ("first", "second"):
        np.testing.assert_array_equal(frames_of(folder / f"two_{name}.mp4"), frames_of(folder / f"one_{name}.mp4"))
    one, two = report_of(folder, "one.jsonl"), report_of(folder, "two.jsonl")
    assert [row["status"] for row in one] == ["done", "failed", "done"]
    assert [(row["line"], row["status"], row["reason"]) for row in two] == [
        (row["line"], row["status"], row["reason"]) for row in one
    ]
    assert sum(counts[2] for (_, counts, _), _ in results) == 2 * STEPS * WINDOWS
    # The report is the first process's, and so is the exit status, which would make torchrun stop the other.
    assert [statuses for (statuses, _, _), _ in results] == [[0, 0, 1], [0, 0, 0]]


def test_a_process_that_ended_is_not_waited_for(results: list) -> None:
    (_, _, complaint), _ = results[0]
    assert complaint.startswith("Another process of this run ended (")


# --- one process


def test_a_process_alone_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    join.cache_clear()
    assert join() is None


def test_an_environment_that_is_not_torchruns_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    join.cache_clear()
    with pytest.raises(ConfigurationError, match=r"cannot meet .*RANK.*unset WORLD_SIZE"):
        join()
    join.cache_clear()


def test_each_piece_of_work_is_taken_once() -> None:
    work = WorkList(3)
    first, second = iter(work), iter(work)
    assert [next(first), next(second), next(first)] == [0, 1, 2]
    assert list(second) == []
    work.finish(1, "done")
    assert work.results() == [None, "done", None]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs here")
def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Process 1 of this machine has no GPU: there are 0"):
        Processes(1, 1, 2, None).gpu()  # pyright: ignore[reportArgumentType]


def test_what_would_change_the_picture_is_refused() -> None:
    for preset in PRESETS.values():
        check_shareable(preset.speed)
    with pytest.raises(ConfigurationError, match=r"feature_interval.*set it to 1"):
        check_shareable(SpeedConfig(feature_interval=2))
