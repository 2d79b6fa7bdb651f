"""HunyuanPortrait for ComfyUI: the root of the node pack. Nothing is imported until ComfyUI asks for the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension  # pyright: ignore[reportMissingImports]


WEB_DIRECTORY = "nodes/web"
"""Where ComfyUI finds the help pages: ``docs/<node id>.md`` under it."""


async def comfy_entrypoint() -> ComfyExtension:
    """Give ComfyUI the pack's extension.

    Raises:
        ImportError: If a dependency of the nodes is missing; its traceback is logged first.
    """
    try:
        from .nodes import HunyuanPortraitExtension

        return HunyuanPortraitExtension()
    except Exception:
        # ComfyUI prints one line without the cause.
        import logging

        logging.getLogger(__name__).exception("The HunyuanPortrait nodes could not be loaded.")
        raise
