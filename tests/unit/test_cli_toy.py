"""``--weights toy``: on the model that is carried where its files are there, else on untrained files of its names."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import write_arcface, write_tiny_models

from hunyuan_core.cli import main
from hunyuan_core.toy import TOY_SAMPLING
from hunyuan_core.training.toyworld import Painter, face_box, random_identity, random_motion
from hunyuan_core.training.toyworld.reader import Reader
from hunyuan_core.video import write_image, write_video

ONE_STEP = ["--num-inference-steps", "1"]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toy_model"
    monkeypatch.setattr("hunyuan_core.toy.TOY_FOLDER", folder)
    write_tiny_models(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(Reader().state_dict(), folder / "reader.safetensors")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(5)
    person, performer, motion = random_identity(rng), random_identity(rng), random_motion(rng, 4)
    portrait, driving = folder / "portrait.png", folder / "driving.mp4"
    write_image(portrait, Painter(person).draw(motion[0]))
    write_video(driving, map(Painter(performer).draw, motion), Fraction(25))
    boxes = (",".join(map(str, face_box(who, motion[0], 128))) for who in (person, performer))
    return dict(zip(("portrait", "driving", "portrait-box", "driving-box"), (portrait, driving, *boxes), strict=True))


def given(values: dict[str, str], *names: str) -> list[str]:
    return [str(part) for name in names for part in (f"--{name}", values[name])]


def test_its_size_and_settings_are_the_default(stand_in, inputs, tmp_path, capsys):
    out = tmp_path / "out.mp4"

    assert main(["animate", "--weights", "toy", "--out", str(out), *ONE_STEP, *given(inputs, *inputs)]) == 0

    assert capsys.readouterr().err.count("the toy model knows drawn faces only") == 1
    with av.open(str(out)) as container:
        options = json.loads(container.metadata["hunyuan_portrait"])["options"]
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(128, 128)] * 4
    expected = {**vars(TOY_SAMPLING), "num_inference_steps": 1, "size": 128, "weights": "toy"}
    assert {name: options[name] for name in expected} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in expected.items()
    }


def test_what_is_given_counts_more(stand_in, inputs, tmp_path):
    out = tmp_path / "out.mp4"
    more = ["--size", "64", "--num-padding-frames", "1", "--no-identity"]

    assert main(["animate", "--weights", "toy", "--out", str(out), *ONE_STEP, *more, *given(inputs, *inputs)]) == 0

    with av.open(str(out)) as container:
        options = json.loads(container.metadata["hunyuan_portrait"])["options"]
    assert (options["size"], options["num_padding_frames"], options["context_window"]) == (64, 1, 5)


def test_faces_are_looked_for_by_the_reader(stand_in, inputs, tmp_path, capsys):
    # Untrained, it sees all landmarks in the middle.
    files = given(inputs, "portrait", "driving")

    assert main(["animate", "--weights", "toy", "--out", str(tmp_path / "out.mp4"), *ONE_STEP, *files]) == 2

    assert "error: No face was found" in capsys.readouterr().err


def test_a_missing_file_is_one_line(stand_in, inputs, tmp_path, capsys):
    (stand_in / "hyportrait" / "unet.pth").unlink()
    out = tmp_path / "out.mp4"

    assert main(["animate", "--weights", "toy", "--out", str(out), *ONE_STEP, *given(inputs, *inputs)]) == 2

    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "lacks hyportrait/unet.pth; install the package again" in line


def test_a_batch_knows_its_files(stand_in, inputs, tmp_path, capsys):
    out, manifest = tmp_path / "out.mp4", tmp_path / "jobs.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([[*inputs, "out"], [*inputs.values(), out]])
    command = ["batch", str(manifest), "--weights", "toy", *ONE_STEP]

    assert main(command) == 0
    assert main(command) == 0
    assert "is done already" in capsys.readouterr().err

    write_arcface(stand_in / "arcface.onnx", seed=1)
    assert main(command) == 0
    assert "these changed: weights of arcface" in capsys.readouterr().err


def test_it_finds_the_faces_and_animates(inputs, tmp_path):
    out = tmp_path / "out.mp4"

    assert main(["animate", "--weights", "toy", "--out", str(out), *given(inputs, "portrait", "driving")]) == 0

    with av.open(str(out)) as container:
        assert json.loads(container.metadata["hunyuan_portrait"])["options"]["detector"] == "drawn"


def test_it_is_evaluated_with_its_own_reader(inputs, tmp_path):
    pairs, out = tmp_path / "pairs.csv", tmp_path / "evaluation"
    pairs.write_text(f"driving,portrait\n{inputs['driving']},{inputs['portrait']}\n")

    assert main(["evaluate", "--weights", "toy", "--pairs", str(pairs), "--out", str(out), *ONE_STEP]) == 0

    report = json.loads((out / "evaluation.json").read_text())
    assert "identity" in json.dumps(report)
