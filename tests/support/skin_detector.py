"""A stand-in for ``yoloface_v5m.pt``: TorchScript of the same calling convention that finds one face by skin colour.

``YoloFaceDetector`` runs no program but the published one unless it is given the SHA-256 of another, as tests do.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from hunyuan_core.checkpoints.integrity import sha256_of


class SkinDetector(torch.nn.Module):
    """One face where the skin-coloured pixels lie; its landmarks stand where a template has them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shape", torch.tensor([1.0, 1.2]))
        # Eyes, nose, corners of the mouth, from the centre of the box in halves of its sides.
        points = [[-0.4, -0.28], [0.4, -0.28], [0.0, 0.05], [-0.3, 0.45], [0.3, 0.45]]
        self.register_buffer("landmarks", torch.tensor(points))

    def forward(self, image: torch.Tensor, grids: list[torch.Tensor]) -> torch.Tensor:
        """Find the face of an image (1, 3, H, W), RGB in [0, 1]; see ``yoloface`` for grids and answer."""
        red, green, blue = image[0, 0], image[0, 1], image[0, 2]
        light = red + green + blue + 1e-6
        reddish, yellowish = (red - green) / light, (green - blue) / light
        is_skin = (red > 0.28) & (reddish > 0.04) & (reddish < 0.2)
        is_skin = is_skin & (reddish + yellowish > 0.03) & (yellowish < 0.1)
        # Cells of the finest grid, so that specks do not count.
        cells = torch.nn.functional.avg_pool2d(is_skin.float()[None, None], 8)
        points = (grids[0][0, 0][cells[0, 0] > 0.5] + 0.5) * 8
        no_face = torch.zeros(1, 0, 16, device=image.device)
        if len(points) * 200 < cells.numel():
            return no_face
        density = torch.nn.functional.avg_pool2d(cells, 13, stride=1, padding=6)[0, 0]
        # A portrait has its face near the middle, above the shoulders.
        across = 1 - torch.linspace(-1.0, 1.0, density.shape[1], device=image.device).abs()
        down = 1 - torch.linspace(-0.8, 1.0, density.shape[0], device=image.device).abs()
        start = (density * across * down[:, None]).argmax()
        # CamShift (Bradski 1998): the window moves to the skin in it and takes its size.
        centre, half = (grids[0][0, 0].flatten(0, 1)[start] + 0.5) * 8, 104 * self.shape
        for _ in range(12):
            near = points[((points - centre).abs() <= half).all(1)]
            if len(near) < 10:
                return no_face
            centre, half = near.mean(0), 2 * near[:, 0].std() * self.shape
        landmarks = (centre + self.landmarks * half).flatten()
        score = torch.full([1], 0.9, device=image.device)
        return torch.cat([centre, 2 * half, score, landmarks, score])[None, None]


def write_skin_detector(path: Path) -> str:
    """Save the detector as a TorchScript file; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The published file is TorchScript, however deprecated that is.
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        torch.jit.script(SkinDetector().eval()).save(str(path))
    return sha256_of(path)
