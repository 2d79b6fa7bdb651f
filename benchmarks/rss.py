"""Resident memory of a whole run at its peak, the product's against the plain form's, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from results import Result, gated, skipped
from small import make_unet, make_video

FORMS = ("plain", "default")
HERE = Path(__file__).resolve().parent


def run() -> Iterator[Result]:
    """Start a process for each form."""
    if sys.platform == "win32":
        yield skipped("rss", "resource usage of a process cannot be read on Windows")
        return
    mib = {}
    for form in FORMS:
        # Not -m: the repository's root must not come before ComfyUI's modules of the same name.
        command = [sys.executable, str(HERE / "rss.py"), form]
        environment = {"PYTHONPATH": f"{HERE.parent}:{HERE}", "OMP_NUM_THREADS": "1", "PATH": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603
        start, peak = (int(number) for number in done.stdout.split())
        mib[form] = (peak - start) / 1024
    metrics = {f"{form}_mib_over_start": mib[form] for form in FORMS}
    yield gated("rss", metrics, mib["default"] / mib["plain"], at_most=0.6, baseline="plain form")


def _main(form: str) -> None:
    video = make_video(make_unet(), 14, 1, overlap=0, side=32)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.inference_mode():
        getattr(video, form)()
    print(start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _main(sys.argv[1])
