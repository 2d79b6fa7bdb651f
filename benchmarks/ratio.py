"""How much faster than its plain form the product is, on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from results import Result, gated
from small import make_unet, make_video

ROUNDS = 5
MIN_RATIO = 2.2


def run() -> Iterator[Result]:
    """Alternate the two in one process; the least CPU time of each counts."""
    video = make_video(make_unet(), 14, 1, overlap=0)
    times: dict[Callable[[], torch.Tensor], list[float]] = {video.plain: [], video.default: []}
    with torch.inference_mode():
        for form in times:
            form()
        for _ in range(ROUNDS):
            for form, seconds in times.items():
                start = time.process_time()
                form()
                seconds.append(time.process_time() - start)
    plain, default = times[video.plain], times[video.default]
    metrics = {
        "plain_cpu_seconds": min(plain),
        "default_cpu_seconds": min(default),
        "plain_spread": max(plain) / min(plain),
        "default_spread": max(default) / min(default),
        "rounds": ROUNDS,
    }
    yield gated("ratio", metrics, min(plain) / min(default), at_least=MIN_RATIO, baseline="plain form")
