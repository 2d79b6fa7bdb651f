"""HunyuanPortrait for ComfyUI: the root of the node pack. Nothing is imported until ComfyUI asks for the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension  # pyright: ignore[reportMissingImports]


WEB_DIRECTORY = "nodes/web"
"""Where ComfyUI finds the help pages: ``docs/<node id>.md`` under it."""

OLDEST_COMFYUI = "0.16.3"
"""The oldest ComfyUI that the nodes are tested with."""


async def comfy_entrypoint() -> ComfyExtension:
    """Give ComfyUI the pack's extension.

    Raises:
        RuntimeError: If the nodes cannot be loaded and ComfyUI is older than ``OLDEST_COMFYUI``.
        ImportError: If a dependency of the nodes is missing. Either way the traceback is logged first.
    """
    try:
        from .nodes import HunyuanPortraitExtension

        extension = HunyuanPortraitExtension()
        for node in await extension.get_node_list():
            node.GET_SCHEMA()  # ComfyUI would do it later, and say less where it fails
    except Exception as error:
        # ComfyUI prints one line without the cause.
        import logging

        logging.getLogger(__name__).exception("The HunyuanPortrait nodes could not be loaded.")
        if version := _older_comfyui():
            message = f"HunyuanPortrait needs ComfyUI {OLDEST_COMFYUI} or later, and this is {version}: update ComfyUI."
            raise RuntimeError(message) from error
        raise
    return extension


def _older_comfyui() -> str | None:
    """Look up ComfyUI's version, if it is older than ``OLDEST_COMFYUI``."""
    import re

    try:
        from comfyui_version import __version__ as version  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    def numbers(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text)[:3]]

    return version if numbers(version) < numbers(OLDEST_COMFYUI) else None
