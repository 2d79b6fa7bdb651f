"""How alike two sets of pictures or clips are as a whole: FID-VID and FVD."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..errors import MediaError, ShapeError
from ..optional import require
from .features import FeatureExtractor

CLIP_STRIDE = 8
"""Frames from the beginning of one clip to that of the next."""

_BATCH = 16


def frechet_distance(reference: np.ndarray, result: np.ndarray) -> float:
    """Measure the squared Fréchet (2-Wasserstein) distance of the Gaussians that have two samples' moments.

    |m₁ - m₂|² + tr S₁ + tr S₂ - 2 tr (S₁ S₂)^½ (Dowson & Landau 1982). The last trace is the sum of the singular values
    of A₁ᵀ A₂ where Sᵢ = Aᵢ Aᵢᵀ, so that no root of a matrix is taken that fewer samples than features make singular.

    Args:
        reference: (N, D) features, one row a sample.
        result: (M, D).

    Raises:
        ShapeError: If the features differ in number, or a sample has fewer than two rows.
        MediaError: If a feature is not finite.
    """
    samples = [np.asarray(features, np.float64) for features in (reference, result)]
    if any(x.ndim != 2 for x in samples) or samples[0].shape[1] != samples[1].shape[1]:
        raise ShapeError(f"Features must be (N, D) and (M, D); got {samples[0].shape} and {samples[1].shape}.")
    if min(len(x) for x in samples) < 2:
        raise ShapeError(
            f"A covariance needs at least two samples; got {len(samples[0])} of the reference and {len(samples[1])} of "
            f"the result. Give longer or more videos."
        )
    if not all(np.isfinite(x).all() for x in samples):
        raise MediaError("A feature is not finite, so there is no Fréchet distance; use another feature network.")
    means = [x.mean(axis=0) for x in samples]
    # Triangular: the orthogonal factor changes neither the traces nor the singular values.
    first, second = (
        np.asarray(np.linalg.qr((x - m) / np.sqrt(len(x) - 1), mode="r")) for x, m in zip(samples, means, strict=True)
    )
    spread = np.square(first).sum() + np.square(second).sum()
    overlap = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    distance = np.square(means[0] - means[1]).sum() + spread - 2 * overlap
    return max(float(distance), 0.0)  # rounding can take identical samples below 0


class FrechetVideoDistance:
    """FVD (Unterthiner et al. 2019): the Fréchet distance of the features of all clips of all videos.

    Args:
        extractor: Of features of a clip; the published FVD uses an I3D trained on Kinetics.
        stride: Frames from one clip's beginning to the next one's. Clips that overlap are counted as the others.
    """

    def __init__(self, extractor: FeatureExtractor, stride: int = CLIP_STRIDE) -> None:
        self._extractor = extractor
        self._stride = stride
        self._features: dict[str, list[np.ndarray]] = {"reference": [], "result": []}

    def add(self, reference: Iterable[np.ndarray], result: Iterable[np.ndarray]) -> None:
        """Take the clips of two videos, (H, W, 3) uint8 RGB frames; what is shorter than a clip is left out."""
        for name, frames in (("reference", reference), ("result", result)):
            for clip in _clips(frames, self._extractor.clip_length, self._stride):
                self._features[name].append(self._extractor.features(clip[None]))

    def measure(self) -> float:
        """Compare what was added.

        Raises:
            MediaError: If it holds fewer than two clips.
        """
        num_clips = min(len(features) for features in self._features.values())
        if num_clips < 2:
            length = self._extractor.clip_length
            raise MediaError(
                f"FVD needs at least two clips of {length} frames, {self._stride} apart; got {num_clips}. Give videos "
                f"of at least {length + self._stride} frames, or several."
            )
        return frechet_distance(*(np.concatenate(features) for features in self._features.values()))


class FrechetFrameDistance:
    """FID-VID: the Fréchet distance (Heusel et al. 2017) of the features of all frames of all videos, by torchmetrics.

    Args:
        extractor: Of features of a frame; the published FID uses an Inception-v3 of 2015.

    Raises:
        MissingDependencyError: If torchmetrics cannot be imported.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        module = require("torchmetrics.image.fid", "FID-VID", "pip install torchmetrics")
        self._distance: Any = module.FrechetInceptionDistance(feature=_FrameFeatures(extractor))

    def add(self, reference: Iterable[np.ndarray], result: Iterable[np.ndarray]) -> None:
        """Take the frames of two videos, (H, W, 3) uint8 RGB."""
        for frames, is_real in ((reference, True), (result, False)):
            iterator = iter(frames)
            while batch := list(islice(iterator, _BATCH)):
                self._distance.update(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2), real=is_real)

    def measure(self) -> float:
        """Compare what was added.

        Raises:
            MediaError: If it holds fewer than two frames, or a feature is not finite.
        """
        num_frames = int(min(self._distance.real_features_num_samples, self._distance.fake_features_num_samples))
        if num_frames < 2:
            raise MediaError(f"FID-VID needs at least two frames of each video; got {num_frames}.")
        distance = float(self._distance.compute())
        if not np.isfinite(distance):
            raise MediaError("A feature is not finite, so there is no Fréchet distance; use another feature network.")
        return max(distance, 0.0)


class _FrameFeatures(torch.nn.Module):
    """A feature extractor in the form that torchmetrics takes."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self._extractor = extractor
        black = np.zeros((1, 1, 64, 64, 3), np.uint8)
        self.num_features = int(extractor.features(black).shape[1])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 to (N, D) float64."""
        return torch.from_numpy(
            self._extractor.features(images.permute(0, 2, 3, 1)[:, None].numpy()).astype(np.float64)
        )


def _clips(frames: Iterable[np.ndarray], length: int, stride: int) -> Iterator[np.ndarray]:
    """Cut a video into (length, H, W, 3) clips, one in memory at a time."""
    clip: list[np.ndarray] = []
    num_skipped = 0
    for frame in frames:
        if num_skipped:
            num_skipped -= 1
            continue
        clip.append(frame)
        if len(clip) == length:
            yield np.stack(clip)
            num_skipped = max(stride - length, 0)
            clip = clip[stride:]
