"""The released size fits: a whole run on the CPU below 12 GB. Needs no golden folder: the recipe makes the weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from golden_cases import ROOT


@pytest.mark.slow
def test_a_run_of_the_released_size_needs_less_than_12_gb() -> None:
    support = ROOT / "tests/support"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(support / "released_run.py")],
        env={**os.environ, "PYTHONPATH": str(support)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"\nreleased size at 64x64, 2 steps: {json.dumps(result)}")

    assert result["num_parameters"]["unet"] == pytest.approx(1575.7e6, rel=1e-3)
    assert result["is_finite"]
    assert result["latents"] == [4, 4, 8, 8]
    assert result["latents_std"] > 0.1
    assert result["video"] == [2, 64, 64, 3]
    assert result["video_std"] > 1
    assert result["peak_gb"] < 12
