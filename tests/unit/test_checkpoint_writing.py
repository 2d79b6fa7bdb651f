"""Writing weights."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from hunyuan_core.checkpoints.writing import write_safetensors


@pytest.mark.skipif(os.name == "nt", reason="permissions of another kind")
def test_others_may_read_the_file_as_any_that_is_written(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_safetensors({"x": torch.zeros(1)}, tmp_path / "weights.safetensors", {})
    finally:
        os.umask(umask)

    assert stat.S_IMODE((tmp_path / "weights.safetensors").stat().st_mode) == 0o640
