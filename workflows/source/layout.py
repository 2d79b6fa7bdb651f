"""Where the nodes of a workflow stand: columns from left to right, as wide as their widest node."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .graph import Graph, Group, Node

Rectangle = tuple[float, float, float, float]
"""x, y, width, height, pixels. A node's y is that of its body, below its title."""

NOTE_WIDTH, NOTE_CHARACTERS, NOTE_LINE = 480, 74, 13
NOTE_ROW, NOTE_BREAK = 10, 20
"""Pixels that a row of a table and a paragraph take beyond their lines."""
MIN_WIDTH = 340
TITLE = 30
"""Height of a node's title, above its body."""
GAP = 20
"""Between nodes of a stack, and between these and their group."""
SPARE = 50
"""Below a node without a preview: with ComfyUI's newer drawing of nodes it is that much higher."""
BETWEEN_GROUPS = 70
GROUP_TITLE = 44


@dataclass(frozen=True)
class Layout:
    """Places of a workflow's nodes by id, and of its groups."""

    places: dict[int, Rectangle]
    groups: list[tuple[Group, Rectangle]]


def arrange(graph: Graph, sizes: Mapping[int, tuple[float, float]]) -> Layout:
    """Place all nodes.

    Args:
        sizes: Width and height of each node's body without a preview, by id; the note is 1.
    """
    layout = Layout({1: (0, GROUP_TITLE + TITLE, NOTE_WIDTH, note_height(graph.note))}, [])
    x: float = NOTE_WIDTH + BETWEEN_GROUPS
    for column in graph.columns:
        y: float = 0
        widths: list[float] = []
        for group in column:
            width, height = _arrange_group(group, x, y, sizes, layout)
            widths.append(width)
            y += height + BETWEEN_GROUPS
        x += max(widths) + BETWEEN_GROUPS
    return layout


def note_height(note: str) -> float:
    """Estimate how high a text is when it is shown."""
    lines, rows = 0, 0
    for line in note.split("\n"):
        shown = re.sub(r"\]\([^)]*\)", "]", line)  # without addresses
        lines += math.ceil(len(shown) / NOTE_CHARACTERS)
        rows += line.startswith("|")
    return _round_up(lines * NOTE_LINE + rows * NOTE_ROW + (note.count("\n\n") + 1) * NOTE_BREAK)


def _arrange_group(
    group: Group, x: float, y: float, sizes: Mapping[int, tuple[float, float]], layout: Layout
) -> tuple[float, float]:
    """Place a group's nodes; gives its width and height."""
    right, bottom = x, y
    for stack in group.stacks:
        left = right + GAP
        width = _round_up(max([MIN_WIDTH, *(sizes[node.id][0] for node in stack)]))
        top = y + GROUP_TITLE
        for node in stack:
            height = _height(node, sizes)
            layout.places[node.id] = (left, top + TITLE, width, height)
            top += TITLE + height + GAP + (0 if node.room else SPARE)
        right, bottom = left + width, max(bottom, top)
    box = (x, y, right + GAP - x, bottom - y)
    layout.groups.append((group, box))
    return box[2:]


def _height(node: Node, sizes: Mapping[int, tuple[float, float]]) -> float:
    return _round_up(sizes[node.id][1] + node.room)


def _round_up(pixels: float) -> float:
    return math.ceil(pixels / 10) * 10
