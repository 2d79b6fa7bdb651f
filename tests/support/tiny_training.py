"""A training run of networks so small that a step takes milliseconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hunyuan_core.config import (
    ExpressionConfig,
    HeadPoseConfig,
    ModelConfig,
    PoseGuiderConfig,
    RefinerConfig,
    UNetConfig,
    VAEConfig,
    VisionConfig,
)
from hunyuan_core.training.config import (
    DataConfig,
    LossConfig,
    OptimiserConfig,
    OutputConfig,
    TrainingConfig,
)

MODEL = ModelConfig(
    unet=UNetConfig(
        block_out_channels=(32, 32),
        num_attention_heads=(2, 2),
        has_attention=(True, True),
        layers_per_block=1,
        cross_attention_dim=32,
        addition_time_embed_dim=16,
    ),
    vision=VisionConfig(
        position_grid=3,
        image_size=56,
        embed_dim=32,
        depth=2,
        num_heads=2,
        adapter_layers=(1,),
        adapter_dim=16,
        adapter_attention_dim=16,
        adapter_num_heads=2,
        num_image_tokens=4,
    ),
    expression=ExpressionConfig(stem_channels=8, layers=(1, 1, 1, 1), out_features=16, image_size=32),
    head_pose=HeadPoseConfig(stem_channels=8, layers=(1, 1, 1, 1), num_groups=4, image_size=32),
    refiner=RefinerConfig(in_features=16, hidden_dim=32, num_memories=4, num_layers=1, num_heads=2, out_features=26),
    pose_guider=PoseGuiderConfig(block_out_channels=(8, 8, 8, 8), out_channels=32),
    # The scale is that of the untrained network's latents.
    vae=VAEConfig(block_out_channels=(32, 32, 32, 32), layers_per_block=1, scaling_factor=2.0),
)

AT_RELEASED_SCALE = dataclasses.replace(
    MODEL, vae=dataclasses.replace(MODEL.vae, scaling_factor=VAEConfig.scaling_factor)
)
"""The same, exported as it is."""


def training_config(folder: Path, **parts: Any) -> TrainingConfig:
    """Configuration of a run; a part given as a dictionary changes the small default of that part."""
    config = TrainingConfig(
        model=MODEL,
        data=DataConfig(image_size=64, num_frames=2, num_workers=0),
        loss=LossConfig(auxiliary_weight=0.01, auxiliary_steps=100),
        optimiser=OptimiserConfig(num_steps=2, batch_size=2, learning_rate=1e-3, warmup_steps=2),
        output=OutputConfig(folder=str(folder)),
    )
    values = {
        name: dataclasses.replace(getattr(config, name), **part) if isinstance(part, dict) else part
        for name, part in parts.items()
    }
    return dataclasses.replace(config, **values)
