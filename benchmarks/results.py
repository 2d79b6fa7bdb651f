"""The one form in which every benchmark reports."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True)
class Result:
    """What one benchmark found.

    Attributes:
        name: Of the benchmark, and after a slash of the case.
        metrics: Every figure, with its unit in the name.
        status: "skipped" where the machine cannot run it; ``metrics`` then says why.
        baseline: What ``ratio`` is measured against, in words or figures.
        ratio: The figure that the gate is about.
        gate: The limit in words, such as "ratio <= 0.545"; None where nothing is held.
    """

    name: str
    metrics: dict[str, Any]
    status: Status
    baseline: Any = None
    ratio: float | None = None
    gate: str | None = None
    commit: str = field(default_factory=lambda: current_commit())
    environment: dict[str, str] = field(default_factory=lambda: describe_environment())

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def gated(
    name: str,
    metrics: dict[str, Any],
    ratio: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    baseline: Any = None,
) -> Result:
    """Report a ratio that has a limit."""
    is_good = (at_most is None or ratio <= at_most) and (at_least is None or ratio >= at_least)
    limits = [f"ratio {sign} {limit:g}" for sign, limit in (("<=", at_most), (">=", at_least)) if limit is not None]
    return Result(name, metrics, "pass" if is_good else "fail", baseline, ratio, " and ".join(limits) or None)


def skipped(name: str, reason: str) -> Result:
    """Report that this machine cannot run it."""
    return Result(name, {"reason": reason}, "skipped")


@cache
def current_commit() -> str:
    """Short hash of the checkout, with a plus where it has changes; "unknown" outside of git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S603
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")


@cache
def describe_environment() -> dict[str, str]:
    """What the figures depend on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "cpus": str(os.cpu_count()),
        "gpu": device,
    }
