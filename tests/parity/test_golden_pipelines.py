"""Whole runs against the release: latents and decoded frames within 1e-3 of their deviation."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_cases import case_files
from golden_runs import PIPELINE_TOLERANCE, check_case, run_pipeline, run_plain_pipeline


@pytest.mark.parametrize("path", case_files("pipeline_"))
def test_pipeline(path: Path) -> None:
    check_case(path, run_pipeline, PIPELINE_TOLERANCE)


@pytest.mark.parametrize("path", case_files("pipeline_"))
def test_plain_pipeline(path: Path) -> None:
    check_case(path, run_plain_pipeline, PIPELINE_TOLERANCE)
