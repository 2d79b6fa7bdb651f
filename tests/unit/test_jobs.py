"""Runs that are interrupted, and go on."""

from __future__ import annotations

import fcntl
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import make_clip
from full_disk import full_disk
from PIL import Image
from safetensors.torch import load_file

from hunyuan_core.cli import main
from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Appearance, Face, FaceTrack, Motion
from hunyuan_core.demo import FACE_BOX, draw_portrait
from hunyuan_core.errors import ConfigurationError, HunyuanPortraitError, MediaError, ShapeError
from hunyuan_core.jobs import Found, JobFolder, sample_in
from hunyuan_core.locks import LOCK_NAME
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.sampling import PRESETS, SpeedConfig

STEPS, WINDOWS = 6, 2
CONFIG = SamplingConfig(
    num_inference_steps=STEPS, context_window=5, context_overlap=1, num_padding_frames=1, decode_chunk_size=3
)


class InterruptedHereError(Exception):
    """What a callback raises."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.untrained_tiny(device="cpu")


@pytest.fixture(scope="module")
def appearance(pipeline: Pipeline) -> Appearance:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(64, pipeline.unet.config.cross_attention_dim, generator=generator)
    return Appearance(tokens, torch.randn(4, 4, 4, generator=generator), torch.zeros(512))


@pytest.fixture(scope="module")
def motion(pipeline: Pipeline) -> Motion:
    tokens = torch.randn(5, 64, pipeline.unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(2))
    return Motion(tokens, (3,), (4,), torch.zeros(5, 3), torch.ones(5, 3))


@pytest.fixture(scope="module")
def expected(pipeline: Pipeline, appearance: Appearance, motion: Motion) -> torch.Tensor:
    return pipeline.sample(appearance, motion, CONFIG).samples


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def sample(
    pipeline: Pipeline, appearance: Appearance, motion: Motion, tmp_path: Path, lines: list[str]
) -> Callable[..., torch.Tensor]:
    """Sample in the test's folder; ``calls`` is after how many calls of the UNet to break off."""

    def run(calls: int | None = None, config: SamplingConfig = CONFIG, **changed: object) -> torch.Tensor:
        num_calls = 0

        def count(*_: int) -> None:
            nonlocal num_calls
            num_calls += 1
            if num_calls == calls:
                raise InterruptedHereError

        inputs = {"pipeline": pipeline, "appearance": appearance, "motion": motion, "config": config, **changed}
        return sample_in(JobFolder(tmp_path / "job", lines.append), **inputs, on_progress=count).samples  # pyright: ignore[reportArgumentType]

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK_NAME)


def steps(first: int, second: int) -> list[str]:
    return ["job.json", f"step_{first:05}.safetensors", f"step_{second:05}.safetensors"]


# --- going on


def test_ten_interruptions_at_random_points_change_nothing(
    sample: Callable[..., torch.Tensor],
    pipeline: Pipeline,
    appearance: Appearance,
    motion: Motion,
    tmp_path: Path,
    lines: list[str],
) -> None:
    config = replace(CONFIG, num_inference_steps=25)
    expected = pipeline.sample(appearance, motion, config)
    chance = random.Random(0)  # noqa: S311
    for _ in range(10):
        with pytest.raises(InterruptedHereError):
            sample(chance.randint(1, 2 * WINDOWS + 1), config)

    resumed = sample(None, config)

    assert torch.equal(resumed, expected.samples)
    frames, expected_frames = (
        list(pipeline.decode(replace(expected, samples=samples))) for samples in (resumed, expected.samples)
    )
    np.testing.assert_array_equal(frames, expected_frames)
    assert names(tmp_path / "job") == steps(24, 25)
    assert 5 < sum("goes on after step" in line for line in lines) <= 10


