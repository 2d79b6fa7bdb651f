"""The ComfyUI nodes over ``hunyuan_core``; imported when ComfyUI asks for them, not before."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io


class HunyuanPortraitExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List the node classes, in the order of a workflow."""
        from . import appearance, evaluation, example, faces, loaders, motion, output, pose, sampler, speed

        modules = (loaders, example, faces, motion, appearance, pose, speed, sampler, output, evaluation)
        return [node for module in modules for node in module.NODES]
