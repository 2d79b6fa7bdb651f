"""One run of all networks at the released size, weights by the recipe; prints one JSON object.

A program of its own, so that the peak of its memory is its own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from golden_networks import filled

from hunyuan_core.config import SamplingConfig
from hunyuan_core.data import Face, FaceTrack
from hunyuan_core.models import NETWORKS
from hunyuan_core.pipeline import Pipeline

SIZE, NUM_FRAMES = 64, 2
CONFIG = SamplingConfig(num_inference_steps=2, context_window=4, context_overlap=0, num_padding_frames=1)


def main() -> int:
    """Encode, sample and decode."""
    start = time.monotonic()
    pipeline = Pipeline(**{name: filled(name) for name in NETWORKS})
    built = time.monotonic()
    frames = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 96, 96, 3), dtype=np.uint8)
    box = np.array([30.0, 20, 66, 60])
    landmarks = np.array([[40.0, 34], [56, 34], [48, 42], [42, 50], [54, 50]])
    track = FaceTrack(np.stack([box] * NUM_FRAMES), np.stack([landmarks] * NUM_FRAMES), np.ones(NUM_FRAMES, bool))

    appearance = pipeline.encode_appearance(frames[0], Face(box, landmarks), size=SIZE, config=CONFIG)
    motion = pipeline.encode_motion(frames, track)
    sampled = pipeline.sample(appearance, motion, CONFIG)
    latents = sampled.samples
    video = np.stack(list(pipeline.decode(sampled, CONFIG.decode_chunk_size)))
    result = {
        "latents": list(latents.shape),
        "is_finite": bool(torch.isfinite(latents).all() and torch.isfinite(motion.tokens).all()),
        "latents_std": latents.std().item(),
        "video": list(video.shape),
        "video_std": float(video.std()),
        "num_parameters": {name: sum(p.numel() for p in getattr(pipeline, name).parameters()) for name in NETWORKS},
        "peak_gb": peak_memory() / 1e9,
        "build_seconds": built - start,
        "run_seconds": time.monotonic() - built,
    }
    print(json.dumps(result))
    return 0


def peak_memory() -> int:
    """Most bytes of memory that this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux it starts from that of the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main())
