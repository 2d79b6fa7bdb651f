"""Skeletons through the node: from a detector, from OpenPose keypoints, and the released black one."""

from __future__ import annotations

import importlib
from copy import deepcopy
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

SIZE = 256
CROP = torch.full((1, SIZE, SIZE, 3), 0.5)
# OpenPose's order: nose, neck, right arm, left arm; then the hips, legs, eyes and ears.
SKELETON = [(128, 80), (128, 130), (90, 130), (70, 180), (80, 220), (166, 130), (186, 180), (176, 220)]
EYES_AND_EARS = [(118, 72), (138, 72), (105, 78), (151, 78)]


def person(scale: float = 1, shift: tuple[float, float] = (0, 0)) -> dict[str, Any]:
    """Somebody seen down to the hands; what is not seen is (0, 0) of score 0, as DWPose writes it."""
    points = np.zeros((18, 3))
    points[:8, :2] = np.array(SKELETON) * scale + shift
    points[14:, :2] = np.array(EYES_AND_EARS) * scale + shift
    points[[*range(8), *range(14, 18)], 2] = 1
    return {
        "pose_keypoints_2d": points.ravel().tolist(),
        "face_keypoints_2d": None,
        "hand_left_keypoints_2d": None,
        "hand_right_keypoints_2d": None,
    }


def frame(*people: dict[str, Any], width: int = SIZE, height: int = SIZE) -> dict[str, Any]:
    return {"people": list(people), "canvas_width": width, "canvas_height": height}


def moved(right: float) -> dict[str, Any]:
    """The same body in a larger picture, half as large and somewhere else, and then to the right."""
    return frame(person(0.5, (100 + right, 40)), width=640, height=360)


PORTRAIT = [frame(person())]
DRIVER = [moved(0), moved(10), frame(width=640, height=360), moved(-10)]


class Node:
    """The node, called as ComfyUI calls it, and a detector whose person stands where the picture is bright."""

    def __init__(self, pack: ModuleType) -> None:
        def module(name: str) -> Any:
            return importlib.import_module(f"{pack.__name__}.{name}")

        self.errors = module("hunyuan_core.errors")
        self.drawing = module("hunyuan_core.pose.drawing")
        self.openpose = module("hunyuan_core.pose.openpose")
        self.node = module("nodes.pose").HunyuanPortraitAlignPose

    def detect(self, image: np.ndarray) -> list[Any]:
        level = int(image[0, 0, 0])
        return self.whole_bodies(frame(person(0.5, (level, 40)) if level != 128 else person())) if level else []

    def whole_bodies(self, keypoints: dict[str, Any]) -> list[Any]:
        return self.openpose.read_openpose([keypoints], "test")[0].people

    def drawn(self, keypoints: dict[str, Any], *, has_eyes: bool = False) -> np.ndarray:
        (one,) = self.whole_bodies(keypoints)
        return self.drawing.draw_pose(one, SIZE, SIZE, has_eyes=has_eyes)

    def run(self, crop: Any = CROP, cross_reenactment: bool = True, **sources: Any) -> Any:
        return self.node.execute(crop, cross_reenactment, **sources)


@pytest.fixture(scope="module")
def node(pack: ModuleType) -> Node:
    return Node(pack)


