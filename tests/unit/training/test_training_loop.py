"""The training loop: what learns, exact resume, several processes, and bad ends."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import full_disk
from safetensors.torch import load_file, save_file
from tiny_training import MODEL, training_config
from two_processes import run_two

from hunyuan_core.checkpoints import load_network
from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Face
from hunyuan_core.errors import ConfigurationError, HunyuanPortraitError, WeightsError
from hunyuan_core.faces.identity import ArcFace
from hunyuan_core.onnx_session import open_onnx
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.training.checkpoints import load_checkpoint, save_checkpoint
from hunyuan_core.training.config import OptimiserConfig, TrainingConfig
from hunyuan_core.training.identity_network import IdentityNetwork, export_identity
from hunyuan_core.training.loop import build_stage, export_newest, learning_rate, open_dataset, train
from hunyuan_core.training.toyworld import face, face_track, random_identity, random_motion, render

NUM_STEPS = 6

# Of a released file, but without influence on the result; each with the reason.
WITHOUT_INFLUENCE = (
    "adapter.branch",  # these make the query of an attention with one key, whose weight is 1 whatever the query
    "adapter.cross_attn.image_proj",  # the same query
    "vision.mask_token",  # of DINOv2's own training
    "vae.decoder.mid_block.attentions",  # diffusers runs it between two layers, and here is one per block
)


class StopHereError(Exception):
    """The machine went away."""


def run_of(folder: Path, **parts: object) -> TrainingConfig:
    optimiser = {"num_steps": NUM_STEPS, **parts.pop("optimiser", {})}  # pyright: ignore[reportGeneralTypeIssues]
    return training_config(folder, optimiser=optimiser, **parts)


def stop_at(step: int):
    def on_step(num_done: int, losses: Mapping[str, float]) -> None:
        if num_done == step:
            raise StopHereError

    return on_step


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """All that the last checkpoint and the exported weights of a run hold."""
    last = max(folder.glob("step_*"))
    files = [*last.glob("*.safetensors"), *(folder / "weights").rglob("*.safetensors")]
    return {f"{path.relative_to(folder)}:{key}": value for path in files for key, value in load_file(path).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps without interruption."""
    folder, steps = tmp_path_factory.mktemp("whole"), []
    train(run_of(folder), lambda *step: steps.append(brief(*step)))
    (folder / "steps.json").write_text(json.dumps(steps))
    return folder


