"""Face detection through the node: every source of faces, the report, the preview, and what is refused."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

HEIGHT, WIDTH = 120, 200
Box = tuple[int, int, int, int]
SETTINGS: dict[str, Any] = {
    "choose": "largest",
    "face_index": 0,
    "position_x": 0,
    "position_y": 0,
    "smoothing": 1,
    "box_x": 0,
    "box_y": 0,
    "box_width": 0,
    "box_height": 0,
}
SHADES = (250, 200)
BY_HAND = {"box_x": 10, "box_y": 20, "box_width": 60, "box_height": 80}


def picture(*boxes: Box) -> np.ndarray:
    """Black, with a rectangle for each face in a shade of its own."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for shade, (x1, y1, x2, y2) in zip(SHADES, boxes, strict=False):
        image[y1:y2, x1:x2] = shade
    return image


def as_image(*frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(frames)).float() / 255


def as_video(frames: torch.Tensor, path: Path) -> Any:
    """A file of lossless frames, as 'Load Video' gives it."""
    import av
    from comfy_api.latest import InputImpl

    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for frame in (frames * 255).round().to(torch.uint8).numpy():
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode())
    return InputImpl.VideoFromFile(str(path))


MOVING = as_image(*[picture((20 + 2 * i, 10, 80 + 2 * i, 90)) for i in range(5)])


class Node:
    """The node, called as ComfyUI calls it, and a detector that finds the rectangles of ``picture``."""

    def __init__(self, pack: ModuleType) -> None:
        self.errors = importlib.import_module(f"{pack.__name__}.hunyuan_core.errors")
        self.data = importlib.import_module(f"{pack.__name__}.hunyuan_core.data")
        self.manual = importlib.import_module(f"{pack.__name__}.hunyuan_core.faces.manual")
        self.mediapipe = importlib.import_module(f"{pack.__name__}.hunyuan_core.faces.mediapipe_backend")
        self.node = importlib.import_module(f"{pack.__name__}.nodes.faces").HunyuanPortraitDetectFaces
        self.looked_at = 0

    def detect(self, image: np.ndarray) -> list[Any]:
        self.looked_at += 1
        faces = []
        for shade in SHADES:
            rows, columns = np.nonzero(image[..., 0] == shade)
            if rows.size:
                box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
                faces.append(self.data.Face(box, self.manual.landmarks_in_box(box)))
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def run(self, frames: Any = MOVING, **changes: Any) -> Any:
        return self.node.execute(frames, **(SETTINGS | changes))


@pytest.fixture
def node(pack: ModuleType) -> Node:
    return Node(pack)


def mesh_at(x: float, y: float) -> np.ndarray:
    """478 points in a face of 60x80 pixels."""
    points = np.random.default_rng(0).random((478, 2)) * (60, 80)
    points[:4] = [(0, 0), (60, 0), (0, 80), (60, 80)]
    return np.add(points, (x, y)).astype(np.float32)


