"""What the user sees while a node works, and the stop button."""

from __future__ import annotations

import logging

import comfy.model_management
import comfy.utils
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

log = logging.getLogger("HunyuanPortrait")


def check_interrupted() -> None:
    """Stop here if the user pressed cancel, by raising what ComfyUI expects."""
    comfy.model_management.throw_exception_if_processing_interrupted()


class Progress:
    """The progress bar of the node that runs; it also stops the node when the user cancels."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar = comfy.utils.ProgressBar(total)

    def __call__(self, done: int, preview: Image.Image | None = None) -> None:
        """Show how much is done, and a picture of it where there is one."""
        check_interrupted()
        self._bar.update_absolute(done, self._total, None if preview is None else ("JPEG", preview, 512))


def say(text: str) -> None:
    """Write a line to the log, and under the node that runs."""
    log.info(text)
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        server.send_progress_text(text, context.node_id)