def test_a_finished_run_is_not_sampled_again(
    sample: Callable[..., torch.Tensor], expected: torch.Tensor, lines: list[str]
) -> None:
    assert torch.equal(sample(), expected)
    assert lines == []
    assert torch.equal(sample(1), expected)
    assert "all 6 steps are done" in lines[0]


def test_progress_counts_what_was_done_before(
    pipeline: Pipeline, appearance: Appearance, motion: Motion, expected: torch.Tensor
) -> None:
    kept: dict[int, dict[str, torch.Tensor]] = {}
    pipeline.sample(appearance, motion, CONFIG, on_step=kept.__setitem__)
    calls: list[tuple[int, int]] = []

    again = pipeline.sample(
        appearance, motion, CONFIG, resume=(4, kept[4]), on_progress=lambda *numbers: calls.append(numbers)
    )

    assert list(kept) == [1, 2, 3, 4, 5, 6]
    assert torch.equal(again.samples, expected)
    assert calls == [(9, 12), (10, 12), (11, 12), (12, 12)]


@pytest.mark.parametrize("resume", [(2, torch.zeros(6, 4, 4, 4)), (7, torch.zeros(7, 4, 4, 4))])
def test_latents_of_another_run_are_refused(
    resume: tuple[int, torch.Tensor], pipeline: Pipeline, appearance: Appearance, motion: Motion
) -> None:
    with pytest.raises(ShapeError, match="Start anew"):
        pipeline.sample(appearance, motion, CONFIG, resume=(resume[0], {"latents": resume[1]}))


WITH_A_MEMORY = {
    "dpmpp_2m": SpeedConfig(sampler="dpmpp_2m"),
    "unipc": SpeedConfig(sampler="unipc"),
    "features": SpeedConfig(feature_interval=2),
    "extrapolated": SpeedConfig(extrapolation_interval=2),
    "extrapolated squarely": SpeedConfig(extrapolation_interval=3, extrapolation_order=2, sampler="unipc"),
    "all": SpeedConfig("align_your_steps", "dpmpp_2m", (0.3, 60.0), 2, 2, 2, 1, False, 3),
    **{f"preset {name}": preset.speed for name, preset in PRESETS.items()},
}


@pytest.mark.parametrize("name", WITH_A_MEMORY)
def test_what_the_steps_remember_goes_on_with_them(
    name: str,
    sample: Callable[..., torch.Tensor],
    pipeline: Pipeline,
    appearance: Appearance,
    motion: Motion,
    tmp_path: Path,
    lines: list[str],
) -> None:
    speed, config = WITH_A_MEMORY[name], replace(CONFIG, num_inference_steps=10)
    expected = pipeline.sample(appearance, motion, config, speed=speed).samples
    chance = random.Random(0)  # noqa: S311
    num_interrupted = 0
    for _ in range(10):
        try:
            sample(chance.randint(2 * WINDOWS + 1, 3 * WINDOWS + 1), config, speed=speed)
        except InterruptedHereError:
            num_interrupted += 1

    assert torch.equal(sample(None, config, speed=speed), expected)
    assert num_interrupted >= 2
    assert sum("goes on after step" in line for line in lines) >= 2
    assert "step_00010.safetensors" in names(tmp_path / "job")


