"""The appearance node in a real ComfyUI, with the tiny untrained networks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

SIZE = 64
BOX = np.array([30.0, 20, 60, 55])
LANDMARKS = np.array([[37.0, 30], [53, 30], [45, 38], [39, 46], [51, 46]])
PORTRAITS = np.random.default_rng(0).integers(0, 256, (2, 80, 96, 3), dtype=np.uint8)
RELEASED = {"size": SIZE, "identity_strength": 1.0, "noise_aug_strength": 0.0, "seed": 72580}


@pytest.fixture(autouse=True)
def as_comfyui_runs_nodes() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def core(pack: ModuleType) -> SimpleNamespace:
    """The core as the pack imports it."""
    names = ("config", "data", "errors", "faces.crops", "faces.identity", "faces.manual", "pipeline")
    modules = {name: importlib.import_module(f"{pack.__name__}.hunyuan_core.{name}") for name in names}
    return SimpleNamespace(**{name.rpartition(".")[2]: module for name, module in modules.items()})


@pytest.fixture(scope="module")
def bridge(pack: ModuleType) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            name: importlib.import_module(f"{pack.__name__}.nodes.comfy_bridge.{name}")
            for name in ("memory", "vae", "guider")
        }
    )


@pytest.fixture(scope="module")
def node(pack: ModuleType) -> Any:
    return importlib.import_module(f"{pack.__name__}.nodes.appearance").HunyuanPortraitEncodeAppearance


@pytest.fixture(scope="module")
def arcface(core: SimpleNamespace) -> Any:
    class Colours(core.identity.ArcFace):
        """Recognises people by the colours of their aligned face; the real network needs onnxruntime."""

        def __init__(self) -> None:
            pass

        def embed(self, crop: np.ndarray) -> np.ndarray:
            embedding = np.zeros(512, np.float32)
            embedding[:3] = crop.mean(axis=(0, 1))
            return embedding / np.linalg.norm(embedding)

    return Colours()


@pytest.fixture(scope="module")
def pipeline(core: SimpleNamespace, arcface: Any) -> Any:
    return replace(core.pipeline.Pipeline.untrained_tiny(device="cpu"), arcface=arcface)


@pytest.fixture(scope="module")
def sockets(core: SimpleNamespace, bridge: SimpleNamespace, pipeline: Any, arcface: Any) -> dict[str, Any]:
    """What is connected to the node."""
    encoder = bridge.memory.ImageEncoder(
        *(bridge.memory.ManagedNetwork(getattr(pipeline, name)) for name in ("vision", "token_projection"))
    )
    vae = bridge.vae.PortraitVAE(pipeline.vae)
    return {
        "image_encoder": encoder,
        "vae": vae,
        "portrait": image(),
        "track": track(core),
        "arcface": arcface,
    }


def image(number: int = 0) -> torch.Tensor:
    return torch.from_numpy(PORTRAITS[number : number + 1]).float() / 255


def track(core: SimpleNamespace, num_frames: int = 1, box: np.ndarray = BOX) -> Any:
    frames = np.stack([box] * num_frames), np.stack([LANDMARKS] * num_frames)
    return core.data.FaceTrack(*frames, np.ones(num_frames, bool))


def assert_equal(found: Any, expected: Any) -> None:
    for name in ("image_tokens", "image_latents", "id_embedding"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_every_input_and_output_has_a_tooltip(node: Any) -> None:
    schema = node.GET_SCHEMA()

    assert schema.node_id == node.__name__
    assert schema.category == "HunyuanPortrait/Appearance"
    assert [part.id or part.display_name for part in (*schema.inputs, *schema.outputs) if not part.tooltip] == []
    defaults = {part.id: part.default for part in schema.inputs if part.id in RELEASED}
    assert defaults == {**RELEASED, "size": 512}


@pytest.mark.parametrize("noise_aug_strength", [0.0, 0.25])
@pytest.mark.parametrize("has_arcface", [True, False])
def test_the_appearance_is_the_pipelines(
    node: Any, core: SimpleNamespace, pipeline: Any, sockets: dict, has_arcface: bool, noise_aug_strength: float
) -> None:
    if not has_arcface:
        sockets = {name: value for name, value in sockets.items() if name != "arcface"}
        pipeline = replace(pipeline, arcface=None)
    config = core.config.SamplingConfig(noise_aug_strength=noise_aug_strength, seed=7)

    found = node.execute(**sockets, **{**RELEASED, "noise_aug_strength": noise_aug_strength, "seed": 7}).args

    expected = pipeline.encode_appearance(PORTRAITS[0], core.data.Face(BOX, LANDMARKS), size=SIZE, config=config)
    assert_equal(found[0], expected)
    assert bool(expected.id_embedding.any()) is has_arcface
    assert found[3]["samples"].shape == (1, 4, SIZE // 8, SIZE // 8)
    assert torch.equal(found[3]["samples"][0], expected.image_latents)


def test_the_square_and_what_it_shows(node: Any, core: SimpleNamespace, sockets: dict) -> None:
    output = node.execute(**sockets, **RELEASED)
    _, square, crop, latents, report = output.args

    x1, y1, x2, y2 = core.crops.square_box(BOX, 80, 96)
    assert square == {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    expected = core.crops.reference_crop(PORTRAITS[0], BOX, SIZE)
    assert np.array_equal((crop[0] * 255).round().byte().numpy(), expected)
    assert latents["hunyuan_portrait_padding"] == 0
    assert report.splitlines() == [
        f"square of {x2 - x1}×{y2 - y1} pixels at ({x1}, {y1}), animated at 64×64",
        "identity: from ArcFace, strength 1",
    ]
    assert len(output.ui.as_dict()["images"]) == 1


def test_the_strength_of_the_identity(node: Any, sockets: dict) -> None:
    def encoded(**changes: Any) -> Any:
        return node.execute(**{**sockets, **RELEASED, **changes}).args[0]

    released, half = encoded(), encoded(identity_strength=0.5)
    assert torch.equal(half.id_embedding, released.id_embedding / 2)
    assert not torch.equal(half.image_tokens, released.image_tokens)
    assert_equal(encoded(identity_strength=0.0), encoded(arcface=None))
    assert torch.equal(half.image_latents, released.image_latents)


def test_no_arcface_is_said(node: Any, sockets: dict) -> None:
    report = node.execute(**{**sockets, "arcface": None}, **RELEASED).args[-1]

    assert "identity: left out, a zero vector, because there is no arcface" in report


def test_a_box_by_hand_is_warned_of(node: Any, core: SimpleNamespace, sockets: dict) -> None:
    (face,) = core.manual.ManualDetector(box=BOX).detect(PORTRAITS[0])
    by_hand = core.data.FaceTrack(face.box[None], face.landmarks[None], np.ones(1, bool))

    reports = [
        node.execute(**{**sockets, "track": by_hand, "arcface": network}, **RELEASED).args[-1]
        for network in (sockets["arcface"], None)
    ]

    assert "read at guessed places; disconnect arcface for a drawing or an animal" in reports[0]
    assert "guessed" not in reports[1]


def test_a_small_portrait_is_warned_of(node: Any, sockets: dict) -> None:
    report = node.execute(**sockets, **{**RELEASED, "size": 256}).args[-1]

    assert "enlarged more than twice" in report


def test_a_vae_in_half_precision_is_warned_of(node: Any, core: SimpleNamespace, bridge: Any, sockets: dict) -> None:
    half = core.pipeline.Pipeline.untrained_tiny(device="cpu").vae
    nn.Module.to(half, torch.bfloat16)

    report = node.execute(**{**sockets, "vae": bridge.vae.PortraitVAE(half)}, **RELEASED).args[-1]

    assert "Warning: this VAE encodes in bfloat16, the release in float32; use 'Load HunyuanPortrait VAE'" in report


def test_two_portraits_differ(node: Any, sockets: dict) -> None:
    first, second = (node.execute(**{**sockets, "portrait": image(i)}, **RELEASED).args[0] for i in (0, 1))

    assert not torch.equal(first.image_tokens, second.image_tokens)
    assert not torch.equal(first.image_latents, second.image_latents)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_encoder": "text"}, "image_encoder got a str; connect .*Load HunyuanPortrait Image Encoder"),
        ({"vae": "text"}, "vae must be the VAE of Stable Video Diffusion; got a str"),
        ({"arcface": "text"}, "arcface got a str; connect .*Load HunyuanPortrait ArcFace"),
        ({"track": "text"}, "track got a str; connect .*HunyuanPortrait Detect Faces"),
        ({"portrait": "text"}, "portrait must be an IMAGE"),
        ({"portrait": torch.zeros(0, 80, 96, 3)}, "portrait holds no picture"),
        ({"portrait": torch.zeros(2, 80, 96, 3)}, "portrait takes one picture; got 2"),
        ({"portrait": torch.zeros(1, 16, 16, 3)}, "lies outside the image of 16×16 pixels"),
        ({"size": 68}, "size must be a multiple of 8 from 64 to 4096; got 68"),
        ({"identity_strength": 3.0}, "identity_strength must be a number from 0 to 2; got 3.0"),
        ({"noise_aug_strength": -1.0}, "noise_aug_strength"),
    ],
)
def test_bad_inputs(node: Any, core: SimpleNamespace, sockets: dict, changes: dict, message: str) -> None:
    with pytest.raises(core.errors.HunyuanPortraitError, match=message):
        node.execute(**{**sockets, **RELEASED, **changes})


def test_the_track_of_a_video(node: Any, core: SimpleNamespace, sockets: dict) -> None:
    with pytest.raises(
        core.errors.ConfigurationError, match="track has 3 frames, but portrait is one picture; connect"
    ):
        node.execute(**{**sockets, "track": track(core, 3)}, **RELEASED)


def test_cancel_stops_between_the_networks(node: Any, sockets: dict) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing(True)

    with pytest.raises(management.InterruptProcessingException):
        node.execute(**sockets, **RELEASED)