def brief(num_done: int, losses: Mapping[str, float]) -> list[float]:
    return [num_done, losses["total"], losses["gradient"]]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, that came as far as its fifth step and left a checkpoint after the third."""
    folder = tmp_path_factory.mktemp("half")
    with pytest.raises(StopHereError):
        train(half_config(folder), stop_at(5))
    return folder


@pytest.fixture
def stopped(half: Path, tmp_path: Path) -> Path:
    """That run, for each test to itself."""
    return Path(shutil.copytree(half, tmp_path / "run"))


def half_config(folder: Path) -> TrainingConfig:
    return run_of(folder, output={"folder": str(folder), "checkpoint_every": 3})


# --- what learns


def gradients(config: TrainingConfig) -> tuple[dict[str, torch.Tensor | None], set[str]]:
    """Gradients of all parameters of one batch, and the names of those that are to learn."""
    stage = build_stage(config)
    dataset, join = open_dataset(config, 4)
    stage(join([dataset[i] for i in range(4)]), 0)["total"].backward()
    learning = {name for name, parameter in stage.named_parameters() if parameter.requires_grad}
    return {name: parameter.grad for name, parameter in stage.named_parameters()}, learning


@pytest.mark.parametrize(
    ("stage", "trainable"),
    [
        ("joint", TrainingConfig().trainable),
        ("joint", ("unet", "vision", "head_pose", "arcface")),
        ("motion", ("vision", "token_projection", "expression", "head_pose", "refiner", "arcface")),
        ("vae", ("vae",)),
    ],
)
def test_what_learns_has_a_gradient_and_what_is_frozen_has_none(
    stage: str, trainable: tuple[str, ...], tmp_path: Path
) -> None:
    config = training_config(
        tmp_path,
        stage=stage,
        trainable=trainable,
        data={"pose_images": "skeleton"},
        loss={"drop_all": 0.0, "drop_motion": 0.0},
    )
    found, learning = gradients(config)

    assert {name.split(".")[1] for name in learning if name.startswith("networks.")} == {
        pattern.partition(".")[0] for pattern in trainable
    }
    assert all(found[name] is None for name in set(found) - learning)
    idle = {name for name in learning if found[name] is None or not found[name].any()}  # pyright: ignore[reportOptionalMemberAccess]
    assert [name for name in sorted(idle) if not any(part in name for part in WITHOUT_INFLUENCE)] == []
    expected = {name for name in learning if any(part in name for part in WITHOUT_INFLUENCE)}
    assert idle == expected


def test_the_gradient_is_cut_to_its_largest_norm(tmp_path: Path) -> None:
    clip, beta1 = 0.01, OptimiserConfig().beta1
    losses = train(run_of(tmp_path, optimiser={"num_steps": 1, "gradient_clip": clip})).losses
    moments = load_file(tmp_path / "step_00000001" / "optimiser.safetensors")
    squares = [float(value.square().sum()) for name, value in moments.items() if name.endswith(".exp_avg")]

    assert losses["gradient"] > 10 * clip
    # After one step the first moment is the gradient times 1 - beta1.
    assert sum(squares) ** 0.5 == pytest.approx((1 - beta1) * clip, rel=1e-3)


def test_released_defaults_freeze_what_the_paper_freezes(tmp_path: Path) -> None:
    _, learning = gradients(training_config(tmp_path))
    networks = {name.split(".")[1] for name in learning if name.startswith("networks.")}

    assert networks == {"unet", "pose_guider", "token_projection", "vision", "refiner", "expression"}
    assert {name for name in learning if ".vision." in name and ".adapter." not in name} == set()


def test_recomputed_layers_give_the_same_gradients(tmp_path: Path) -> None:
    plain, _ = gradients(training_config(tmp_path))
    again, _ = gradients(training_config(tmp_path, optimiser={"gradient_checkpointing": True}))

    for name, gradient in plain.items():
        if gradient is not None:
            assert torch.allclose(gradient, again[name], rtol=1e-4, atol=1e-6), name  # pyright: ignore[reportArgumentType]


def test_a_name_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="trainable names unett"):
        build_stage(training_config(tmp_path, trainable=("unett",)))


def test_the_learning_rate_warms_up_and_falls_as_a_cosine(tmp_path: Path) -> None:
    config = training_config(tmp_path, optimiser={"num_steps": 10, "warmup_steps": 2, "final_share": 0.1})
    rates = [learning_rate(1.0, step, config) for step in range(11)]

    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.55)
    assert rates[10] == pytest.approx(0.1)


def test_one_clip_is_learnt_by_heart(tmp_path: Path) -> None:
    config = training_config(
        tmp_path,
        data={"num_frames": 1},
        loss={"auxiliary_weight": 0.0, "drop_all": 0.0, "drop_motion": 0.0, "sigma_mean": -0.5, "sigma_std": 0.5},
    )
    stage = build_stage(config)
    dataset, join = open_dataset(config, 1)
    batch = join([dataset[0]] * 2)
    optimiser = torch.optim.AdamW([p for p in stage.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for step in range(60):
        batch.seed = torch.arange(2) + 2 * step
        optimiser.zero_grad()
        loss = stage(batch, 0)["total"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    assert losses[0] > 0.6
    assert sum(losses[-10:]) / 10 < 0.2


# --- going on


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(whole: Path, stopped: Path) -> None:
    steps = []
    train(half_config(stopped), lambda num_done, _: steps.append(num_done), is_resumed=True)

    assert steps == [4, 5, 6]
    one, two = tensors_of(whole), tensors_of(stopped)
    assert set(one) == set(two)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_an_unfinished_run_can_be_exported(whole: Path, stopped: Path, tmp_path: Path) -> None:
    weights = export_newest(half_config(stopped))

    (checkpoint,) = stopped.glob("step_*")
    average = load_file(checkpoint / "average.safetensors")
    unet = load_network("unet", weights / "hyportrait" / "unet.safetensors", dtype=torch.float32).state_dict()
    for name, tensor in unet.items():
        if name != "conv_in.weight":  # that one goes by the released scale of latents
            assert torch.equal(tensor, average[f"networks.unet.{name}"]), name
    assert files_of(weights) == files_of(whole / "weights")

    config = half_config(stopped)
    export_newest(dataclasses.replace(config, output=dataclasses.replace(config.output, half_precision=True)))
    half = load_file(weights / "hyportrait" / "unet.safetensors")
    assert all(torch.equal(half[name], tensor.half()) for name, tensor in unet.items())

    with pytest.raises(ConfigurationError, match="no checkpoint to export"):
        export_newest(half_config(tmp_path / "none"))


def files_of(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_earlier_checkpoints_are_not_overwritten_unasked(whole: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"earlier run; add --resume"):
        train(run_of(whole))


def test_a_checkpoint_of_another_configuration_is_refused(whole: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"another configuration; train into another output\.folder"):
        train(run_of(whole, seed=1), is_resumed=True)


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(name: str, stopped: Path) -> None:
    (stopped / "step_00000003" / name).write_bytes(b"{")
    with pytest.raises(ConfigurationError, match=r"step_00000003 is damaged .* remove it"):
        train(half_config(stopped), is_resumed=True)


IN_EACH = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from test_training_loop import brief, run_of
from hunyuan_core.training.loop import train
steps = []
train(run_of(Path(sys.argv[2])), lambda *step: steps.append(brief(*step)))
print(json.dumps(steps))
"""


