"""What several workflows have in common: groups, and nodes that belong together."""

from __future__ import annotations

from typing import Any

from .graph import Graph, Node, Output
from .model_files import chosen_files
from .notes import DRIVING, PORTRAIT

BLUE, GREEN, GOLD, VIOLET, RED, GREY = "#3f5f8a", "#3f7a52", "#8a7434", "#65508a", "#8a4a4a", "#555c66"
LOAD, FACES, ENCODE, ANIMATE, SAVE = (
    "1 · Load",
    "2 · Find the faces",
    "3 · Portrait and motion",
    "4 · Animate",
    "5 · Video",
)
Parts = Node | dict[str, Output]
"""Something with outputs by name: the node that loads all, or those of several loaders."""


def load_three(graph: Graph, *, image: str = PORTRAIT, **options: Any) -> tuple[Node, Node, Node]:
    """Add the first group: what loads the model, the portrait and the driving video."""
    graph.column(LOAD, BLUE)
    return (
        graph.node("HunyuanPortraitLoadAll", **options),
        graph.node("LoadImage", "Portrait", image=image),
        graph.node("LoadVideo", "Driving video", file=DRIVING),
    )


def add_loader(graph: Graph, kind: str) -> Node:
    """Add a loader with its released files."""
    return graph.node(kind, **chosen_files(kind))


def add_faces(graph: Graph, frames: Output, detector: Output, title: str) -> Node:
    """Add *Detect Faces*."""
    return graph.node("HunyuanPortraitDetectFaces", title, frames=frames, face_detector=detector)


def encode(graph: Graph, loaded: Parts, portrait: Node, driving: Node) -> tuple[Node, Node]:
    """Find both faces, and encode appearance and motion."""
    graph.column(FACES, GREEN)
    face = add_faces(graph, portrait["IMAGE"], loaded["face_detector"], "Face in the portrait")
    track = add_faces(graph, driving["VIDEO"], loaded["face_detector"], "Face in the driving video")
    graph.column(ENCODE, GOLD)
    given = {name: loaded[name] for name in ("image_encoder", "vae", "arcface")}
    return add_appearance(graph, given, portrait, face), add_motion(graph, loaded, driving, track)


def add_appearance(graph: Graph, loaded: dict[str, Output], portrait: Node, face: Node) -> Node:
    """Add *Appearance*; the identity is left out if ``loaded`` has no arcface."""
    return graph.node(
        "HunyuanPortraitEncodeAppearance", None, **loaded, portrait=portrait["IMAGE"], track=face["track"]
    )


def add_motion(graph: Graph, loaded: Parts, driving: Node, track: Node) -> Node:
    """Add *Motion Features*."""
    return graph.node(
        "HunyuanPortraitEncodeMotion",
        motion_encoder=loaded["motion_encoder"],
        frames=driving["VIDEO"],
        track=track["track"],
    )


def add_sampler(graph: Graph, loaded: Node, appearance: Node, motion: Node, **options: Any) -> Node:
    """Add *Sampler*."""
    return graph.node(
        "HunyuanPortraitSampler",
        model=loaded["model"],
        appearance=appearance["appearance"],
        motion=motion["motion"],
        pose_guider=loaded["pose_guider"],
        **options,
    )


def save(graph: Graph, frames: Output, driving: Node, prefix: str) -> Node:
    """Write frames with the driving video's rate and sound; gives the node with the driving video's parts."""
    parts = graph.node("GetVideoComponents", video=driving["VIDEO"])
    video = graph.node("CreateVideo", images=frames, fps=parts["fps"], audio=parts["audio"])
    graph.node("SaveVideo", video=video["VIDEO"], filename_prefix=prefix)
    return parts


def save_long(
    graph: Graph, loaded: Node, sampled: Node, driving: Node, portrait: Node, appearance: Node, **options: Any
) -> None:
    """Write to the file, pasted back, without the video in memory."""
    graph.node(
        "HunyuanPortraitSaveVideo",
        vae=loaded["vae"],
        samples=sampled["samples"],
        driving=driving["VIDEO"],
        portrait=portrait["IMAGE"],
        square=appearance["square"],
        **options,
    )


def row(graph: Graph, loaded: Node, image: str, motion: Node, rate: dict[str, Any], prefix: str) -> None:
    """Animate one portrait, from left to right."""
    portrait = graph.node("LoadImage", "Portrait", image=image)
    graph.stack()
    face = add_faces(graph, portrait["IMAGE"], loaded["face_detector"], "Face in the portrait")
    graph.stack()
    given = {name: loaded[name] for name in ("image_encoder", "vae", "arcface")}
    appearance = add_appearance(graph, given, portrait, face)
    graph.stack()
    sampled = add_sampler(graph, loaded, appearance, motion)
    graph.stack()
    frames = graph.node("HunyuanPortraitDecode", vae=loaded["vae"], samples=sampled["samples"])["frames"]
    video = graph.node("CreateVideo", images=frames, **rate)
    graph.node("SaveVideo", video=video["VIDEO"], filename_prefix=prefix)
