"""Crops and intensities of this project's own golden case; the released model's have a form of their own."""

from __future__ import annotations

import numpy as np
import torch
from golden_networks import CaseReader

from hunyuan_core.faces.crops import (
    arcface_crop,
    head_pose_crop,
    image_encoder_input,
    motion_crop,
    reference_crop,
    square_box,
    to_crop,
)
from hunyuan_core.faces.intensity import chunk_intensities


def run_faces(reader: CaseReader) -> dict[str, torch.Tensor]:
    """Crops of one image, in grey levels where they are pictures, and the intensities of a track of landmarks."""
    image = reader.input("image").numpy()
    box, landmarks = (np.array(reader.fields.take(name)) for name in ("box", "landmarks"))
    size = reader.fields.take("size")
    square = square_box(box, *image.shape[:2])
    reference = reference_crop(image, box, size)
    outputs = {
        "reference_crop": reference,
        "head_pose_crop": head_pose_crop(image, square, size // 2, size),
        "motion_crop": motion_crop(image, landmarks, box, size),
        "arcface_crop": arcface_crop(reference, to_crop(landmarks, square, size))[::2, ::2] * 255,
        "image_encoder_input": image_encoder_input(reference, size // 2).numpy(),
        "intensities": np.array(chunk_intensities(reader.input("track").numpy())),
    }
    return {name: torch.from_numpy(np.array(value)).float() for name, value in outputs.items()}