def as_uint8(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().to(torch.uint8).numpy()


def test_the_schema(node: Node) -> None:
    schema = node.node.GET_SCHEMA()

    assert schema.node_id == "HunyuanPortraitAlignPose" == node.node.__name__
    assert schema.category == "HunyuanPortrait/Pose"
    assert {entry.id: bool(entry.optional) for entry in schema.inputs} == {
        "crop": False,
        "frames": True,
        "pose_detector": True,
        "portrait_keypoints": True,
        "driving_keypoints": True,
        "cross_reenactment": False,
    }
    assert all(entry.tooltip for entry in [*schema.inputs, *schema.outputs])


def test_with_nothing_connected_there_is_one_black_picture_of_the_crops_size(node: Node) -> None:
    output = node.run()

    assert output.result[0].shape == CROP.shape
    assert not output.result[0].any()
    assert len(output.ui.as_dict()["images"]) == 1


def test_keypoints_are_drawn_at_the_portraits_place_and_size(node: Node) -> None:
    pictures = as_uint8(node.run(portrait_keypoints=PORTRAIT, driving_keypoints=DRIVER).result[0])

    assert pictures.shape == (4, SIZE, SIZE, 3)
    # The driver is half as large: 10 of his pixels are 20 of the portrait's.
    for number, right in ((0, 0), (1, 20), (3, -20)):
        expected = node.drawn(frame(person(shift=(right, 0))))
        assert expected.any()
        # A point between two pixels may be rounded either way.
        assert (pictures[number] != expected).any(axis=-1).mean() < 1e-3
    assert not pictures[2].any()


def test_a_detector_gives_what_its_keypoints_give(node: Node) -> None:
    levels = [100, 110, 0, 90]
    frames = torch.stack([torch.full((360, 640, 3), level / 255) for level in levels])

    detected = node.run(frames=frames, pose_detector=node).result[0]

    given = node.run(portrait_keypoints=PORTRAIT, driving_keypoints=DRIVER).result[0]
    assert torch.equal(detected, given)


def test_the_eyes_are_drawn_between_pictures_of_one_person(node: Node) -> None:
    same, cross = (
        as_uint8(node.run(cross_reenactment=is_cross, portrait_keypoints=PORTRAIT, driving_keypoints=DRIVER).result[0])
        for is_cross in (False, True)
    )

    assert (same[0] != node.drawn(PORTRAIT[0], has_eyes=True)).any(axis=-1).mean() < 1e-3
    assert same[0, 72, 118].any()
    assert not cross[0, 72, 118].any()


def test_at_most_eight_pictures_are_previewed(node: Node) -> None:
    output = node.run(portrait_keypoints=PORTRAIT, driving_keypoints=DRIVER * 5)

    assert len(output.result[0]) == 20
    assert len(output.ui.as_dict()["images"]) == 8


def hidden(keypoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same people with every score 0."""
    keypoints = deepcopy(keypoints)
    for one in (one for frame in keypoints for one in frame["people"]):
        one["pose_keypoints_2d"][2::3] = [0] * 18
    return keypoints


@pytest.mark.parametrize(
    ("error", "message", "given"),
    [
        ("MediaError", "crop takes one picture; got 2", {"crop": CROP.repeat(2, 1, 1, 1)}),
        ("MediaError", "crop must be an IMAGE", {"crop": "portrait"}),
        ("ConfigurationError", "frames is connected; connect pose_detector with frames", {"frames": CROP}),
        (
            "ConfigurationError",
            "portrait_keypoints is connected; .* portrait_keypoints with driving_keypoints, or none of the four",
            {"portrait_keypoints": PORTRAIT},
        ),
        (
            "ConfigurationError",
            "frames and portrait_keypoints and driving_keypoints are connected; connect",
            {"frames": CROP, "portrait_keypoints": PORTRAIT, "driving_keypoints": DRIVER},
        ),
        (
            "ConfigurationError",
            "pose_detector got a str; connect .* 'Load HunyuanPortrait Pose Detector'",
            {"frames": CROP, "pose_detector": "dwpose"},
        ),
        ("FaceNotFoundError", "nobody was detected in the portrait", {"crop": CROP * 0, "frames": CROP}),
        ("FaceNotFoundError", "nobody was detected in any frame", {"frames": CROP * 0}),
        ("MediaError", "frames holds no picture", {"frames": CROP[:0]}),
        ("ConfigurationError", "portrait_keypoints must be a list", {"portrait_keypoints": "pose"}),
        ("ConfigurationError", "driving_keypoints, frame 0 must have 'people'", {"driving_keypoints": [{}]}),
        ("ConfigurationError", "driving_keypoints must be a list .* at least one", {"driving_keypoints": []}),
        (
            "ShapeError",
            "portrait_keypoints must belong to one picture, the crop; got 4",
            {"portrait_keypoints": DRIVER},
        ),
        (
            "ShapeError",
            "portrait_keypoints were found in a picture of 640×360 pixels, but crop has 256×256; run .* on the crop",
            {"portrait_keypoints": [moved(0)]},
        ),
        ("FaceNotFoundError", "portrait_keypoints holds nobody; use", {"portrait_keypoints": hidden(PORTRAIT)}),
        ("FaceNotFoundError", "nobody was detected in any frame", {"driving_keypoints": hidden(DRIVER)}),
    ],
)
def test_bad_input_is_named_with_its_remedy(node: Node, error: str, message: str, given: dict[str, Any]) -> None:
    if "keypoints" in " ".join(given) and "connected" not in message:
        given = {"portrait_keypoints": PORTRAIT, "driving_keypoints": DRIVER} | given
    if "frames" in given and "connected" not in message:
        given = {"pose_detector": node} | given
    with pytest.raises(getattr(node.errors, error), match=message) as caught:
        node.run(**given)

    assert "\n" not in str(caught.value)


def test_what_cores_sdpose_node_writes_is_read_point_by_point(node: Node) -> None:
    sdpose = pytest.importorskip("comfy_extras.nodes_sdpose", reason="this ComfyUI has no SDPose")
    generator = np.random.default_rng(0)
    points, scores = generator.uniform(10, 200, (133, 2)).astype(np.float32), generator.uniform(0.4, 1, 133)
    points[7], scores[7] = -1, 0  # an elbow that was not found
    scores[17:23] = 0  # feet, which are never drawn

    (written,) = sdpose._to_openpose_frames([[points]], [[scores]], height=256, width=320)
    (read,) = node.whole_bodies(written)

    # It calls COCO-WholeBody's left hand, the points from 91, the right one.
    order = [*range(91), *range(112, 133), *range(91, 112)]
    is_seen = scores[order] > 0
    assert np.array_equal(read.is_seen, is_seen)
    assert np.allclose(read.points[is_seen], points[order][is_seen])
    assert np.allclose(read.scores[is_seen], scores[order][is_seen])


class Cancelling:
    """Presses cancel while the second frame is searched; the portrait comes before the frames."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.looked_at = 0

    def detect(self, image: np.ndarray) -> list[Any]:
        import comfy.model_management as management

        self.looked_at += 1
        if self.looked_at == 3:
            management.interrupt_current_processing()
        return self._node.detect(image)


def test_cancel_stops_before_the_next_frame(node: Node) -> None:
    import comfy.model_management as management

    detector = Cancelling(node)
    try:
        with pytest.raises(management.InterruptProcessingException):
            node.run(frames=torch.full((9, 16, 16, 3), 0.4), pose_detector=detector)
    finally:
        management.interrupt_current_processing(False)
    assert detector.looked_at == 3
