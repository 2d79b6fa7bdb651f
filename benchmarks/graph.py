"""How many graphs torch.compile makes of the UNet over steps, windows and two videos, as ``--compile`` calls it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch._dynamo
import torch._dynamo.testing
from results import Result
from small import make_unet, make_video

from hunyuan_core.compilation import CompiledNetwork
from hunyuan_core.sampling import Denoiser, sample_euler


def run() -> Iterator[Result]:
    """Compile without a back end, which is enough to count."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    counter = torch._dynamo.testing.CompileCounter()
    unet = make_unet()
    failures: list[str] = []
    compiled = CompiledNetwork(unet, "default", failures.append, counter)
    with torch.inference_mode():
        for seed, num_frames in ((1, 30), (2, 41)):
            video = make_video(unet, num_frames, 3, side=8, seed=seed)
            predictor = video.predictor()
            predictor.call = compiled
            sample_euler(Denoiser(predictor, num_frames, video.sigmas, video.config), video.x, video.sigmas)
    graphs = counter.frame_count
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    recompilations = max(graphs - 1 - breaks, 0)
    metrics = {"graphs": graphs, "breaks": breaks, "recompilations": recompilations, "videos": 2, "failures": failures}
    is_good = graphs == 1 and breaks == 0 and not failures
    yield Result("graph", metrics, "pass" if is_good else "fail", gate="1 graph, 0 breaks, 0 recompilations")
