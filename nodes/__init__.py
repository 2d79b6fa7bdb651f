"""The ComfyUI nodes over ``hunyuan_core``. The list is still empty: the nodes come in the next version."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension, io  # pyright: ignore[reportMissingImports]


def extension() -> ComfyExtension:
    """Build the pack's extension; ``comfy_api`` is imported here, so that this module loads without ComfyUI."""
    from comfy_api.latest import ComfyExtension  # pyright: ignore[reportMissingImports]

    class HunyuanPortraitExtension(ComfyExtension):
        """What ComfyUI loads."""

        async def get_node_list(self) -> list[type[io.ComfyNode]]:
            """List the node classes."""
            return []

    return HunyuanPortraitExtension()
