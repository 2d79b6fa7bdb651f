"""What training minimises fits what sampling does."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import training_config

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Branch
from hunyuan_core.errors import ConfigurationError
from hunyuan_core.models.predictor import VideoPredictor
from hunyuan_core.pose_features import encode_pose_images
from hunyuan_core.sampling import Denoiser
from hunyuan_core.training.loop import build_stage
from hunyuan_core.training.objective import Noise, draw_noise, noisy_input, v_loss
from hunyuan_core.training.stages import JointStage
from hunyuan_core.training.toy_data import Clip, ToyClips, find_face
from hunyuan_core.training.toyworld import face_mask, random_identity, random_motion

LATENTS = torch.linspace(-2, 2, 2 * 2 * 4 * 3 * 3).view(2, 2, 4, 3, 3)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> JointStage:
    stage = build_stage(training_config(tmp_path_factory.mktemp("joint")))
    assert isinstance(stage, JointStage)
    return stage


def test_the_v_without_loss_denoises_exactly() -> None:
    sigma = torch.tensor([0.03, 40.0])
    noise = Noise(sigma, torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(0)), (Branch.MOTION,) * 2)
    for row, level in enumerate(sigma.tolist()):
        x = noisy_input(LATENTS, noise)[row]
        v = (noise.values[row] - level * LATENTS[row]) / math.sqrt(level**2 + 1)
        assert float(v_loss(v[None], LATENTS[row : row + 1], _row(noise, row))) < 1e-12

        denoiser = Denoiser(
            lambda x, t, frames, branches, v=v: torch.stack([v] * len(branches)),  # pyright: ignore[reportArgumentType]
            2,
            torch.tensor([level, 0.0]),
            SamplingConfig(context_window=2, context_overlap=0, context_shift=0),
        )
        denoised = denoiser(x * math.sqrt(level**2 + 1), level)
        assert torch.allclose(denoised, LATENTS[row], atol=1e-4)


def _row(noise: Noise, row: int) -> Noise:
    return Noise(noise.sigma[row : row + 1], noise.values[row : row + 1], noise.branches[row : row + 1])


def test_the_loss_of_v_is_the_weighted_loss_of_the_denoised() -> None:
    noise = draw_noise(torch.tensor([3, 4]), tuple(LATENTS.shape[1:]), 0.7, 1.6, 0, 0)
    v = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(1))
    sigma = noise.sigma.view(-1, 1, 1, 1, 1)
    # Karras et al. 2022, table 1 and eq. 8 with σ_data = 1.
    x = LATENTS + sigma * noise.values
    denoised = x / (sigma**2 + 1) - v * sigma / (sigma**2 + 1).sqrt()
    weighted = ((sigma**2 + 1) / sigma**2 * (denoised - LATENTS) ** 2).mean(dim=(1, 2, 3, 4))

    assert torch.allclose(v_loss(v, LATENTS, noise), weighted, rtol=1e-4)


def test_noise_levels_and_dropped_conditions_are_as_configured() -> None:
    noise = draw_noise(torch.arange(2000), (1,), 0.7, 1.6, 0.1, 0.2)
    logarithm = noise.sigma.log()

    assert float(logarithm.mean()) == pytest.approx(0.7, abs=0.1)
    assert float(logarithm.std()) == pytest.approx(1.6, abs=0.1)
    shares = [noise.branches.count(branch) / 2000 for branch in Branch]
    assert shares == pytest.approx([0.1, 0.2, 0.7], abs=0.03)
    # Each clip's own, whatever stands beside it.
    again = draw_noise(torch.tensor([1999]), (1,), 0.7, 1.6, 0.1, 0.2)
    assert again.sigma[0] == noise.sigma[1999]
    assert torch.equal(again.values[0], noise.values[1999])


def test_training_calls_the_networks_as_inference_does(stage: JointStage, tmp_path: Path) -> None:
    config = stage.config
    clips = Clip.stack([ToyClips(config.model, config.data, 0, 3)[i] for i in range(3)])
    with torch.no_grad():
        image_tokens, motion_tokens, _ = stage.encode(clips)
        vae = stage.network("vae")
        pictures = torch.cat([clips.target.flatten(0, 1), clips.reference]).float() / 127.5 - 1
        latents = vae.encode(pictures).latent_dist.mode()
        target, image_latents = latents[:6].unflatten(0, (3, 2)), latents[6:]
        values = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
        branches = (Branch.MOTION, Branch.UNCONDITIONAL, Branch.IMAGE)
        noise = Noise(torch.tensor([0.2, 3.0, 30.0]), values, branches)
        v = stage.predict(target, noise, image_latents, image_tokens, motion_tokens, clips.pose_images)

        pose = encode_pose_images(stage.network("pose_guider"), None, 64, 64, 2, 0)
        for row, branch in enumerate(branches):
            predictor = VideoPredictor(
                stage.network("unet"),
                image_tokens[row],
                motion_tokens[row],
                image_latents[row],
                (12.5, 0.0, 0.0),
                pose,
            )
            timestep = 0.25 * math.log(float(noise.sigma[row]))
            expected = predictor(noisy_input(target, noise)[row], timestep, [0, 1], [branch])[0]
            assert torch.allclose(v[row], expected, atol=1e-5)


def test_a_clip_at_two_noise_levels_counts_as_two_clips(tmp_path: Path) -> None:
    one, two = (build_stage(training_config(tmp_path, loss={"noise_levels": n})) for n in (1, 2))
    clip = Clip.stack([ToyClips(one.config.model, one.config.data, 3, 2)[i] for i in range(2)])
    expected = []
    for level in range(2):
        expected.append(one(dataclasses.replace(clip, seed=clip.seed + level), 0)["diffusion"])

    torch.testing.assert_close(two(clip, 0)["diffusion"], torch.stack(expected).mean())
    assert expected[0] != expected[1]


def test_errors_count_as_their_weight_says(tmp_path: Path) -> None:
    noise = draw_noise(torch.tensor([3, 4]), tuple(LATENTS.shape[1:]), 0.7, 1.6, 0, 0)
    v, weight = torch.zeros(LATENTS.shape), torch.ones(2, 2, 3, 3)
    weight[0, 1, 2, 0] = 5
    plain, weighted = v_loss(v, LATENTS, noise), v_loss(v, LATENTS, noise, weight)
    sigma = noise.sigma[0]
    there = ((noise.values[0] - sigma * LATENTS[0]) ** 2 / (sigma**2 + 1))[1, :, 2, 0].mean()
    assert torch.allclose(weighted[0], (18 * plain[0] + 4 * there) / 22)
    assert torch.allclose(weighted[1], plain[1])


@pytest.mark.parametrize(("key", "place"), [("feature_weight", "features"), ("face_weight", "face")])
def test_errors_of_the_face_count_more_where_it_is(key: str, place: str, tmp_path: Path) -> None:
    one, more = (build_stage(training_config(tmp_path, loss={key: w})) for w in (0.0, 4.0))
    config = training_config(tmp_path)
    clip = Clip.stack([ToyClips(config.model, config.data, 3, 1)[0]])
    expected = one(clip, 0)["diffusion"]
    for everywhere in (torch.zeros_like(clip.face), torch.ones_like(clip.face)):
        torch.testing.assert_close(more(dataclasses.replace(clip, **{place: everywhere}), 0)["diffusion"], expected)
    assert not torch.allclose(more(clip, 0)["diffusion"], expected, rtol=1e-4)
    with pytest.raises(ConfigurationError, match=r"need clips that know where these are; those in .* are older"):
        more(dataclasses.replace(clip, **{place: torch.zeros(1, 0)}), 0)


def test_the_whole_face_is_for_the_joint_stage(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"loss\.face_weight .* which stage 'vae' does not have; leave"):
        training_config(tmp_path, stage="vae", trainable=("vae",), loss={"face_weight": 1.0})


def test_a_tile_counts_by_its_share_of_face() -> None:
    rng = np.random.default_rng(1)
    person, motion = random_identity(rng), random_motion(rng, 1)[0]
    tiles, mask = find_face(person, motion, 64), face_mask(person, motion, 64)

    assert tiles.shape == (8, 8)
    assert tiles[4, 4] == 1 == mask[32:40, 32:40].mean()
    assert np.isclose(tiles.sum() * 64, mask.sum())