def landmarks(*frames: list[np.ndarray], size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    return {
        "frames": [[{"landmarks_xy": mesh, "score": 1.0} for mesh in meshes] for meshes in frames],
        "image_size": size,
        "connection_sets": {},
    }


def box(x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, **more}


def test_the_schema(node: Node) -> None:
    schema = node.node.GET_SCHEMA()

    assert schema.node_id == "HunyuanPortraitDetectFaces" == node.node.__name__
    assert schema.category == "HunyuanPortrait/Faces"
    assert [entry.id for entry in schema.inputs if not entry.optional] == ["frames", *SETTINGS]
    assert {name: entry.default for entry in schema.inputs if (name := entry.id) in SETTINGS} == SETTINGS
    assert all(entry.tooltip for entry in [*schema.inputs, *schema.outputs])


def test_a_detector_follows_the_face_and_the_preview_shows_every_frame(node: Node) -> None:
    frames = MOVING.clone()
    frames[2] = 0

    output = node.run(frames, face_detector=node)

    track, preview, report = output.result
    assert track.boxes.tolist() == [[20 + 2 * i, 10, 80 + 2 * i, 90] for i in range(5)]
    assert track.filled_frames == [2]
    assert report.splitlines()[:2] == [
        "frames: 5 of 200×120 pixels",
        "1 without a face, filled from their neighbours: 2",
    ]
    assert "smallest 60, median 60, largest 60" in report
    assert "face is small" in report
    # Three columns and two rows of 200x120.
    assert preview.shape == (1, 2 * 120 + 4, 3 * 200 + 2 * 4, 3)
    assert torch.allclose(preview[0, 10, 50], torch.tensor([80, 220, 100]) / 255)
    assert len(output.ui.as_dict()["images"]) == 1


def test_a_video_is_searched_once_and_gives_what_its_pictures_give(node: Node, tmp_path: Path) -> None:
    from_video = node.run(as_video(MOVING, tmp_path / "clip.mkv"), face_detector=node)
    looked_at = node.looked_at
    from_images = node.run(face_detector=node)

    assert looked_at == len(MOVING)
    assert np.array_equal(from_video.result[0].boxes, from_images.result[0].boxes)
    assert from_video.result[2] == from_images.result[2]
    assert torch.equal(from_video.result[1], from_images.result[1])


def test_the_face_is_chosen_by_place_or_position(node: Node) -> None:
    frames = as_image(*[picture((100, 10, 180, 100), (10, 10, 50, 60))] * 2)
    left, right = [10, 10, 50, 60], [100, 10, 180, 100]

    def chosen(**choice: Any) -> list[float]:
        return node.run(frames, face_detector=node, **choice).result[0].boxes[0].tolist()

    assert chosen() == right
    assert chosen(choose="index", face_index=0) == left
    assert chosen(choose="index", face_index=1) == right
    assert chosen(choose="position", position_x=30, position_y=100) == left
    # Numbers of a choice that is not made do not matter.
    assert chosen(face_index=7, position_x=30) == right


def test_smoothing_averages_over_frames(node: Node) -> None:
    frames = as_image(*[picture((20 + x, 10, 80 + x, 90)) for x in (0, 9, 0)])

    assert node.run(frames, face_detector=node, smoothing=3).result[0].boxes[:, 0].tolist() == [23, 23, 23]


def test_landmarks_of_cores_node_become_what_mediapipe_gives_here(node: Node) -> None:
    first, second = mesh_at(20, 30), mesh_at(30, 30)

    track = node.run(landmarks=landmarks([first], [], [second, second / 4], [second], [second])).result[0]

    expected = node.mediapipe.face_from_mesh(second.astype(np.float64))
    assert track.boxes[0].tolist() == pytest.approx([20, 30 - 0.11 * 80, 80, 110])
    assert np.array_equal(track.boxes[2], expected.box)
    assert np.array_equal(track.landmarks[2], expected.landmarks)
    assert track.filled_frames == [1]


@pytest.mark.parametrize(
    "boxes",
    [
        box(10, 20, 60, 80),
        [box(10, 20, 60, 80, score=0.9, label="face"), box(100, 20, 30, 30)],
        [[box(10, 20, 60, 80)]],
        [[box(10, 20, 60, 80)]] * 5,
    ],
)
def test_every_form_of_boxes_is_the_box_by_hand(node: Node, boxes: Any) -> None:
    from_boxes, by_hand = node.run(boxes=boxes).result[0], node.run(**BY_HAND).result[0]

    assert from_boxes.boxes.tolist() == [[10, 20, 70, 100]] * 5
    assert np.array_equal(from_boxes.boxes, by_hand.boxes)
    assert np.array_equal(from_boxes.landmarks, by_hand.landmarks)
    assert by_hand.filled_frames == []


def test_frames_without_a_box_are_filled(node: Node) -> None:
    track = node.run(boxes=[[box(10, 20, 60, 80)], [], [], [], [box(50, 20, 60, 80)]]).result[0]

    assert track.boxes[:, 0].tolist() == [10, 20, 30, 40, 50]
    assert track.filled_frames == [1, 2, 3]


def test_a_portrait_is_shown_in_its_own_size(node: Node) -> None:
    assert node.run(MOVING[:1], **BY_HAND).result[1].shape == (1, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("error", "message", "given"),
    [
        (
            "ConfigurationError",
            "nothing to find faces with; connect face_detector, landmarks or boxes, or set box_",
            {},
        ),
        (
            "ConfigurationError",
            "landmarks and box_width are given at once; keep one",
            {"landmarks": landmarks(*[[mesh_at(9, 9)]] * 5), **BY_HAND},
        ),
        ("ConfigurationError", "face_detector got a str; connect .*Load .* Face Detector", {"face_detector": "yolo"}),
        ("ConfigurationError", "landmarks got a list; connect 'Detect Face Landmarks", {"landmarks": [1]}),
        ("ConfigurationError", "landmarks got a dict; connect 'Detect Face Landmarks", {"landmarks": {"frames": []}}),
        ("ShapeError", "landmarks belongs to 1 frames, but frames has 5", {"landmarks": landmarks([mesh_at(9, 9)])}),
        (
            "ShapeError",
            "landmarks were found in pictures of 60×50 pixels, but frames has 200×120; connect the same pictures",
            {"landmarks": landmarks(*[[]] * 5, size=(50, 60))},
        ),
        (
            "ShapeError",
            r"landmarks must have 478 points .* got \(5, 2\)",
            {"landmarks": landmarks(*[[mesh_at(9, 9)[:5]]] * 5)},
        ),
        ("FaceNotFoundError", "any of the 5 frames .* by hand", {"landmarks": landmarks(*[[]] * 5)}),
        ("ConfigurationError", "boxes got a str; connect", {"boxes": "face"}),
        ("ConfigurationError", "boxes got an empty list; connect", {"boxes": []}),
        ("ConfigurationError", "boxes must hold x, y, width and height .* got a int", {"boxes": [[3]]}),
        ("ConfigurationError", "boxes must hold a list of boxes for each frame; got a int", {"boxes": [3, 4, 5, 6, 7]}),
        ("ConfigurationError", "boxes must hold x, y, width and height .* numbers", {"boxes": box("left", 0, 1, 1)}),
        ("ConfigurationError", "boxes holds one of 0×5 pixels", {"boxes": box(1, 1, 0, 5)}),
        ("ShapeError", "boxes belongs to 2 frames, but frames has 5", {"boxes": [[box(1, 1, 9, 9)]] * 2}),
        ("ConfigurationError", "lies outside the image of 200×120", {"boxes": box(400, 1, 9, 9)}),
        ("FaceNotFoundError", "any of the 5 frames .* by hand", {"boxes": [[]]}),
        ("ConfigurationError", r"\(10, 20, 310, 100\) leaves the image of 200×120", {**BY_HAND, "box_width": 300}),
        ("ConfigurationError", "box_width and box_height must both be above 0", {"box_width": 30}),
        ("ConfigurationError", "odd number of frames; got 4", {**BY_HAND, "smoothing": 4}),
        ("MediaError", "frames must be an IMAGE .* got str", {**BY_HAND, "frames": "clip.mp4"}),
        ("MediaError", "frames holds no picture", {**BY_HAND, "frames": MOVING[:0]}),
    ],
)
def test_bad_input_is_named_with_its_remedy(node: Node, error: str, message: str, given: dict[str, Any]) -> None:
    with pytest.raises(getattr(node.errors, error), match=message) as caught:
        node.run(**given)

    assert "\n" not in str(caught.value)


def test_no_face_and_no_such_face_are_errors(node: Node) -> None:
    with pytest.raises(node.errors.FaceNotFoundError, match="any of the 5 frames"):
        node.run(MOVING * 0, face_detector=node)
    with pytest.raises(
        node.errors.FaceNotFoundError, match=r"index 1; at most 1 were found .* choose an index below 1"
    ):
        node.run(face_detector=node, choose="index", face_index=1)


def test_cancel_stops_before_the_next_frame(node: Node, cancel: Callable[[], None]) -> None:
    import comfy.model_management as management

    class Cancelled(Node):
        def detect(self, image: np.ndarray) -> list[Any]:
            if self.looked_at == 1:
                cancel()
            return super().detect(image)

    node.__class__ = Cancelled
    with pytest.raises(management.InterruptProcessingException):
        node.run(face_detector=node)
    assert node.looked_at == 2


@pytest.fixture
def cancel(pack: ModuleType) -> Any:
    import comfy.model_management as management

    yield management.interrupt_current_processing
    management.interrupt_current_processing(False)
