"""The untrained tiny networks, as files that load like the released ones."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import torch

from ...hunyuan_core.checkpoints import save_network
from ...hunyuan_core.config import ModelConfig
from ...hunyuan_core.models import NETWORKS
from ...hunyuan_core.pipeline import Pipeline


def untrained_files() -> dict[str, Path]:
    """Paths by network name, in ComfyUI's temporary folder; written first where they are not there.

    The weights are those of ``Pipeline.untrained_tiny`` in float32, always the same.
    """
    folder = Path(folder_paths.get_temp_directory()) / "hunyuan_portrait_untrained"
    paths = {name: folder / f"{name}.safetensors" for name in NETWORKS}
    if not all(path.is_file() for path in paths.values()):
        pipeline = Pipeline.untrained_tiny(device="cpu", dtype=torch.float32)
        for name, path in paths.items():
            save_network(name, getattr(pipeline, name), ModelConfig.tiny(), path)
    return paths