def test_two_processes_learn_what_one_does(whole: Path, tmp_path: Path) -> None:
    import tiny_training

    paths = [str(Path(__file__).parent), str(Path(tiny_training.__file__).parent)]
    (first, _), (second, _) = run_two(IN_EACH, [json.dumps(paths), str(tmp_path)])

    assert second == []
    assert [step for step, _, _ in first] == list(range(1, NUM_STEPS + 1))
    alone = json.loads((whole / "steps.json").read_text())
    assert np.array(first) == pytest.approx(np.array(alone), rel=1e-4)
    one, two = tensors_of(whole), tensors_of(tmp_path)
    assert set(one) == set(two)
    moments = [name for name in one if name.endswith(".exp_avg")]
    assert distance(one, two, moments) < 1e-4 * distance(one, {}, moments)
    # Adam makes whole steps even of gradients that are rounding alone, so weights differ by more.
    start = build_stage(run_of(tmp_path)).state_dict()
    weights = {f"step_00000006/weights.safetensors:{name}": value for name, value in start.items()}
    learnt = [name for name in weights if name in one]
    assert distance(one, two, learnt) < 0.01 * distance(one, weights, learnt)


def distance(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], names: list[str]) -> float:
    """Length of the difference of all tensors of these names; an absent tensor is zero."""
    assert names
    return sum(float((one[name] - two.get(name, torch.zeros(()))).square().sum()) for name in names) ** 0.5


def test_a_batch_in_parts_teaches_the_same(whole: Path, tmp_path: Path) -> None:
    steps = []
    train(run_of(tmp_path, optimiser={"num_accumulated": 2}), lambda *step: steps.append(brief(*step)))

    assert np.array(steps) == pytest.approx(np.array(json.loads((whole / "steps.json").read_text())), rel=1e-4)


def test_bfloat16_teaches_about_the_same(tmp_path: Path) -> None:
    # Of two frames, PyTorch 2.13 gives gradients on a CPU that are not finite.
    losses = [
        train(
            training_config(
                tmp_path / precision,
                data={"num_frames": 3},
                optimiser={"num_steps": 1, "precision": precision},
                output={"folder": str(tmp_path / precision)},
            )
        ).losses
        for precision in ("fp32", "bf16")
    ]

    assert losses[1]["diffusion"] != losses[0]["diffusion"]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


# --- bad ends