def test_reused_features_go_on_from_where_none_is(sample: Callable[..., torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(InterruptedHereError):
        sample(5 * WINDOWS + 1, speed=SpeedConfig(feature_interval=3))
    assert names(tmp_path / "job") == ["job.json", "step_00003.safetensors"]


@pytest.mark.parametrize(("name", "num_tensors"), [("dpmpp_2m", 2), ("unipc", 4), ("extrapolated", 4)])
def test_a_step_holds_little_beside_its_latents(
    name: str, num_tensors: int, sample: Callable[..., torch.Tensor], tmp_path: Path
) -> None:
    sample(speed=WITH_A_MEMORY[name])
    sizes = [len(load_file(tmp_path / "job" / file)) for file in names(tmp_path / "job")[1:]]
    assert sizes == [num_tensors, 1]


# --- what changed


def other_weights(_: dict) -> dict:
    pipeline = Pipeline.untrained_tiny(device="cpu")
    pipeline.unet.conv_in.bias[0] += 1e-6
    return {"pipeline": pipeline}


CHANGES: dict[str, Callable[[dict], dict]] = {
    "seed (72580 before, 1 now)": lambda _: {"config": replace(CONFIG, seed=1)},
    "motion_guidance_scale ((2.0, 2.0) before, (2.0, 3.0) now)": lambda _: {
        "config": replace(CONFIG, motion_guidance_scale=(2.0, 3.0))
    },
    "noise levels, num_inference_steps (6 before, 7 now)": lambda _: {"config": replace(CONFIG, num_inference_steps=7)},
    "portrait": lambda now: {"appearance": replace(now["appearance"], image_tokens=now["appearance"].image_tokens + 1)},
    "motion": lambda now: {"motion": replace(now["motion"], tokens=now["motion"].tokens * 2)},
    "pose images": lambda _: {"pose_images": np.full((1, 32, 32, 3), 9, np.uint8)},
    "weights of unet": other_weights,
    "dtype (float32 before, bfloat16 now), weights of pose_guider, weights of unet": lambda _: {
        "pipeline": Pipeline.untrained_tiny(device="cpu", dtype=torch.bfloat16)
    },
    "is_circular (True before, False now)": lambda _: {"speed": SpeedConfig(is_circular=False)},
}


@pytest.mark.parametrize("names_of_changes", CHANGES)
def test_a_change_starts_anew_and_is_named(
    names_of_changes: str,
    sample: Callable[..., torch.Tensor],
    pipeline: Pipeline,
    appearance: Appearance,
    motion: Motion,
    tmp_path: Path,
    lines: list[str],
) -> None:
    now = {"pipeline": pipeline, "appearance": appearance, "motion": motion, "config": CONFIG}
    changed = CHANGES[names_of_changes](now)
    with pytest.raises(InterruptedHereError):
        sample(3 * WINDOWS)
    with pytest.raises(InterruptedHereError):
        sample(1, **changed)

    assert lines == [f"Job {tmp_path / 'job'}: starts anew, because these changed: {names_of_changes}."]
    assert names(tmp_path / "job") == ["job.json"]


def test_what_changes_only_the_decoding_changes_nothing(
    sample: Callable[..., torch.Tensor], expected: torch.Tensor, lines: list[str]
) -> None:
    sample()
    assert torch.equal(sample(1, replace(CONFIG, decode_chunk_size=2)), expected)
    assert "all 6 steps are done" in lines[0]


# --- damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_damaged_latents_fall_back_to_the_step_before(
    damage: Callable[[Path], None],
    sample: Callable[..., torch.Tensor],
    expected: torch.Tensor,
    tmp_path: Path,
    lines: list[str],
) -> None:
    with pytest.raises(InterruptedHereError):
        sample(4 * WINDOWS + 1)
    damage(tmp_path / "job" / "step_00004.safetensors")

    assert torch.equal(sample(), expected)

    assert ["step 4 is damaged" in lines[0], "goes on after step 3 of 6" in lines[1], len(lines)] == [True, True, 2]


def test_damage_of_everything_starts_anew(
    sample: Callable[..., torch.Tensor], expected: torch.Tensor, tmp_path: Path, lines: list[str]
) -> None:
    with pytest.raises(InterruptedHereError):
        sample(4 * WINDOWS + 1)
    for path in (tmp_path / "job").glob("*.*"):
        cut(path)

    assert torch.equal(sample(), expected)
    assert json.loads((tmp_path / "job" / "job.json").read_text())["parts"]["seed"] == "72580"


def test_a_damaged_job_file_loses_nothing(
    sample: Callable[..., torch.Tensor], expected: torch.Tensor, tmp_path: Path, lines: list[str]
) -> None:
    sample()
    cut(tmp_path / "job" / "job.json")

    assert torch.equal(sample(1), expected)


def test_leftovers_of_a_killed_process_go(sample: Callable[..., torch.Tensor], tmp_path: Path) -> None:
    sample()
    (tmp_path / "job" / f".{'0f' * 8}.safetensors").write_bytes(b"half")
    sample()
    assert names(tmp_path / "job") == steps(5, 6)


def test_no_result_that_is_not_finite_is_taken_for_a_finished_one(sample: Callable[..., torch.Tensor]) -> None:
    broken = Pipeline.untrained_tiny(device="cpu")
    broken.unet.conv_out.weight.fill_(torch.inf)
    for _ in range(2):
        with pytest.raises(HunyuanPortraitError, match="not finite"):
            sample(pipeline=broken)


# --- the folder


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ConfigurationError, match="holds files but no job"):
        JobFolder(tmp_path, print)
    assert names(tmp_path) == ["holiday.jpg"]


