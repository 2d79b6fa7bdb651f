"""The model that the pack carries, in the nodes; here untrained networks of its kind lie in its place."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

SEED, T, SIZE = 4, 6, 64
CHANNELS = 8
"""Of the carried model's latents; SVD's have four."""


class Toy:
    """The pack's modules over a folder of such networks."""

    def __init__(self, pack: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def module(name: str) -> Any:
            return importlib.import_module(f"{pack.__name__}.{name}")

        nodes = ("loaders", "example", "appearance", "motion", "sampler", "output")
        self.node = {node.__name__: node for name in nodes for node in module(f"nodes.{name}").NODES}
        self.demo, self.errors = module("hunyuan_core.demo"), module("hunyuan_core.errors")
        self.toy, self.pipeline = module("hunyuan_core.toy"), module("hunyuan_core.pipeline").Pipeline
        self.world, self.folder = module("hunyuan_core.training.toyworld"), folder
        monkeypatch.setattr(self.toy, "TOY_FOLDER", folder)
        monkeypatch.setattr(module("nodes.loaders"), "TOY_FOLDER", folder)
        self._write(module)

    def _write(self, module: Any) -> None:
        from tiny_models import write_arcface

        tiny = module("hunyuan_core.config").ModelConfig.tiny()
        config = replace(
            tiny,
            unet=replace(tiny.unet, in_channels=2 * CHANNELS, out_channels=CHANNELS),
            vae=replace(tiny.vae, latent_channels=CHANNELS),
        )
        torch.manual_seed(0)
        checkpoints = module("hunyuan_core.checkpoints")
        for file in checkpoints.FILES:
            if file.is_network:
                network = module("hunyuan_core.models").build(file.name, config)
                checkpoints.save_network(file.name, network, config, self.folder / file.filename)
        write_arcface(self.folder / "arcface.onnx")
        reader = module("hunyuan_core.training.toyworld.reader").Reader()
        save_file(reader.state_dict(), self.folder / "reader.safetensors")

    def run(self, name: str, **given: object) -> tuple[Any, ...]:
        """Execute a node, with its defaults for what is not given."""
        node = self.node[f"HunyuanPortrait{name}"]
        defaults = {i.id: i.as_dict().get("default") for i in node.GET_SCHEMA().inputs if not i.optional}
        return node.execute(**{**defaults, **given}).result


@pytest.fixture
def toy(pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    return Toy(pack, tmp_path / "toy_model", monkeypatch)


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


def test_the_example_is_a_scene_of_the_drawn_world(toy: Toy):
    portrait, driver, truth, fps = toy.run("DrawnExample", seed=SEED, num_frames=T, size=SIZE)
    scene = toy.demo.Scene.draw(SEED, T, SIZE)

    assert [tuple(part.shape) for part in (portrait, driver, truth)] == [(n, SIZE, SIZE, 3) for n in (1, T, T)]
    for frames, expected in ((portrait, [scene.portrait()]), (driver, scene.driver()), (truth, scene.truth())):
        assert np.array_equal((frames * 255).round().to(torch.uint8).numpy(), np.stack(list(expected)))
    assert fps == 25


def test_the_nodes_animate_as_the_library_does(toy: Toy):
    scene, world = toy.demo.Scene.draw(SEED, T, SIZE), toy.world
    face = world.face(scene.person, scene.pose, SIZE)
    track = world.face_track(scene.performer, scene.motion, SIZE)
    still = world.face_track(scene.person, scene.pose[None], SIZE)
    config = replace(toy.toy.TOY_SAMPLING, num_inference_steps=3, seed=5)
    pipeline = toy.pipeline.toy(device="cpu", dtype=torch.float32)
    appearance = pipeline.encode_appearance(scene.portrait(), face, size=SIZE)
    motion = pipeline.encode_motion(scene.driver(), track)
    expected = np.stack(list(pipeline.decode(pipeline.sample(appearance, motion, config), 5)))

    portrait, driver, _, _ = toy.run("DrawnExample", seed=SEED, num_frames=T, size=SIZE)
    model, vae, encoder, arcface, motion_encoder, guider, _ = toy.run("LoadAll", weights="toy", weight_dtype="fp32")
    appearance, *_ = toy.run(
        "EncodeAppearance", image_encoder=encoder, vae=vae, arcface=arcface, portrait=portrait, track=still, size=SIZE
    )
    (motion, *_) = toy.run("EncodeMotion", motion_encoder=motion_encoder, frames=driver, track=track)
    settings = {
        "steps": 3,
        "seed": 5,
        "image_guidance": 1.0,
        "motion_guidance": 1.0,
        "image_guidance_end": 1.0,
        "motion_guidance_end": 1.0,
        "context_window": 5,
        "context_overlap": 2,
        "context_shift": 2,
        "padding": 0,
    }
    samples, _ = toy.run("Sampler", model=model, appearance=appearance, motion=motion, pose_guider=guider, **settings)
    (frames,) = toy.run("Decode", vae=vae, samples=samples, chunk_size=5)

    assert samples["samples"].shape == (T, CHANNELS, SIZE // 8, SIZE // 8)
    assert np.abs((frames * 255).numpy() - expected).max() < 1.5


def test_an_example_workflows_own_settings_give_a_picture_too(toy: Toy):
    scene, world = toy.demo.Scene.draw(SEED, T, 128), toy.world
    portrait, driver, _, _ = toy.run("DrawnExample", seed=SEED, num_frames=T)
    model, vae, encoder, arcface, motion_encoder, guider, _ = toy.run("LoadAll", weights="toy")
    appearance, *_ = toy.run(
        "EncodeAppearance",
        image_encoder=encoder,
        vae=vae,
        arcface=arcface,
        portrait=portrait,
        track=world.face_track(scene.person, scene.pose[None], 128),
        size=256,
    )
    track = world.face_track(scene.performer, scene.motion, 128)
    (motion, *_) = toy.run("EncodeMotion", motion_encoder=motion_encoder, frames=driver, track=track)
    samples, _ = toy.run("Sampler", model=model, appearance=appearance, motion=motion, pose_guider=guider, steps=1)
    (frames,) = toy.run("Decode", vae=vae, samples=samples)

    assert frames.shape == (T, 256, 256, 3)
    assert frames.isfinite().all()


def test_what_finds_drawn_faces_comes_with_it(toy: Toy):
    *_, detector = toy.run("LoadAll", weights="toy")
    (alone,) = toy.run("LoadFaceDetector", detector="drawn", model_name="auto")

    assert type(detector) is type(alone)
    assert detector.detect(np.zeros((128, 128, 3), np.uint8)) == []  # untrained, it finds nothing
    with pytest.raises(toy.errors.ConfigurationError, match="no model of the face detector drawn; choose 'auto'"):
        toy.run("LoadFaceDetector", detector="drawn", model_name="yoloface_v5m.pt")


def test_latents_of_another_model_are_named(toy: Toy):
    _, vae, *_ = toy.run("LoadAll", weights="toy")
    with pytest.raises(toy.errors.ShapeError, match="samples has 4 channels, and this vae decodes 8"):
        toy.run("Decode", vae=vae, samples={"samples": torch.zeros(3, 4, 8, 8)})


def test_missing_files_are_named(toy: Toy):
    (toy.folder / "reader.safetensors").unlink()
    with pytest.raises(toy.errors.WeightsError, match=r"toy model is incomplete: .* lacks reader\.safetensors"):
        toy.run("LoadAll", weights="toy")
