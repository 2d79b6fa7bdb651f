"""Makes ``cases/*.safetensors``; the README beside this file says when that is legitimate."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_cases import Case
from golden_networks import CaseReader
from golden_runs import (
    Outputs,
    compute,
    run_appearance_encoder,
    run_expression_encoder,
    run_headpose_encoder,
    run_motion_padding,
    run_motion_refiner,
    run_pipeline,
    run_pose_guider,
    run_unet,
)
from own_faces import run_faces
from safetensors.torch import save_file

CASES = Path(__file__).resolve().parent / "cases"

UNET = {
    "down_block_types": ["CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"],
    "up_block_types": ["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"],
    "block_out_channels": [32, 64],
    "num_attention_heads": [2, 4],
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 24,
}
VISION = {"img_size": 70, "embed_dim": 32, "depth": 4, "num_heads": 4, "adapter_dim": 16, "adapter_layers": [1, 3]}
POSE_GUIDER = {"channels": 32, "block_out_channels": [8, 8, 16, 16]}
VAE = {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1}
RUN = {
    "num_frames": 7,
    "steps": 3,
    "window": 4,
    "overlap": 1,
    "shift": 3,
    "fps": 12.5,
    "motion_bucket_id": 0,
    "noise_aug_strength": 0,
    "decode_chunk_size": 3,
}


def main() -> int:
    """Compute and write every case."""
    T, N, C = 3, 4, 32
    image, motion = normal(3, T, N, C), normal(3, T, N, C).flip(1)
    image[0] = motion[0] = motion[1] = 0
    write(
        "unet_small",
        run_unet,
        {"timestep": 0.7, "config": UNET},
        ["output", "output_without_pose"],
        sample=normal(3, T, 8, 8, 6),
        image_tokens=image,
        motion_tokens=motion,
        pose_features=normal(3, T, 32, 8, 6),
        added_time_ids=torch.tensor([[12.5, 0, 0], [12.5, 0, 0], [6, 127, 0.02]]),
    )
    write(
        "appearance_encoder_small",
        run_appearance_encoder,
        {"config": VISION},
        ["features", "tokens"],
        image=normal(1, 3, 42, 42),
        id_embedding=normal(1, 1, 512),
        tokens=torch.empty(1, 8, 0),
    )
    write(
        "expression_encoder_small",
        run_expression_encoder,
        {"config": {"stem_channels": 4, "layers": [1, 2, 1, 1], "out_features": 16}},
        ["features"],
        face=uniform(2, 3, 48, 48),
    )
    write(
        "headpose_encoder_small",
        run_headpose_encoder,
        {"config": {"stem_channels": 8, "layers": [1, 2, 1, 1], "num_groups": 4}},
        ["rotation", "translation"],
        image=uniform(2, 3, 48, 48) * 2 + 1,
    )
    refiner = {"in_features": 16, "hidden_dim": 32, "num_memories": 8, "num_layers": 2, "num_heads": 4}
    write(
        "motion_refiner_small",
        run_motion_refiner,
        {"config": {**refiner, "out_features": 26}, "head_id": [0, 17, 127], "exp_id": [93, 0, 5]},
        ["tokens"],
        features=normal(3, 16),
    )
    write("motion_padding_small", run_motion_padding, {"pad": 4}, ["padded"], tokens=normal(1, 3, 2, 5))
    write("pose_guider_small", run_pose_guider, {"config": POSE_GUIDER}, ["features"], pose=uniform(1, 3, 2, 32, 24))
    runs = {
        "a": {**RUN, "guidance_image": [2, 2], "guidance_motion": [2, 2], "strength": 1.0},
        "b": {**RUN, "steps": 4, "guidance_image": [1, 3], "guidance_motion": [2.5, 0], "strength": 0.5},
    }
    write(
        "pipeline_small",
        run_pipeline,
        {
            "unet": UNET,
            "dino": VISION,
            "pose_guider": POSE_GUIDER,
            "vae": VAE,
            "token_projection": [14, 8],
            "runs": runs,
        },
        ["latents_a", "latents_b", "frames_b"],
        reference=uniform(1, 3, 32, 24) * 2 - 1,
        image=normal(1, 3, 42, 42),
        id_embedding=torch.nn.functional.normalize(normal(1, 512), dim=1),
        pose=uniform(1, 3, 7, 32, 24),
        motion_tokens=normal(1, 7, 8, 32),
        noise=normal(1, 7, 4, 4, 3),
    )
    # Smooth, so that a resize or a warp by a little more or less shows.
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    waves = torch.stack([(x / 7).sin() + (y / 11).cos(), (x * y / 900).cos(), ((x - y) / 13).sin()], dim=-1)
    write(
        "faces_small",
        run_faces,
        {
            "box": [30.4, 18, 75, 70.6],
            "landmarks": [[41.0, 35.5], [63, 33], [53, 47], [45.5, 57], [62, 56]],
            "size": 48,
        },
        ["reference_crop", "head_pose_crop", "motion_crop", "arcface_crop", "image_encoder_input", "intensities"],
        image=((waves / 2 + 1) * 100).clamp(0, 255).to(torch.uint8),
        track=normal(30, 5, 2).double().mul(0.2) + torch.tensor([[0, 0], [9, 0], [5, 5], [1, 9], [8, 9]]),
    )
    return 0


def write(
    name: str,
    run: Callable[[CaseReader], Outputs],
    metadata: dict[str, Any],
    outputs: list[str],
    **inputs: torch.Tensor,
) -> None:
    """Compute the named outputs and write them with the inputs."""
    placeholders = {output: torch.empty(0) for output in outputs}
    computed = compute(Case({**placeholders, **inputs}, metadata), run)
    tensors = {key: tensor.contiguous() for key, tensor in {**inputs, **computed}.items()}
    for key in tensors:
        if key.startswith("frames_"):
            tensors[key] = tensors[key].half()
    path = CASES / f"{name}.safetensors"
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in metadata.items()})
    print(f"{path.name}: {path.stat().st_size} bytes, {', '.join(computed)}")


def normal(*shape: int) -> torch.Tensor:
    """Normal values that depend on the shape only."""
    return torch.from_numpy(np.random.default_rng(shape).standard_normal(shape, dtype=np.float32))


def uniform(*shape: int) -> torch.Tensor:
    """Values in [0, 1) that depend on the shape only."""
    return torch.from_numpy(np.random.default_rng(shape).random(shape, dtype=np.float32))


if __name__ == "__main__":
    sys.exit(main())
