"""What reads drawn faces: its pictures, its training, its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import training_config

from hunyuan_core.errors import ConfigurationError, ShapeError, WeightsError
from hunyuan_core.training.config import TrainingConfig
from hunyuan_core.training.loop import build_stage, open_dataset, train
from hunyuan_core.training.reader_data import Pictures, ToyPictures
from hunyuan_core.training.toyworld import (
    IDENTITY_PARAMETERS,
    MOTION_PARAMETERS,
    Painter,
    identity_parameters,
    landmarks,
    random_identity,
)
from hunyuan_core.training.toyworld.reader import Reader, load_reader, standard_looks


def reader_config(folder: Path, **optimiser: float) -> TrainingConfig:
    return training_config(
        folder,
        stage="reader",
        trainable=("reader",),
        data={"image_size": 128, "num_frames": 3, "colour_jitter": 0.05},
        loss={"auxiliary_weight": 0.0},
        optimiser=optimiser,
    )


def random_pictures(number: int) -> torch.Tensor:
    return torch.rand(number, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_reading_has_every_parameter_and_landmarks_inside_the_picture() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        reading = Reader()(random_pictures(2))

    assert reading.motion.shape == (2, len(MOTION_PARAMETERS))
    assert reading.looks.shape == (2, len(IDENTITY_PARAMETERS))
    assert reading.landmarks.shape == (2, 34, 2)
    assert 0 < float(reading.landmarks.min()) < float(reading.landmarks.max()) < 1


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 128, 128), (1, 128, 128, 3)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="Scale them first"):
        Reader()(torch.zeros(shape))


def test_the_pictures_show_what_they_say(tmp_path: Path) -> None:
    data = reader_config(tmp_path).data
    examples = [ToyPictures(data, 5, 40)[i] for i in range(40)]
    person = random_identity(np.random.default_rng([5, 7]))
    example = examples[7]
    # Ranges that are mapped to [-1, 1], back.
    low, high = (
        np.array([-35, -20, -20, -0.06, -0.05, -1, -1, 0, -1, 0, -1]),
        np.array([35, 20, 20, 0.06, 0.05, 1, 1, 1, 1, 1, 1]),
    )
    rows = ((example.motion.numpy() + 1) / 2 * (high - low) + low).astype(np.float32)

    assert np.array_equal(example.looks.numpy(), identity_parameters(person))
    for picture, row, points in zip(example.pictures, rows, example.landmarks, strict=True):
        drawn = Painter(person, 128).draw(row)
        assert np.abs(picture.permute(1, 2, 0).numpy().astype(float) - drawn).mean() < 12
        assert points.numpy() * 128 == pytest.approx(landmarks(person, row, 128), abs=1e-3)
    blinks = torch.cat([example.motion[:, MOTION_PARAMETERS.index("blink")] for example in examples])
    assert 0.1 < float((blinks > 0.2).float().mean()) < 0.6  # eyes that are more closed than open


def test_about_half_of_the_pictures_are_as_they_were_drawn(tmp_path: Path) -> None:
    data = reader_config(tmp_path).data
    whole, examples = 0, [ToyPictures(data, 6, 20)[i] for i in range(20)]
    for example in examples:
        for picture in example.pictures:
            # Noise and blur leave no row of the background's top edge without small differences.
            top = picture[:, 0].int()
            whole += int((top[:, 1:] == top[:, :-1]).float().mean() > 0.5)
    assert 15 <= whole <= 45


def test_looks_are_brought_to_about_unit_variance() -> None:
    rng = np.random.default_rng(0)
    looks = torch.from_numpy(np.stack([identity_parameters(random_identity(rng)) for _ in range(300)]))
    deviations = standard_looks(looks).std(dim=0)

    assert float(deviations.min()) > 0.1
    assert float(deviations.max()) < 2
    assert standard_looks(looks[0])[IDENTITY_PARAMETERS.index("jaw")] == (looks[0][2] - 0.5) * 3


def test_a_few_steps_lower_the_loss(tmp_path: Path) -> None:
    stage = build_stage(reader_config(tmp_path))
    dataset, join = open_dataset(reader_config(tmp_path), 4)
    batch = join([dataset[i] for i in range(4)])
    optimiser = torch.optim.AdamW(stage.parameters(), 2e-3)
    totals = []
    for _ in range(15):
        losses = stage(batch, 0)
        losses["total"].backward()
        optimiser.step()
        optimiser.zero_grad()
        totals.append({name: float(loss) for name, loss in losses.items()})

    assert totals[-1]["total"] < 0.6 * totals[0]["total"]
    assert totals[0]["total"] == pytest.approx(sum(totals[0][name] for name in ("motion", "looks", "landmarks")))


def test_gaze_behind_closed_lids_costs_nothing(tmp_path: Path) -> None:
    stage = build_stage(reader_config(tmp_path))
    example = ToyPictures(reader_config(tmp_path).data, 5, 1)[0]
    gaze, blink = MOTION_PARAMETERS.index("gaze_x"), MOTION_PARAMETERS.index("blink")

    def motion_loss(gaze_x: float, closed: float) -> float:
        motion = example.motion.clone()
        motion[:, gaze], motion[:, blink] = gaze_x, 2 * closed - 1
        batch = Pictures.stack([Pictures(example.seed, example.pictures, motion, example.looks, example.landmarks)])
        with torch.no_grad():
            return float(stage(batch, 0)["motion"])

    assert motion_loss(1, 1) == motion_loss(-1, 1)
    assert motion_loss(1, 0) != motion_loss(-1, 0)


def test_a_trained_reader_loads_as_it_was(tmp_path: Path) -> None:
    config = reader_config(tmp_path / "run", num_steps=2, ema_decay=0.0)
    path = train(config).weights / "reader.safetensors"
    reader, again = load_reader(path), load_reader(path)
    pictures = random_pictures(2)

    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]
    assert not reader.training
    assert all(torch.equal(a, b) for a, b in zip(reader(pictures), again(pictures), strict=True))
    # A run may go on from it.
    stage = build_stage(
        TrainingConfig(stage="reader", trainable=("reader",), start_from=str(path.parent), optimiser=config.optimiser)
    )
    assert all(torch.equal(a, b) for a, b in zip(stage.network("reader")(pictures), reader(pictures), strict=True))


def test_a_reader_loads_from_half_precision_in_full(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    reader = Reader().eval().requires_grad_(False)
    save_file({name: tensor.half() for name, tensor in reader.state_dict().items()}, tmp_path / "half.safetensors")
    loaded = load_reader(tmp_path / "half.safetensors")

    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert loaded(random_pictures(1)).landmarks == pytest.approx(
        reader(random_pictures(1)).landmarks.detach(), abs=1e-3
    )


def test_a_file_of_something_else_is_no_reader(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="other"):
        load_reader(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        load_reader(tmp_path / "missing.safetensors")


def test_a_reader_is_not_trained_on_videos(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the drawn world knows"):
        training_config(
            tmp_path, stage="reader", trainable=("reader",), data={"videos": "x"}, loss={"auxiliary_weight": 0.0}
        )