def test_a_file_is_no_job_folder(tmp_path: Path) -> None:
    (tmp_path / "job").touch()
    with pytest.raises(ConfigurationError, match="is a file"):
        JobFolder(tmp_path / "job", print)


@pytest.mark.parametrize("content", ['{"version": 2}', '{"jobs": []}', "[]"])
def test_a_job_of_another_program_is_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(ConfigurationError, match="version"):
        JobFolder(tmp_path, print)
    assert (tmp_path / "job.json").read_text() == content


def test_a_full_disk_keeps_the_last_good_step(
    sample: Callable[..., torch.Tensor], expected: torch.Tensor, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedHereError):
        sample(2 * WINDOWS + 1)
    with full_disk(1500), pytest.raises(MediaError, match=r"No room to write .*step_00003.*free some space"):
        sample()
    assert names(tmp_path / "job") == steps(1, 2)

    assert torch.equal(sample(), expected)


# --- what was found in the inputs


def found_things() -> list[Face | FaceTrack | Appearance | Motion]:
    rng = np.random.default_rng(0)
    box, points = rng.random((3, 4)), rng.random((3, 5, 2))
    return [
        Face(box[0], points[0], 0.1),
        FaceTrack(box, points, np.array([True, False, True])),
        Appearance(torch.randn(64, 8), torch.randn(4, 2, 2), torch.randn(512)),
        Motion(torch.randn(3, 64, 8), (1, 2), (3, 127), torch.randn(3, 3), torch.randn(3, 3)),
    ]


@pytest.mark.parametrize("found", found_things(), ids=lambda found: type(found).__name__)
def test_what_was_found_comes_back_as_it_was(found: Found, tmp_path: Path) -> None:
    def nothing() -> Found:
        raise InterruptedHereError

    JobFolder(tmp_path, print).remember(type(found), {"file": "1"}, lambda: found)
    again = JobFolder(tmp_path, print).remember(type(found), {"file": "1"}, nothing)

    for field in fields(found):
        value, kept = getattr(found, field.name), getattr(again, field.name)
        assert type(kept) is type(value)
        np.testing.assert_array_equal(np.asarray(kept), np.asarray(value), strict=True)
    with pytest.raises(InterruptedHereError):
        JobFolder(tmp_path, print).remember(type(found), {"file": "2"}, nothing)
    (path,) = tmp_path.glob("*.safetensors")
    flip(path)
    with pytest.raises(InterruptedHereError):
        JobFolder(tmp_path, print).remember(type(found), {"file": "1"}, nothing)


