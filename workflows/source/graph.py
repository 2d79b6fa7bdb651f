"""What a workflow consists of, before the frontend has seen it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .model_files import model_links


@dataclass(frozen=True)
class Output:
    """An output of a node, to be connected to an input."""

    node_id: int
    name: str


@dataclass(frozen=True)
class Node:
    """A node as the API format has it, and how it is shown.

    Attributes:
        inputs: By name: a widget's value, or the ``Output`` that is connected. What is left out keeps its default.
        title: None for the node's own.
        is_muted: Whether it is left out of a run until the user switches it on.
        models: Files that ComfyUI offers to download, as in ``properties.models``.
        room: Pixels below the widgets that are kept for a preview.
    """

    id: int
    type: str
    inputs: dict[str, Any]
    title: str | None = None
    is_muted: bool = False
    models: tuple[dict[str, str], ...] = ()
    room: int = 0

    def __getitem__(self, name: str) -> Output:
        """Get an output by its name."""
        return Output(self.id, name)


@dataclass
class Group:
    """A frame with a title; its nodes stand in stacks from left to right.

    Attributes:
        colour: As "#rrggbb".
    """

    title: str
    colour: str
    stacks: list[list[Node]] = field(default_factory=lambda: [[]])


@dataclass
class Graph:
    """A workflow: columns of groups from left to right, and a note to the left of all.

    Attributes:
        name: Stem of its files; the list of templates shows it.
        note: Markdown.
    """

    name: str
    note: str
    columns: list[list[Group]] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """All nodes in the order of their ids."""
        groups = (group for column in self.columns for group in column)
        return sorted((node for group in groups for stack in group.stacks for node in stack), key=lambda node: node.id)

    def column(self, title: str, colour: str) -> None:
        """Begin a group to the right of those that there are."""
        self.columns.append([Group(title, colour)])

    def group(self, title: str, colour: str) -> None:
        """Begin a group below the last."""
        self.columns[-1].append(Group(title, colour))

    def stack(self) -> None:
        """Begin a stack to the right, in the same group."""
        self.columns[-1][-1].stacks.append([])

    def node(self, type: str, title: str | None = None, **inputs: Any) -> Node:
        """Add a node below the last one, with what belongs to its type."""
        node = Node(
            # The note is 1.
            len(self.nodes) + 2,
            type,
            inputs,
            title,
            self.columns[-1][-1].title.endswith(MUTED),
            model_links(type, inputs),
            ROOM.get(type, 0),
        )
        self.columns[-1][-1].stacks[-1].append(node)
        return node


MUTED = "(off)"
"""End of the title of a group whose nodes are muted."""

ROOM = {
    "LoadImage": 300,
    "LoadVideo": 300,
    "SaveVideo": 340,
    "PreviewAny": 140,
    "SamplerCustomAdvanced": 280,
    "HunyuanPortraitDetectFaces": 300,
    "HunyuanPortraitEncodeMotion": 300,
    "HunyuanPortraitEncodeAppearance": 300,
    "HunyuanPortraitAlignPose": 280,
    "HunyuanPortraitSampler": 280,
    "HunyuanPortraitSaveVideo": 340,
    "HunyuanPortraitSaveMotion": 90,
    "HunyuanPortraitEvaluate": 300,
}
"""Pixels that a preview, and the line that a node says, take below its widgets."""
