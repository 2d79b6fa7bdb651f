"""VAE stage, skeletons, styles, and the journal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import training_config

from hunyuan_core.checkpoints import load_network
from hunyuan_core.errors import WeightsError
from hunyuan_core.training.loop import build_stage, open_dataset, train
from hunyuan_core.training.skeletons import draw_skeletons, find_keypoints
from hunyuan_core.training.style import StyleTransfer
from hunyuan_core.training.toy_data import Frames, ToyFrames
from hunyuan_core.training.toyworld import LANDMARK_GROUPS, landmarks, random_identity, random_motion

# --- VAE


def test_the_vae_learns_all_its_kernels_over_time(tmp_path: Path) -> None:
    config = training_config(tmp_path, stage="vae", trainable=("vae",), data={"num_frames": 3})
    stage = build_stage(config)
    dataset, join = open_dataset(config, 2)
    stage(join([dataset[0], dataset[1]]), 0)["total"].backward()

    for name, parameter in stage.named_parameters():
        if "decoder.mid_block.attentions" in name:
            continue  # diffusers runs it before a second residual block, which one layer a block does not have
        assert parameter.grad is not None, name
        # Of one picture, the kernels to its neighbours would see zeros alone.
        assert parameter.grad.flatten(2).abs().sum((0, 1)).all() if parameter.ndim == 5 else parameter.grad.any(), name


def test_the_vae_may_learn_faces_before_backgrounds(tmp_path: Path) -> None:
    def gradient(weight: float, features: torch.Tensor | None) -> torch.Tensor:
        stage = build_stage(
            training_config(
                tmp_path, stage="vae", trainable=("vae",), loss={"feature_weight": weight, "kl_weight": 0.0}
            )
        )
        frames = ToyFrames(stage.config.data, 0, 1)[0]  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        batch = Frames.stack([frames if features is None else dataclasses.replace(frames, features=features)])
        stage(batch, 0)["total"].backward()
        return stage.network("vae").decoder.time_conv_out.weight.grad

    tiles = ToyFrames(training_config(tmp_path).data, 0, 1)[0].features
    plain = gradient(0.0, None)
    for alike in (torch.zeros_like(tiles), torch.ones_like(tiles)):
        torch.testing.assert_close(gradient(3.0, alike), plain)
    assert not torch.allclose(gradient(3.0, None), plain, rtol=0.01)


def test_an_exported_vae_scales_its_latents_to_unit_variance(tmp_path: Path) -> None:
    config = training_config(tmp_path, stage="vae", trainable=("vae",))
    path = train(config).weights / "stable-video-diffusion-img2vid-xt" / "vae"
    vae = load_network("vae", path / "diffusion_pytorch_model.fp16.safetensors")
    frames = Frames.stack([ToyFrames(config.data, 99, 16)[i] for i in range(16)]).frames.flatten(0, 1)
    with torch.no_grad():
        latents = vae.encode(frames.float() / 127.5 - 1).latent_dist.mode() * vae.config.scaling_factor

    assert float(latents.std()) == pytest.approx(1, abs=0.1)


# --- skeletons


def test_a_skeleton_follows_the_face_and_loses_edges() -> None:
    rng = np.random.default_rng(0)
    person, motion = random_identity(rng), random_motion(rng, 2)
    pose = find_keypoints(person, motion[1], 64)
    assert int(pose.is_seen.sum()) == 7
    assert np.array_equal(pose.points[0], landmarks(person, motion[1], 64)[LANDMARK_GROUPS["nose"]][0])
    # A person's left eye is on the image's right.
    assert pose.points[1, 0] > pose.points[2, 0]

    whole, bare, some = (
        draw_skeletons(person, motion, 64, share, np.random.default_rng(1)) for share in (0.0, 1.0, 0.5)
    )
    counts = [sum(int(image.any(-1).sum()) for image in images) for images in (bare, some, whole)]
    assert counts[0] < counts[1] < counts[2]


# --- styles


def save_style(path: Path, shape: list, output_scale: float = -1.0) -> Path:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        "style",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("scale", TensorProto.FLOAT, [1], [output_scale])],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path))
    return path


@pytest.mark.parametrize("shape", [[1, "h", "w", 3], [1, 3, "h", "w"], [1, 3, 32, 32]])
def test_a_style_redraws_pictures_in_either_order_of_channels(shape: list, tmp_path: Path) -> None:
    restyle = StyleTransfer(str(save_style(tmp_path / "negative.onnx", shape)))
    frame = np.full((48, 40, 3), (250, 100, 5), np.uint8)
    (negative,) = restyle([frame])

    assert negative.shape == frame.shape
    assert negative.dtype == np.uint8
    assert np.abs(negative.astype(int) - (255 - frame.astype(int))).max() <= 1


def test_clips_are_redrawn_as_often_as_configured(tmp_path: Path) -> None:
    path = str(save_style(tmp_path / "negative.onnx", [1, "h", "w", 3]))
    parts = {"colour_jitter": 0.0, "other_driver_share": 0.0}
    plain, _ = open_dataset(training_config(tmp_path, data=parts), 1)
    always, _ = open_dataset(training_config(tmp_path, data={**parts, "style_model": path, "style_share": 1.0}), 1)
    before, after = plain[0], always[0]

    assert torch.equal(after.target, 255 - before.target)
    for name in ("reference", "motion_crops", "head_pose_crops", "identity_crop"):
        assert not torch.equal(getattr(before, name), getattr(after, name))


def test_what_is_no_style_is_refused_before_the_first_step(tmp_path: Path) -> None:
    path = save_style(tmp_path / "grey.onnx", [1, 1, 8, 8])
    with pytest.raises(WeightsError, match=r"grey\.onnx cannot redraw clips: it should take one picture"):
        open_dataset(training_config(tmp_path, data={"style_model": str(path)}), 1)


# --- journal


def test_losses_and_samples_go_to_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = {"has_tensorboard": True, "log_every": 1, "sample_every": 2, "num_samples": 2, "sample_steps": 2}
    train(training_config(tmp_path, output={"folder": str(tmp_path), **output}))
    journal = EventAccumulator(str(tmp_path / "log"))
    journal.Reload()

    assert [event.step for event in journal.Scalars("loss/total")] == [1, 2]
    assert [event.step for event in journal.Scalars("samples/psnr")] == [2]
    (grid,) = journal.Images("samples")
    # Driver, result and truth of two clips; the portrait and two frames.
    assert (grid.height, grid.width) == (2 * 3 * 64, 3 * 64)


def test_sampling_changes_nothing_of_the_training(tmp_path: Path) -> None:
    output = {"has_tensorboard": True, "sample_every": 1, "num_samples": 1, "sample_steps": 1}
    losses = []
    for folder, extra in ((tmp_path / "plain", {}), (tmp_path / "sampled", output)):
        losses.append(train(training_config(folder, output={"folder": str(folder), **extra})).losses)
    assert losses[0] == losses[1]


def test_a_vae_starts_with_all_colours_and_quiet_residual_blocks(tmp_path: Path) -> None:
    vae = build_stage(training_config(tmp_path, stage="vae", trainable=("vae",))).network("vae")
    plain = torch.linspace(-1, 1, 6).view(2, 3, 1, 1).expand(-1, -1, 32, 32)

    first = vae.decoder.up_blocks[0].resnets[0].spatial_res_block
    features = torch.randn(2, first.conv1.in_channels, 8, 8)
    added = first(features, None) - (first.conv_shortcut or torch.nn.Identity())(features)
    assert 0 < float(added.std()) < 0.1 * float(features.std())
    with torch.no_grad():
        latents = vae.encode(plain.contiguous()).latent_dist.mode()
    assert float(latents.std()) > 0.3  # PyTorch's own start gives 0.1


@pytest.mark.parametrize(("std", "expected"), [(0.0, 32**-0.5), (2.0, 2.0)])
def test_memories_are_drawn_as_in_the_paper_or_louder(tmp_path: Path, std: float, expected: float) -> None:
    memories = build_stage(training_config(tmp_path, memory_std=std)).network("refiner").connector.latents

    assert float(memories.detach().std()) == pytest.approx(expected, rel=0.3)
