"""Inputs for trying the pack without any file."""

from __future__ import annotations

from comfy_api.latest import io

from ..hunyuan_core.demo import Scene
from ..hunyuan_core.toy import TOY_SIZE
from . import types as sockets
from .checking import checked
from .comfy_bridge import images

FPS = 25.0


class HunyuanPortraitDrawnExample(io.ComfyNode):
    """Draw a portrait, a driver, and what the result should be."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ``io.ComfyNode``."""
        return io.Schema(
            node_id="HunyuanPortraitDrawnExample",
            display_name="HunyuanPortrait Drawn Example",
            category="HunyuanPortrait/Loaders",
            description="Draws a portrait and a driver, two different people, and the true answer: the portrait's "
            "person with the driver's motion. For the toy model, which knows such drawings only.",
            inputs=[
                io.Int.Input("seed", default=0, min=0, max=999_999, tooltip="Chooses the people and the motion."),
                io.Int.Input("num_frames", default=50, min=1, max=1000, tooltip="Frames of the driver, 25 a second."),
                io.Int.Input(
                    "size",
                    default=TOY_SIZE,
                    min=64,
                    max=1024,
                    step=8,
                    tooltip="Side of the pictures in pixels; the toy model was trained on 128.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="portrait", tooltip="The person to animate, one picture."),
                io.Image.Output(display_name="driver", tooltip="The other person, who moves."),
                io.Image.Output(
                    display_name="truth", tooltip="The portrait's person with the driver's motion; for Evaluate."
                ),
                io.Float.Output(display_name="fps", tooltip="Frames a second, for Create Video."),
            ],
            **sockets.supported(search_aliases=["hunyuan portrait", "toy", "demo", "test input"]),
        )

    @classmethod
    @checked
    def execute(cls, seed: int, num_frames: int, size: int) -> io.NodeOutput:
        """Draw."""
        scene = Scene.draw(seed, num_frames, size, FPS)
        return io.NodeOutput(
            images.to_image([scene.portrait()]),
            images.to_image(scene.driver(), num_frames),
            images.to_image(scene.truth(), num_frames),
            FPS,
        )


NODES = [HunyuanPortraitDrawnExample]
