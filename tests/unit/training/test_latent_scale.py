"""Exported models count with the released scale of latents, and animate as the trained ones do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tiny_training import MODEL, training_config

from hunyuan_core.config import SamplingConfig, VAEConfig
from hunyuan_core.models import NETWORKS
from hunyuan_core.pipeline import Pipeline
from hunyuan_core.training.latent_scale import at_released_scale
from hunyuan_core.training.loop import build_stage
from hunyuan_core.training.toyworld import face, face_track, random_identity, random_motion, render
from hunyuan_core.training.weights import export

SAMPLING = SamplingConfig(
    num_inference_steps=3, strength=0.7, num_padding_frames=0, context_window=2, context_overlap=0
)


def test_an_exported_model_animates_as_the_trained_one(tmp_path: Path) -> None:
    config = training_config(tmp_path, stage="joint")
    stage = build_stage(config).eval()
    export(stage, config, tmp_path)
    exported = Pipeline.from_pretrained(tmp_path, device="cpu", has_identity=False)
    trained = Pipeline(**{name: stage.network(name) for name in NETWORKS})
    person, rows = random_identity(np.random.default_rng(0)), random_motion(np.random.default_rng(1), 3)
    pictures = [render(person, row, 64) for row in rows]

    latents, frames = [], []
    for pipeline in (trained, exported):
        appearance = pipeline.encode_appearance(pictures[0], face(person, rows[0], 64), size=64)
        motion = pipeline.encode_motion(pictures, face_track(person, rows, 64))
        video = pipeline.sample(appearance, motion, SAMPLING)
        latents.append(appearance.image_latents * pipeline.vae.config.scaling_factor)
        frames.append(np.stack(list(pipeline.decode(video))).astype(int))

    assert (trained.vae.config.scaling_factor, exported.vae.config.scaling_factor) == (2.0, VAEConfig.scaling_factor)
    torch.testing.assert_close(latents[0], latents[1], rtol=1e-4, atol=1e-5)
    assert np.abs(frames[0] - frames[1]).max() <= 1
    assert MODEL.vae.scaling_factor == 2.0


def test_the_trained_networks_stay_as_they_are(tmp_path: Path) -> None:
    stage = build_stage(training_config(tmp_path, stage="joint"))
    networks = dict(stage.networks.items())
    before = {name: parameter.clone() for name, parameter in stage.named_parameters()}

    changed = at_released_scale(networks)

    assert {name for name in networks if changed[name] is not networks[name]} == {"unet", "vae"}
    assert all(torch.equal(parameter, before[name]) for name, parameter in stage.named_parameters())
    again = at_released_scale(changed)
    assert all(again[name] is changed[name] for name in changed)
    assert at_released_scale({"vae": networks["vae"]})["vae"] is networks["vae"]
