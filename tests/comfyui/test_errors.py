"""Every bad input over the HTTP API: the error names node, input and remedy, and the server goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from golden_cases import ROOT

from .client import Client, NodeError, RejectedError
from .server import Server
from .small_graph import (
    NUM_FRAMES,
    PADDING,
    PREFIX,
    SIZE,
    faces,
    keypoints,
    latent,
    node,
    prompt_for,
    small_graph,
    tensor,
    thing,
    value,
)

SCHEMA: dict[str, Any] = json.loads((ROOT / "tests" / "nodes" / "schema.json").read_text())
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
ALL = [(kind, name, made) for kind, described in SCHEMA.items() for name, made in described["inputs"].items()]
SOCKETS = [(kind, name, made) for kind, name, made in ALL if made["type"] not in WIDGETS]
REMEDY = re.compile(
    r"(?i)\b(change|check|choose|connect|cut|disconnect|give|keep|load|lower|lengthen|must come from|pick|put|rescale|"
    r"resize|run|scale|set|switch|track it again|use)\b"
)
NO_BOX = {"box_width": 0, "box_height": 0}
LATENT_SIDE = SIZE // 8


@pytest.fixture
def client(strange_server: Server) -> Client:
    return Client(strange_server.url)


def at(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """A node of the small graph at which an input can be spoiled, and what else has to change there."""
    if kind == f"{PREFIX}DetectFaces" and name in ("face_detector", "landmarks", "boxes"):
        return "driver_face", NO_BOX
    found = [made for made, described in small_graph().items() if described["class_type"] == kind]
    return next((made for made in found if name in small_graph()[made]["inputs"]), found[0]), {}


def fail(client: Client, target: str, nodes: dict[str, Any] | None = None, **inputs: Any) -> NodeError:
    """Run the small graph with other inputs of one node, and further nodes; it must end in a good error there."""
    graph = small_graph() | (nodes or {})
    graph[target]["inputs"] |= inputs
    result = client.run(prompt_for(target, graph))
    error = result.error
    assert result.status == "error", result.outputs
    assert error is not None
    assert error.node_type == graph[target]["class_type"], error
    assert ".hunyuan_core.errors." in error.exception_type, error
    assert "\n" not in error.message
    assert REMEDY.search(error.message), error
    return error


def assert_named(error: NodeError, name: str) -> None:
    assert re.search(rf"\b{name}\b", error.message), error


def cases(*types: str) -> list[Any]:
    """Node, input and type of each socket that takes one of these types."""
    return [
        pytest.param(kind, name, made["type"], id=f"{kind.removeprefix(PREFIX)}-{name}")
        for kind, name, made in SOCKETS
        if not types or set(made["type"].split(",")) & set(types)
    ]


def test_the_small_graph_runs(client: Client) -> None:
    for target in ("evaluated", "pasted", "saved_video", "saved_motion", "given_pose", "combined", "any_sampler"):
        result = client.run(prompt_for(target))
        assert result.status == "success", result.error


@pytest.mark.parametrize(("kind", "name", "taken"), cases())
@pytest.mark.parametrize("wrong", ["text", "object"])
def test_something_else_at_any_socket(client: Client, kind: str, name: str, taken: str, wrong: str) -> None:
    target, changes = at(kind, name)
    given = "face.png" if wrong == "text" else ["wrong", 0]
    assert_named(fail(client, target, {"wrong": thing("object")}, **changes, **{name: given}), name)


@pytest.mark.parametrize(
    ("kind", "name", "taken"),
    [case for case in cases() if not SCHEMA[case.values[0]]["inputs"][case.values[1]]["is_optional"]],
)
def test_nothing_at_a_required_socket(client: Client, kind: str, name: str, taken: str) -> None:
    target, _ = at(kind, name)
    assert_named(fail(client, target, {"wrong": value(None)}, **{name: ["wrong", 0]}), name)


EMPTY = {
    "IMAGE": tensor(0, SIZE, SIZE, 3),
    "MASK": tensor(0, SIZE, SIZE),
    "LATENT": latent(0, 4, LATENT_SIDE, LATENT_SIDE),
    "VIDEO": node("CreateVideo", images=["no pictures", 0], fps=25.0, bit_depth=8),
    "BOUNDING_BOX": value([]),
    "POSE_KEYPOINT": value([]),
    "FACE_LANDMARKS": value({"frames": [], "image_size": [SIZE, SIZE]}),
}


@pytest.mark.parametrize(("kind", "name", "taken"), cases(*EMPTY))
def test_empty_batches(client: Client, kind: str, name: str, taken: str) -> None:
    target, changes = at(kind, name)
    for one in taken.split(","):
        nodes = {"wrong": EMPTY[one], "no pictures": EMPTY["IMAGE"]}
        assert_named(fail(client, target, nodes, **changes, **{name: ["wrong", 0]}), name)


SINGLE = {"portrait", "crop"}


@pytest.mark.parametrize("fill", ["nan", "inf"])
@pytest.mark.parametrize(("kind", "name", "taken"), cases("IMAGE", "LATENT", "MASK"))
def test_values_that_are_not_finite(client: Client, kind: str, name: str, taken: str, fill: str) -> None:
    target, changes = at(kind, name)
    if taken == "LATENT":
        wrong = latent(NUM_FRAMES, 4, LATENT_SIDE, LATENT_SIDE, fill=fill)
    elif taken == "MASK":
        wrong = tensor(1, SIZE, SIZE, fill=fill)
    else:
        wrong = tensor(1 if name in SINGLE else NUM_FRAMES, SIZE, SIZE, 3, fill=fill)
    assert_named(fail(client, target, {"wrong": wrong}, **changes, **{name: ["wrong", 0]}), name)


@pytest.mark.parametrize(("kind", "name", "taken"), cases("IMAGE"))
def test_pictures_of_one_channel(client: Client, kind: str, name: str, taken: str) -> None:
    target, changes = at(kind, name)
    nodes = {"wrong": tensor(1, SIZE, SIZE, 1)}
    assert_named(fail(client, target, nodes, **changes, **{name: ["wrong", 0]}), name)


def box(x: object = 16, y: object = 12, width: object = 32, height: object = 36) -> dict[str, object]:
    return {"x": x, "y": y, "width": width, "height": height}


def landmarks(num_frames: int, points: object = None, size: int = SIZE) -> dict[str, object]:
    """FACE_LANDMARKS with one face in each frame."""
    if points is None:
        points = [[20 + i % 24, 16 + i % 30] for i in range(478)]
    return {"frames": [[{"landmarks_xy": points}]] * num_frames, "image_size": [size, size]}


WRONG = ["wrong", 0]
NO_FACE = [
    ("driver_face", {**NO_BOX, "face_detector": ["blind", 0]}, None, r"^face_detector: No face .* any of the 5 frames"),
    (
        "driver_face",
        {**NO_BOX, "landmarks": WRONG},
        value({"frames": [[]] * NUM_FRAMES, "image_size": [SIZE, SIZE]}),
        r"^landmarks: No face .* any of the 5 frames",
    ),
    ("driver_face", {**NO_BOX, "boxes": WRONG}, value([[]] * NUM_FRAMES), r"^boxes: No face .* any of the 5 frames"),
    (
        "driver_face",
        {**NO_BOX, "boxes": WRONG, "choose": "index", "face_index": 3},
        value(box()),
        r"^boxes: No frame .* choose an index below 1",
    ),
    ("pose", {"pose_detector": ["blind", 0]}, None, "^crop: .*nobody was detected in the portrait"),
    ("given_pose", {"portrait_keypoints": WRONG}, value(keypoints(1, people=0)), "^portrait_keypoints holds nobody"),
    (
        "given_pose",
        {"driving_keypoints": WRONG},
        value(keypoints(NUM_FRAMES, people=0)),
        "driving_keypoints: .* nobody was detected in any frame",
    ),
]


@pytest.mark.parametrize(("target", "inputs", "wrong", "message"), NO_FACE)
def test_no_face(
    client: Client, target: str, inputs: dict[str, Any], wrong: dict[str, Any] | None, message: str
) -> None:
    error = fail(client, target, {"wrong": wrong} if wrong else {}, **inputs)
    assert re.search(message, error.message)
    assert error.exception_type.endswith("FaceNotFoundError")


LONGER = tensor(NUM_FRAMES + 1, SIZE, SIZE, 3)
SHORTER = tensor(NUM_FRAMES - 2, SIZE, SIZE, 3)
OTHER_SIZE = tensor(NUM_FRAMES, SIZE + 8, SIZE, 3)
MISMATCHED = [
    ("motion", {"frames": WRONG}, LONGER, r"^track does not fit frames: .* than the 5 of the face track"),
    ("motion", {"frames": WRONG}, SHORTER, r"^track does not fit frames: .*5 frames but the video only 3"),
    ("motion", {"frames": WRONG}, tensor(NUM_FRAMES, 8, 8, 3), r"^track does not fit frames: .* outside the image"),
    ("motion", {"track": ["portrait_face", 0]}, None, r"^track does not fit frames: .* than the 1 of"),
    ("appearance", {"track": ["driver_face", 0]}, None, r"^track has 5 frames, but portrait is one picture"),
    ("appearance", {"portrait": WRONG}, tensor(2, SIZE, SIZE, 3), r"^portrait takes one picture; got 2"),
    ("appearance", {"portrait": WRONG}, tensor(1, 8, 8, 3), r"^track does not fit portrait: .* outside the image"),
    ("pose", {"crop": WRONG}, tensor(2, SIZE, SIZE, 3), r"^crop takes one picture; got 2"),
    ("given_pose", {"portrait_keypoints": WRONG}, value(keypoints(2)), r"^portrait_keypoints .*one picture"),
    ("given_pose", {"portrait_keypoints": WRONG}, value(keypoints(1, size=32)), r"^portrait_keypoints .* 32×32"),
    ("combined", {"motion_b": ["portrait_motion", 0]}, None, r"^motion_a has 5 frames and motion_b 1; set fit"),
    ("combined", {"mode": "concatenate", "blend_frames": 9}, None, r"^blend_frames is 9, but"),
    ("edited", {"first_frame": 9}, None, r"^first_frame 9 .* reach past the motion's 5 frames"),
    ("edited", {"relative": False}, None, r"^portrait_motion is for relative only"),
    ("driver_face", {**NO_BOX, "landmarks": WRONG}, value(landmarks(4)), r"^landmarks belongs to 4 frames, .* has 5"),
    ("driver_face", {**NO_BOX, "landmarks": WRONG}, value(landmarks(5, size=32)), r"^landmarks .* 32×32 .* 64×64"),
    ("driver_face", {**NO_BOX, "boxes": WRONG}, value([[box()]] * 4), r"^boxes belongs to 4 frames, .* frames has 5"),
    ("driver_face", {**NO_BOX, "boxes": WRONG}, value(box(100, 100)), r"^boxes: .* outside the image of 64×64"),
    ("driver_face", {"box_x": 60}, None, r"^box_x, box_y, box_width and box_height: .* leaves the image of 64×64"),
    ("driver_face", {"box_height": 0}, None, r"^box_width and box_height must both"),
    ("driver_face", {"face_detector": ["blind", 0]}, None, r"^face_detector and box_width are given at once"),
    ("sampler", {"pose_images": WRONG}, LONGER, r"^pose_images must be \(5, 64, 64, 3\).*got \(6, 64, 64, 3\)"),
    ("sampler", {"pose_images": WRONG}, OTHER_SIZE, r"^pose_images must be \(5, 64, 64, 3\).*got \(5, 72, 64, 3\)"),
    ("pasted", {"background": WRONG}, SHORTER, r"^background has 3 frames, but the result 5"),
    ("saved_video", {"background": WRONG}, SHORTER, r"^background has 3 frames, but the result 5"),
    ("pasted", {"background": WRONG}, OTHER_SIZE, r"background must be as large as the portrait, 64x64"),
    ("saved_video", {"background": WRONG}, OTHER_SIZE, r"background must be as large as the portrait, 64x64"),
    ("pasted", {"mask": WRONG}, tensor(1, SIZE + 3, SIZE, fill="1"), r"mask must be as large as the portrait"),
    ("pasted", {"mask": WRONG}, tensor(2, SIZE, SIZE, fill="1"), r"^mask takes one mask for all frames; got 2"),
    ("pasted", {"mask": WRONG}, tensor(1, SIZE, SIZE, fill="7"), r"mask must lie between 0 and 1"),
    ("pasted", {"square": WRONG}, value(box(60, 60)), r"square .* must lie inside the portrait of 64x64"),
    ("pasted", {"square": WRONG}, value([box(), box()]), r"^square must be one box"),
    ("saved_video", {"square": WRONG}, value(None), r"give both portrait and square"),
    ("saved_video", {"driving": WRONG}, LONGER, r"^driving got pictures, which have neither times nor audio"),
    ("evaluated", {"reference": WRONG}, LONGER, r"reference has 6 frames but the result 5"),
    ("evaluated", {"result": WRONG}, SHORTER, r"reference has 5 frames but the result 3"),
    ("evaluated", {"result": WRONG}, OTHER_SIZE, r"Frame 0 of the result is 64×72 but the reference .* 64×64"),
]


@pytest.mark.parametrize(("target", "inputs", "wrong", "message"), MISMATCHED)
def test_what_does_not_fit_together(
    client: Client, target: str, inputs: dict[str, Any], wrong: dict[str, Any] | None, message: str
) -> None:
    error = fail(client, target, {"wrong": wrong} if wrong else {}, **inputs)
    assert re.search(message, error.message), error


def test_latents_of_another_video(client: Client) -> None:
    """The message comes out of core's node, which is where the latents are connected."""
    graph = small_graph()
    graph["wrong"] = node("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=NUM_FRAMES)
    graph["any_sampler"]["inputs"]["latent_image"] = WRONG
    error = client.run(prompt_for("any_sampler", graph)).error
    assert error is not None
    assert error.node_type == "SamplerCustomAdvanced"
    expected = f"({NUM_FRAMES + 2 * PADDING}, 4, {LATENT_SIDE}, {LATENT_SIDE})"
    assert error.message.startswith(f"latent_image must be {expected}")
    assert "Connect the latent_image of 'HunyuanPortrait Guider'" in error.message


FOREIGN = [
    ("driver_face", "landmarks", value({"frames": None, "image_size": [SIZE, SIZE]}), NO_BOX),
    ("driver_face", "landmarks", value({"frames": [[{}]] * 5, "image_size": [SIZE, SIZE]}), NO_BOX),
    ("driver_face", "landmarks", value({"frames": [3] * 5, "image_size": [SIZE, SIZE]}), NO_BOX),
    ("driver_face", "landmarks", value({"frames": [[3]] * 5, "image_size": [SIZE, SIZE]}), NO_BOX),
    ("driver_face", "landmarks", value({"frames": [[]] * 5, "image_size": None}), NO_BOX),
    ("driver_face", "landmarks", value(landmarks(5, "a text")), NO_BOX),
    ("driver_face", "landmarks", value(landmarks(5, [[1, 2]] * 68)), NO_BOX),
    ("driver_face", "landmarks", value(landmarks(5, [[float("nan")] * 2] * 478)), NO_BOX),
    ("driver_face", "boxes", value(box(x=float("nan"))), NO_BOX),
    ("driver_face", "boxes", value(box(x="left")), NO_BOX),
    ("driver_face", "boxes", value(box(width=0)), NO_BOX),
    ("driver_face", "boxes", value([3] * 5), NO_BOX),
    ("pasted", "square", value(box(x="left")), {}),
    ("pasted", "square", value(box(x=float("nan"))), {}),
    ("pasted", "square", value(box(x=None)), {}),
    ("saved_video", "square", value({"x": 1}), {}),
    ("given_pose", "driving_keypoints", value([3]), {}),
    ("given_pose", "driving_keypoints", value([{"people": None, "canvas_width": 64, "canvas_height": 64}]), {}),
    ("decoded", "samples", latent(1, 16, 3, LATENT_SIDE, LATENT_SIDE), {}),
    ("decoded", "samples", latent(7, 16, LATENT_SIDE, LATENT_SIDE), {}),
    ("sampler", "model", thing("other model"), {}),
    ("guider", "model", thing("other model"), {}),
    *((target, "vae", node("VAELoader", vae_name="pixel_space"), {}) for target in ("appearance", "decoded")),
    ("saved_video", "vae", node("VAELoader", vae_name="pixel_space"), {}),
]


@pytest.mark.parametrize(("target", "name", "wrong", "changes"), FOREIGN)
def test_what_other_nodes_make_of_a_type(
    client: Client, target: str, name: str, wrong: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert_named(fail(client, target, {"wrong": wrong}, **changes, **{name: WRONG}), name)


def test_another_sampler_for_the_model(client: Client) -> None:
    """KSampler is core's, but our MODEL says which node to take."""
    graph = small_graph()
    graph["conditioning"] = thing("conditioning")
    graph["other_sampler"] = node(
        "KSampler",
        model=["loaders", 0],
        seed=1,
        steps=1,
        cfg=1.0,
        sampler_name="euler",
        scheduler="normal",
        positive=["conditioning", 0],
        negative=["conditioning", 0],
        latent_image=["guider", 1],
        denoise=1.0,
    )
    error = client.run(prompt_for("other_sampler", graph)).error
    assert error is not None
    assert error.node_type == "KSampler"
    assert re.match("This MODEL is HunyuanPortrait's UNet, .*: use 'HunyuanPortrait Sampler'", error.message)


def widgets() -> list[Any]:
    """Node, widget and a value that is outside of it."""
    found = []
    for kind, name, made in ALL:
        if made["type"] not in WIDGETS:
            continue
        if made["type"] in ("INT", "FLOAT"):
            bad = [made["min"] - 1, made["max"] + 1 if made["type"] == "INT" else float("nan")]
        else:
            bad = [7 if made["type"] == "STRING" else "nonsense"]
        found += [pytest.param(kind, name, one, id=f"{kind.removeprefix(PREFIX)}-{name}-{one}") for one in bad]
    return found


@pytest.mark.parametrize(("kind", "name", "bad"), widgets())
def test_a_link_brings_a_value_outside_of_the_widget(client: Client, kind: str, name: str, bad: object) -> None:
    """ComfyUI checks what is typed in, not what comes by a link."""
    target, _ = at(kind, name)
    assert_named(fail(client, target, {"wrong": value(bad)}, **{name: WRONG}), name)


FILES = [(kind, name) for kind, name, _ in ALL if name.endswith(("_name", "_file"))]


@pytest.mark.parametrize(("kind", "name"), FILES, ids=lambda part: part.removeprefix(PREFIX))
def test_a_missing_file_is_refused_before_the_run(client: Client, kind: str, name: str) -> None:
    target, _ = at(kind, name)
    graph = small_graph()
    graph[target]["inputs"][name] = "missing.safetensors"
    with pytest.raises(RejectedError) as caught:
        client.run(prompt_for(target, graph))
    (error,) = [error for error in caught.value.errors if error.input_name == name]
    assert error.node_type == kind
    assert "missing.safetensors" in error.details
    assert REMEDY.search(error.details), error


BROKEN = [
    ("unet", "unet_name", "broken.safetensors"),
    ("vae", "vae_name", "broken.safetensors"),
    ("image_encoder", "vision_name", "broken.safetensors"),
    ("motion_encoder", "refiner_name", "unet_again.safetensors"),
    ("pose_guider", "pose_guider_name", "unet_again.safetensors"),
    ("motion_file", "motion_file", "broken.safetensors"),
]


@pytest.mark.parametrize(("target", "name", "file"), BROKEN)
def test_a_damaged_file_is_named(client: Client, strange_server: Server, target: str, name: str, file: str) -> None:
    models = strange_server.models / "hunyuan_portrait"
    (models / "broken.safetensors").write_bytes(b"not a file of weights" * 100)
    (models / "unet_again.safetensors").write_bytes(next(models.rglob("unet.pth")).read_bytes())
    (strange_server.input / "broken.safetensors").write_bytes(b"not a motion" * 100)
    error = fail(client, target, **{name: file})
    assert_named(error, name)
    assert file in error.message


def test_a_damaged_video_is_named(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a video" * 100)
    nodes = {"wrong": node("LoadVideo", file=client.upload(path)), "driver_face": faces("wrong")}
    error = fail(client, "driver_face", nodes)
    assert_named(error, "frames")
    assert "broken.mp4" in error.message


def test_the_server_goes_on(client: Client) -> None:
    result = client.run(prompt_for("pasted"))
    assert result.status == "success", result.error