# --- the command


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All but the output."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(draw_portrait()).resize((128, 128)).save(folder / "portrait.png")
    make_clip(folder / "driving.mp4", num_frames=7)
    box = ",".join(str(value / 4) for value in FACE_BOX)
    inputs = ["--portrait", str(folder / "portrait.png"), "--driving", str(folder / "driving.mp4")]
    faces = ["--portrait-box", box, "--driving-box", "20,20,80,80"]
    size = ["--weights", "untrained-tiny", "--size", "64", "--num-padding-frames", "2"]
    return ["animate", *inputs, *faces, *size]


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_killed_command_goes_on(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*command, "--num-inference-steps", "30", "--out"]
    whole, resumed, job = tmp_path / "whole.mp4", tmp_path / "resumed.mp4", tmp_path / "job"
    code = "import sys; from hunyuan_core.cli import main; sys.exit(main())"
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, *command, str(resumed), "--job", str(job)], stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (job / "step_00003.safetensors").exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert main([*command, str(whole)]) == 0
    capsys.readouterr()

    assert main([*command, str(resumed), "--job", str(job)]) == 0

    assert "goes on after step" in capsys.readouterr().err
    np.testing.assert_array_equal(frames_of(resumed), frames_of(whole))
    assert resumed.read_bytes() == whole.read_bytes()


def test_the_command_finds_in_changed_inputs_only(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*command, "--num-inference-steps", "1", "--out", str(tmp_path / "o.mp4"), "--job", str(tmp_path / "job")]

    def errors(*more: str) -> str:
        assert main([*command, *more]) == 0
        return capsys.readouterr().err

    first, second = errors(), errors("--seed", "1")
    assert ["Detecting faces" in first, "Encoding motion" in first, "Sampling: 100%" in first] == [True] * 3
    assert ["Detecting faces" in second, "Encoding motion" in second, "Sampling: 100%" in second] == [0, 0, 1]
    assert "starts anew, because these changed: seed (72580 before, 1 now)." in second
    third = errors("--seed", "1", "--driving-box", "20,20,90,90")
    assert ["Detecting faces" in third, "Encoding motion" in third] == [True, True]
    assert "because these changed: motion." in third


def test_a_disk_that_fills_up_while_the_video_is_written_costs_only_the_decoding(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.mp4"
    command = [*command, "--num-inference-steps", "1", "--crf", "0", "--out", str(out)]
    command[command.index("--size") + 1] = "512"
    with full_disk(400_000):
        assert main(command) == 2
    assert "With --job FOLDER the next try would keep what is sampled." in capsys.readouterr().err
    assert names(tmp_path) == []

    command = [*command, "--job", str(tmp_path / "job")]
    with full_disk(400_000):
        assert main(command) == 2
    errors = capsys.readouterr().err
    assert "With --job" not in errors
    assert "No room to write" in errors
    assert "o.mp4" in errors
    assert names(tmp_path) == ["job"]

    assert main(command) == 0

    assert "all 1 steps are done" in capsys.readouterr().err
    assert out.stat().st_size > 400_000


# --- one process at a time


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the job of the test's folder, until it ends."""
    code = (
        "import sys, time; from pathlib import Path; from hunyuan_core.locks import FolderLock;"
        "FolderLock(Path(sys.argv[1])); print(flush=True); time.sleep(60)"
    )
    (tmp_path / "job").mkdir()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(tmp_path / "job")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_two_processes_never_have_one_job(other_process: subprocess.Popen[str], tmp_path: Path) -> None:
    job = tmp_path / "job"
    with pytest.raises(ConfigurationError, match=rf"{job} is in use by process {other_process.pid} on .*; wait for it"):
        JobFolder(job, print)
    assert names(job) == []

    other_process.kill()
    other_process.wait()

    assert (job / LOCK_NAME).read_text() == f"process {other_process.pid} on {socket.gethostname()}"
    JobFolder(job, print)
    assert names(job) == ["job.json"]


def test_a_closed_job_can_be_had_by_others(tmp_path: Path) -> None:
    JobFolder(tmp_path, print).close()
    with open(tmp_path / LOCK_NAME) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as another process would
        with pytest.raises(ConfigurationError, match="is in use"):
            JobFolder(tmp_path, print)
