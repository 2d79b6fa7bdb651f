"""Paste-back against the release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_cases import case_files, load_case

from hunyuan_core.paste_back import PasteBack, soft_mask


@pytest.mark.parametrize("path", case_files("paste_back"))
def test_mask_and_blend(path: Path) -> None:
    tensors, metadata = load_case(path)
    crops = load_case(path.with_name("face_crops.safetensors")).tensors  # as the case's note says
    x1, y1, x2, y2 = box = metadata["box"]
    border_ratio = metadata.get("border_ratio", 0.1)
    mask = soft_mask(y2 - y1, x2 - x1, border_ratio)
    np.testing.assert_allclose(mask, tensors["mask"].numpy(), rtol=0, atol=1e-6)
    result = PasteBack(crops["frame0"].numpy(), np.array(box), border_ratio)(crops["reference_crop"].numpy())
    difference = np.abs(result.astype(int) - tensors["result"].numpy())
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001