def test_a_loss_that_is_not_finite_stops_and_names_step_and_clips(stopped: Path) -> None:
    path = stopped / "step_00000003" / "weights.safetensors"
    weights = load_file(path)
    weights["networks.unet.conv_in.weight"][0] = torch.nan
    save_file(weights, path)
    with pytest.raises(HunyuanPortraitError, match=r"not finite in step 4 \(clips 6 to 7 of seed 0\).*resume from"):
        train(half_config(stopped), is_resumed=True)
    assert [folder.name for folder in stopped.iterdir()] == ["step_00000003"]


def test_a_full_disk_leaves_the_last_good_checkpoint(whole: Path, stopped: Path) -> None:
    with full_disk(100_000), pytest.raises(WeightsError, match=r"cannot be written .* free space"):
        train(half_config(stopped), is_resumed=True)
    assert [folder.name for folder in stopped.iterdir()] == ["step_00000003"]


def test_a_folder_that_cannot_be_written_is_named(half: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(half)
    assert checkpoint is not None
    with full_disk(60), pytest.raises(WeightsError, match=r"step_00000003 cannot be written"):
        save_checkpoint(tmp_path, dataclasses.replace(checkpoint, weights={}, average={}, optimiser={}), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_of_the_weights(tmp_path: Path) -> None:
    with full_disk(100_000), pytest.raises(WeightsError, match=r"arcface\.onnx cannot be written .* free space"):
        export_identity(IdentityNetwork(), tmp_path / "arcface.onnx")
    assert list(tmp_path.iterdir()) == []


# --- what is left behind


def test_an_identity_network_of_half_precision_takes_half_the_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IdentityNetwork()
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    export_identity(network, whole)
    export_identity(copy.deepcopy(network).half(), half)

    crop = torch.rand(1, 3, 112, 112)
    embeddings = [open_onnx(path, "a test").run(None, {ArcFace.input_name: crop.numpy()})[0] for path in (whole, half)]
    np.testing.assert_allclose(embeddings[0], network(crop).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(*embeddings, atol=1e-3)
    assert embeddings[1].dtype == np.float32
    assert half.stat().st_size < 0.51 * whole.stat().st_size


def test_exported_weights_animate(whole: Path) -> None:
    pipeline = Pipeline.from_pretrained(whole / "weights", device="cpu")
    rng = np.random.default_rng(0)
    portrait, driver, motion = random_identity(rng), random_identity(rng), random_motion(rng, 2)
    still: Face = face(portrait, motion[0], 64)
    appearance = pipeline.encode_appearance(render(portrait, motion[0], 64), still, size=64)
    assert float(appearance.id_embedding.norm()) == pytest.approx(1, abs=1e-5)
    moved = pipeline.encode_motion([render(driver, row, 64) for row in motion], face_track(driver, motion, 64))
    config = SamplingConfig(num_inference_steps=2, num_padding_frames=0, context_window=2, context_overlap=0)
    frames = list(pipeline.decode(pipeline.sample(appearance, moved, config)))

    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 2
    assert pipeline.unet.config == MODEL.unet


def test_the_average_of_the_weights_is_exported(whole: Path) -> None:
    average = load_file(whole / "step_00000006" / "average.safetensors")
    exported = load_file(whole / "weights" / "hyportrait" / "unet.safetensors")
    weights = load_file(whole / "step_00000006" / "weights.safetensors")

    first = exported.pop("conv_in.weight")
    # The portrait's latents are brought to the released scale there.
    assert torch.equal(first[:, :4], average["networks.unet.conv_in.weight"][:, :4])
    for name, value in exported.items():
        assert torch.equal(value, average[f"networks.unet.{name}"])
    assert not torch.equal(weights["networks.unet.conv_in.weight"][:, :4], first[:, :4])


@pytest.mark.skipif(torch.cuda.is_available(), reason="the trap is of the CPU")
def test_precisions_that_the_cpu_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.num_frames to 3"):
        train(run_of(tmp_path, optimiser={"precision": "bf16"}))
    with pytest.raises(ConfigurationError, match=r"fp16 trains on GPUs only; set optimiser\.precision"):
        train(run_of(tmp_path, optimiser={"precision": "fp16"}))
