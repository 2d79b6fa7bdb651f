"""What a shipped workflow is changed to before it runs here: few steps, a small square, and no face detector.

The networks are tiny ones under the released names. Detectors of faces and people cannot be had (yoloface is known by
its checksum), so every face gets a box by hand.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STEPS, SIZE = 2, 64
PREFIX = "HunyuanPortrait"


@dataclass
class Adaptation:
    """Changes to an API-format prompt.

    Attributes:
        values: Node id to inputs with their new values.
        cut: Node id and input whose link is taken away.
    """

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    cut: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, prompt: Mapping[str, Any]) -> dict[str, Any]:
        """Change a copy of the prompt."""
        changed = copy.deepcopy(dict(prompt))
        for node_id, values in self.values.items():
            changed[node_id]["inputs"].update(values)
        for node_id, name in self.cut:
            del changed[node_id]["inputs"][name]
        return changed


def adapt(
    prompt: Mapping[str, Any], portrait_size: tuple[int, int], clip_size: tuple[int, int], steps: int = STEPS
) -> Adaptation:
    """Find the changes that a workflow needs.

    Args:
        portrait_size, clip_size: Width and height of what LoadImage and LoadVideo read, pixels.
    """
    result = Adaptation()
    for node_id, node in prompt.items():
        kind, inputs = node["class_type"], node["inputs"]
        values: dict[str, Any] = {}
        if "steps" in inputs:
            values["steps"] = steps
        if kind == "ImageScale":
            values |= {"width": SIZE, "height": SIZE}
        if kind == f"{PREFIX}EncodeAppearance":
            values["size"] = SIZE
        if kind == f"{PREFIX}DetectFaces":
            is_clip = prompt[inputs["frames"][0]]["class_type"] != "LoadImage"
            values |= central_box(*(clip_size if is_clip else portrait_size))
        if kind == f"{PREFIX}LoadPoseDetector":
            values["detector_name"] = "none (the picture shows one person)"
        if "face_detector" in inputs:
            result.cut.append((node_id, "face_detector"))
        if values:
            result.values[node_id] = values
    return result


def central_box(width: int, height: int) -> dict[str, int]:
    """Box of a face in the middle of a picture, as inputs of Detect Faces."""
    side = min(width, height) // 2
    return {
        "box_x": (width - side) // 2,
        "box_y": (height - side) // 3,
        "box_width": side,
        "box_height": side,
    }
