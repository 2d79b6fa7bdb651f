"""Two processes that run one program, started as torchrun starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_two(code: str, arguments: Sequence[str], seconds: float = 120) -> list[tuple[Any, str]]:
    """Run a program twice; gives, by rank, the JSON in the last line of its output, and its standard error."""
    where = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    results = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=seconds)
            assert process.returncode == 0, errors
            results.append((json.loads(output.splitlines()[-1]), errors))
    finally:
        for process in processes:
            process.kill()
    return results
