"""The UNet with the constants of one video: what the denoiser calls for each window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..data import Branch
from ..errors import ConfigurationError, ShapeError
from .attention import Context, LayerContext
from .feature_reuse import FeatureReuse
from .memory import FEED_FORWARD_CHUNKS, MemoryMode
from .transfer import frame_indices, take_frames
from .unet import UNet

MAX_CACHED_FRAMES = 256
"""Frames of a video up to which keys and values of its motion are kept."""


class VideoContext:
    """Keys and values of one video's tokens, projected once and cut to each window.

    Image tokens are constants of the video and motion tokens constants of their frame, so the projections of spatial
    cross-attention are kept. Temporal cross-attention sees the mean motion over the window; projecting 64 tokens anew
    for each window is cheaper than keeping all frames'.

    Args:
        unet: The network whose projections are used.
        image_tokens: (N, context_dim), device and dtype of the UNet.
        motion_tokens: (T, N, context_dim), dtype of the UNet; on its device, or in main memory if the video is long.
        motion_scale: Factor of the motion tokens' attention.
        max_cached_frames: Longer videos project their motion tokens window by window, so that memory does not grow with
            the video (3 MB a frame in half precision at the released size).
    """

    def __init__(
        self,
        unet: UNet,
        image_tokens: torch.Tensor,
        motion_tokens: torch.Tensor,
        motion_scale: float = 1.0,
        max_cached_frames: int = MAX_CACHED_FRAMES,
    ) -> None:
        self.attentions = unet.cross_attentions
        self.motion_tokens = motion_tokens
        self.motion_scale = motion_scale
        self.image = [attention.project_image(image_tokens[None, None]) for attention in self.attentions]
        self.motion: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        if len(motion_tokens) <= max_cached_frames:
            self.motion = [self._project(i, motion_tokens[None]) for i in range(0, len(self.attentions), 2)]

    def window(self, frames: Sequence[int], num_image_rows: int, num_motion_rows: int) -> Context:
        """Context of one window of n frames."""
        layers = []
        device, num_frames = self.image[0][0].device, len(self.motion_tokens)
        indices = frame_indices(frames, num_frames, device) if self.motion is not None else None
        tokens = take_frames(self.motion_tokens, frames, device)[None] if num_motion_rows else None
        mean = tokens.mean(1, keepdim=True) if tokens is not None else None
        for i, attention in enumerate(self.attentions):
            motion: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
            if tokens is not None and mean is not None:
                if attention.is_temporal:
                    motion = self._project(i, mean)
                elif self.motion is None:
                    motion = self._project(i, tokens)
                else:
                    key, value = self.motion[i // 2]
                    motion = key[:, indices], value[:, indices]
            layers.append(LayerContext(*self.image[i], *motion))
        return Context(tuple(layers), num_image_rows, num_motion_rows)

    def _project(self, index: int, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = self.attentions[index].project_motion(tokens)
        return key, value * self.motion_scale


class VideoPredictor:
    """Predicts v for windows of one video; implements ``sampling.Predictor``.

    Args:
        unet: On its device, in its dtype.
        image_tokens: (N, context_dim).
        motion_tokens: (T, N, context_dim).
        image_latents: (4, h, w), not multiplied by the scaling factor.
        added_time_ids: fps, motion_bucket_id, noise_aug_strength.
        pose_features: (1 or T, C₀, h, w) of the pose guider; 1 where the pose image is the same in all frames. Or a
            function that gives those of the frames of a window, (n, C₀, h, w).
        motion_scale: Factor of the motion tokens' attention.
        max_cached_frames: See ``VideoContext``.
        device, dtype: What to compute on and in; None is the UNet's own, which does not hold where a host moves and
            casts weights layer by layer.
        call: What to call in place of the UNet, with the same arguments.
        reuse: Keeps deep features between steps; None computes everything in each.

    Attributes:
        memory_mode: May be changed between calls.

    Raises:
        ShapeError: If the tokens' width is not the UNet's.
        ConfigurationError: If more layers are to run on kept features than the UNet has.
    """

    def __init__(
        self,
        unet: UNet,
        image_tokens: torch.Tensor,
        motion_tokens: torch.Tensor,
        image_latents: torch.Tensor,
        added_time_ids: Sequence[float],
        pose_features: torch.Tensor | Callable[[Sequence[int]], torch.Tensor] | None = None,
        motion_scale: float = 1.0,
        max_cached_frames: int = MAX_CACHED_FRAMES,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        call: Callable[..., torch.Tensor] | None = None,
        reuse: FeatureReuse | None = None,
    ) -> None:
        width = unet.config.cross_attention_dim
        for name, tokens in (("image_tokens", image_tokens), ("motion_tokens", motion_tokens)):
            if tokens.shape[-1] != width:
                raise ShapeError(f"{name} must have {width} channels for this UNet; got shape {tuple(tokens.shape)}.")
        if reuse is not None and reuse.num_outer_layers > unet.num_up_layers:
            raise ConfigurationError(
                f"num_outer_layers must be at most {unet.num_up_layers} for this UNet; got {reuse.num_outer_layers}."
            )
        weight = unet.conv_in.weight
        self.unet = unet
        self.call = unet if call is None else call
        self.reuse = reuse
        self.device, self.dtype = device or weight.device, dtype or weight.dtype
        self.image_latents = image_latents.to(self.device, self.dtype)
        wide = torch.promote_types(self.dtype, torch.float32)
        self.added_time_ids = torch.tensor([list(added_time_ids)], dtype=wide, device=self.device)
        if isinstance(pose_features, torch.Tensor) and len(pose_features) <= max_cached_frames:
            pose_features = pose_features.to(self.device, self.dtype)
        self.pose_features = pose_features
        image_tokens = image_tokens.to(self.device, self.dtype)
        # Those of a long video stay where they are: 131 kB a frame in half precision, twice the latents.
        is_long = len(motion_tokens) > max_cached_frames
        motion_tokens = motion_tokens.to(motion_tokens.device if is_long else self.device, self.dtype)
        self.context = VideoContext(unet, image_tokens, motion_tokens, motion_scale, max_cached_frames)
        self.memory_mode = MemoryMode.TOGETHER

    @property
    def memory_mode(self) -> MemoryMode:
        """How the branches of a window are computed."""
        return self._memory_mode

    @memory_mode.setter
    def memory_mode(self, mode: MemoryMode) -> None:
        self._memory_mode = mode
        self.unet.chunk_feed_forward(FEED_FORWARD_CHUNKS if mode is MemoryMode.ONE_BRANCH_CHUNKED else 1)

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        """Predict v; see ``sampling.Predictor``. The result is on the device and in the dtype of the computation."""
        if self.memory_mode is MemoryMode.TOGETHER or len(branches) == 1:
            return self._predict(x, timestep, frames, branches)
        return torch.cat([self._predict(x, timestep, frames, (branch,)) for branch in branches])

    def _predict(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        x = x.to(self.device, self.dtype)
        image_latents = self.image_latents.expand_as(x)
        unconditional = torch.zeros_like(image_latents)
        rows = [unconditional if branch is Branch.UNCONDITIONAL else image_latents for branch in branches]
        sample = torch.stack([torch.cat([x, row], dim=1) for row in rows])
        num_image_rows = sum(branch >= Branch.IMAGE for branch in branches)
        num_motion_rows = sum(branch >= Branch.MOTION for branch in branches)
        # Filled there, not sent there: a tensor made of a list makes the host wait.
        time = torch.full((1,), timestep, dtype=self.added_time_ids.dtype, device=self.device)
        context = self.context.window(frames, num_image_rows, num_motion_rows)
        arguments = sample, time, self.added_time_ids, context, self._pose(frames)
        if self.reuse is None:
            return self.call(*arguments)
        deep = self.reuse.take(timestep, frames, branches)
        v = self.call(*arguments, deep)
        self.reuse.keep(deep, frames, branches)
        return v

    def _pose(self, frames: Sequence[int]) -> torch.Tensor | None:
        """Pose features of a window, (1, 1 or n, C₀, h, w)."""
        features = self.pose_features
        if features is None:
            return None
        if not isinstance(features, torch.Tensor):
            features = features(frames)
        elif len(features) > 1:
            features = take_frames(features, frames, self.device)
        return features[None].to(self.device, self.dtype)
