"""Redrawing of clips in another style by a network of the user's (paper, section 3.5: AnimeGANv3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import WeightsError
from ..onnx_session import open_onnx


class StyleTransfer:
    """An image-to-image network: one picture in and one out, RGB in [-1, 1], channels last or first.

    Raises:
        MissingDependencyError: If onnxruntime is not installed.
        WeightsError: If the file is not such a network; says what it is.
    """

    def __init__(self, path: str) -> None:
        self.session = open_onnx(path, "the style of training clips")
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        self.is_channels_first = len(shape) == 4 and shape[1] == 3
        if len(outputs) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise WeightsError(
                f"{path} cannot redraw clips: it should take one picture (1, 3, H, W) or (1, H, W, 3) and give one; it "
                f"has inputs {[i.shape for i in inputs]} and {len(outputs)} outputs. Choose another data.style_model."
            )
        sides = shape[2:] if self.is_channels_first else shape[1:3]
        self.size = tuple(side for side in sides if isinstance(side, int))
        """Sides that the network is fixed to; empty where it takes any."""

    def __call__(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Redraw (H, W, 3) uint8 RGB pictures, one by one; they keep their size."""
        return [self._redraw(frame) for frame in frames]

    def _redraw(self, frame: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        if len(self.size) == 2:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        array = x.numpy() if self.is_channels_first else x.permute(0, 2, 3, 1).numpy()
        (array,) = self.session.run(None, {self.session.get_inputs()[0].name: np.ascontiguousarray(array)})
        y = torch.from_numpy(np.asarray(array))
        y = y if self.is_channels_first else y.permute(0, 3, 1, 2)
        if y.shape[-2:] != frame.shape[:2]:
            y = F.interpolate(y, frame.shape[:2], mode="bilinear", antialias=True)
        return ((y[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


@lru_cache(maxsize=1)
def open_style(path: str) -> StyleTransfer:
    """Open a network once in each process."""
    return StyleTransfer(path)
