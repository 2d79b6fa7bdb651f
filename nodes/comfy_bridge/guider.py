"""The denoiser of one video as ComfyUI's GUIDER, which any of its samplers can drive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.samplers
import latent_preview
import torch

from ...hunyuan_core.config import SamplingConfig
from ...hunyuan_core.data import Appearance, Branch, Motion
from ...hunyuan_core.errors import ShapeError
from ...hunyuan_core.models import PoseGuider
from ...hunyuan_core.models.feature_reuse import FeatureReuse, feature_bytes
from ...hunyuan_core.models.memory import MemoryMode
from ...hunyuan_core.models.predictor import MAX_CACHED_FRAMES, VideoPredictor
from ...hunyuan_core.motion import pad_motion_tokens
from ...hunyuan_core.pipeline import check_finite
from ...hunyuan_core.pose_features import PoseWindows, pose_windows
from ...hunyuan_core.sampling import (
    SAMPLERS,
    SCHEDULES,
    Denoiser,
    ExtrapolatingDenoiser,
    SpeedConfig,
    apply_strength,
    branch_weights,
    context_windows,
    initial_noise,
)
from .memory import ManagedNetwork, free_cache, is_out_of_memory, load, out_of_memory
from .model import choose_memory_mode, expect_portrait_model
from .progress import Progress, check_interrupted, say

PADDING_KEY = "hunyuan_portrait_padding"
"""Where a LATENT tells how many frames at each end are padding."""

_GIB = 2**30


@dataclass(frozen=True, eq=False)
class PortraitVideo:
    """What one video is made of.

    Attributes:
        pose_images: IMAGE, (1 or T, H, W, 3) float in [0, 1]; None is black, as released.
    """

    appearance: Appearance
    motion: Motion
    pose_guider: ManagedNetwork[PoseGuider]
    pose_images: torch.Tensor | None = None


class PortraitGuider(comfy.samplers.CFGGuider):
    """Guidance by branches, and windows over time.

    Args:
        patcher: The MODEL.
        video: What to animate, by what.
        config: Guidance and windows; its steps, seed and strength are the sampler's matter.
        memory_mode: None chooses by the device's memory.
        speed: Approximations; its schedule, sampler and noise are the sampler's matter.

    Attributes:
        report: What happened in the last run, a line each.

    Raises:
        ConfigurationError: If the MODEL is not this pack's.
    """

    def __init__(
        self,
        patcher: Any,
        video: PortraitVideo,
        config: SamplingConfig,
        memory_mode: MemoryMode | None = None,
        speed: SpeedConfig | None = None,
    ) -> None:
        expect_portrait_model(patcher)
        super().__init__(patcher.clone())
        self.video = video
        self.config = config
        self.memory_mode = memory_mode
        self.speed = speed or SpeedConfig()
        self.report: list[str] = []
        self._denoiser: Denoiser | ExtrapolatingDenoiser | None = None
        self._pose_features: torch.Tensor | PoseWindows | None = None

    @property
    def num_frames(self) -> int:
        """Frames that are sampled, padding included."""
        return len(self.video.motion) + 2 * self.config.num_padding_frames

    @property
    def num_windows(self) -> int:
        """Calls of the UNet in one step, if branches go together."""
        config = self.config
        return len(
            context_windows(
                self.num_frames, config.context_window, config.context_overlap, is_circular=self.speed.is_circular
            )
        )

    def start_latents(self) -> torch.Tensor:
        """Give the latents to start from: the portrait in every frame, (T + 2 · padding, 4, h, w), core's scale."""
        latents = self.video.appearance.image_latents
        return latents.expand(self.num_frames, *latents.shape).contiguous()

    def sample(self, noise: torch.Tensor, latent_image: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Sample; arguments are those of core's guiders.

        Raises:
            ShapeError: If the latents are not of this video.
            HunyuanPortraitError: If the result is not finite.
        """
        expected = (self.num_frames, *self.video.appearance.image_latents.shape)
        if tuple(latent_image.shape) != expected:
            raise ShapeError(
                f"latent_image must be {expected} for this portrait and motion (frames and padding, channels, height / "
                f"8, width / 8); got {tuple(latent_image.shape)}. Connect the latent_image of 'HunyuanPortrait Guider'."
            )
        h, w = expected[-2:]
        self._prepare(h, w)
        try:
            samples = super().sample(noise, latent_image, *args, **kwargs)
        finally:
            # Keys, values and maps would otherwise stay on the device for as long as the graph is open.
            self._denoiser = self._pose_features = None
        check_finite(samples, self.model_patcher.model.get_dtype_inference())
        return samples

    def predict_noise(
        self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any] | None = None, seed: Any = None
    ) -> torch.Tensor:
        """Denoise x, (T + 2 · padding, 4, h, w), at noise level timestep[0]; called by ComfyUI's samplers."""
        options = (model_options or {}).get("transformer_options", {})
        if self._denoiser is None:
            self._denoiser = self._make_denoiser(x.device, options)
        return self._denoiser(x, float(timestep.flatten()[0]))

    @torch.inference_mode()
    def _prepare(self, h: int, w: int) -> None:
        model = expect_portrait_model(self.model_patcher)
        branches = self._branches()
        window = self.config.context_window
        model.kept_bytes = self._kept_bytes(len(branches), h, w)
        mode = self.memory_mode
        if mode is None:
            mode = choose_memory_mode(self.model_patcher, branches, window, self.num_frames, h, w)
        model.num_branches, model.context_window, model.memory_mode = len(branches), window, mode
        weights, activations = self.model_patcher.model_size(), model.memory_required((self.num_frames, 4, h, w))
        self.report = [
            f"{len(self.video.motion)} frames and 2×{self.config.num_padding_frames} of padding in {self.num_windows} "
            f"windows; expected memory {weights / _GIB:.1f} GiB of weights and {activations / _GIB:.1f} GiB to compute "
            f"with ({_MODE_NAMES[mode]})"
        ]
        default = SpeedConfig()
        if changes := {name: value for name, value in vars(self.speed).items() if value != getattr(default, name)}:
            self.report.append(f"approximate: {', '.join(f'{name} {value}' for name, value in changes.items())}")
        for line in self.report:
            say(line)
        video = self.video
        load(video.pose_guider)
        features = pose_windows(
            video.pose_guider.network,
            video.pose_images,
            h * 8,
            w * 8,
            len(video.motion),
            self.config.num_padding_frames,
            MAX_CACHED_FRAMES,
        )
        if isinstance(features, PoseWindows):
            # It runs between the UNet's calls, so ComfyUI brings both to the device together.
            self.model_patcher.set_additional_models("hunyuan_portrait_pose", [video.pose_guider.patcher])
        else:
            features = features.cpu()
        self._pose_features = features

    def _branches(self) -> tuple[Branch, ...]:
        """All branches that run at some step."""
        config = self.config
        ends = zip(config.image_guidance_scale, config.motion_guidance_scale, strict=True)
        ramps = config.image_guidance_scale[0] != config.image_guidance_scale[1] or (
            config.motion_guidance_scale[0] != config.motion_guidance_scale[1]
        )
        found = {branch for image, motion in ends for branch in branch_weights(image, motion)}
        return tuple(Branch) if ramps else tuple(sorted(found))

    def _kept_bytes(self, num_branches: int, h: int, w: int) -> int:
        """Bytes of deep features that are kept from step to step."""
        speed, model = self.speed, self.model_patcher.model
        if speed.feature_interval == 1:
            return 0
        unet, dtype = model.diffusion_model.config, model.get_dtype_inference()
        return feature_bytes(unet, speed.num_outer_layers, num_branches, self.num_frames, h, w, dtype)

    def _make_denoiser(self, device: torch.device, options: dict[str, Any]) -> Denoiser | ExtrapolatingDenoiser:
        model, config, video, speed = self.inner_model, self.config, self.video, self.speed
        reuse = FeatureReuse(speed.feature_interval, speed.num_outer_layers) if speed.feature_interval > 1 else None

        def call(*inputs: Any) -> torch.Tensor:
            sample, time_, added_time_ids, context, pose_features, *deep = inputs
            return model.apply_model(
                sample,
                time_,
                transformer_options=options,
                added_time_ids=added_time_ids,
                context=context,
                pose_features=pose_features,
                **({"deep": deep[0]} if deep else {}),
            )

        def build(max_cached_frames: int) -> VideoPredictor:
            return VideoPredictor(
                model.diffusion_model,
                video.appearance.image_tokens,
                pad_motion_tokens(video.motion.tokens, config.num_padding_frames),
                video.appearance.image_latents,
                (config.fps, config.motion_bucket_id, config.noise_aug_strength),
                self._pose_features,
                config.motion_scale,
                max_cached_frames,
                device=device,
                dtype=model.get_dtype_inference(),
                call=call,
                reuse=reuse,
            )

        predictor = None
        try:
            predictor = build(MAX_CACHED_FRAMES)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        if predictor is None:
            free_cache()
            self.report.append("Out of memory; keys and values of the motion are made for each window anew")
            say(self.report[-1])
            predictor = build(0)
        predictor.memory_mode = model.memory_mode
        careful, sigmas = _CarefulPredictor(predictor, self.report), options["sample_sigmas"].cpu()
        denoiser = Denoiser(careful, self.num_frames, sigmas, config, speed)
        if speed.extrapolation_interval == 1:
            return denoiser
        return ExtrapolatingDenoiser(denoiser, sigmas, speed.extrapolation_interval, speed.extrapolation_order)


class _CarefulPredictor:
    """Stops when the user cancels, and goes on with less memory where a call runs out of it.

    Args:
        report: Gets a line for each change.
    """

    def __init__(self, predictor: VideoPredictor, report: list[str]) -> None:
        self._predictor = predictor
        self._report = report

    def __call__(
        self, x: torch.Tensor, timestep: float, frames: Sequence[int], branches: Sequence[Branch]
    ) -> torch.Tensor:
        while True:
            check_interrupted()
            try:
                return self._predictor(x, timestep, frames, branches)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self._predictor.memory_mode is MemoryMode.ONE_BRANCH_CHUNKED:
                    raise out_of_memory(
                        f"Out of memory with {len(frames)} frames at a time, in the mode that needs least: lower "
                        "context_window, or size of 'HunyuanPortrait Appearance (IMAdapter)', or choose an fp8 "
                        f"weight_dtype where the UNet is loaded. ({error})"
                    ) from error
            # Outside the handler, where the error no longer holds the failed call's tensors.
            self._predictor.memory_mode = MemoryMode(self._predictor.memory_mode + 1)
            free_cache()
            line = f"Out of memory; going on with {_MODE_NAMES[self._predictor.memory_mode]} (same result, slower)"
            self._report.append(line)
            say(line)


_MODE_NAMES = {
    MemoryMode.TOGETHER: "all branches together",
    MemoryMode.ONE_BRANCH: "one branch at a time",
    MemoryMode.ONE_BRANCH_CHUNKED: "one branch at a time and chunked feed-forward",
}


def sample_video(guider: PortraitGuider) -> torch.Tensor:
    """Run the released sampler, or the one that the guider's speed names, with previews.

    Returns:
        Latents, (T + 2 · padding, 4, h, w) float32 in core's scale, in main memory.
    """
    config, speed = guider.config, guider.speed
    sigmas = schedule(config.num_inference_steps, config.strength, speed.schedule)
    start = guider.start_latents()
    margin = max(speed.noise_padding - config.num_padding_frames, 0)
    is_released = speed.sampler == SpeedConfig.sampler
    samples = guider.sample(
        initial_noise(tuple(start.shape), config.seed, margin),
        start,
        comfy.samplers.sampler_object("euler") if is_released else _own_sampler(speed.sampler),
        sigmas,
        callback=_StepReport(guider, len(sigmas) - 1),
        disable_pbar=True,
        seed=config.seed,
    )
    return samples.cpu()


def schedule(num_steps: int, strength: float, name: str = SpeedConfig.schedule) -> torch.Tensor:
    """Noise levels as SIGMAS: (steps + 1,) float32; the name is a key of ``SCHEDULES``."""
    return apply_strength(SCHEDULES[name](num_steps), strength)


def _own_sampler(name: str) -> comfy.samplers.KSAMPLER:
    """Give one of the core's samplers as SAMPLER."""

    def sample(
        model: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Any = None,
        disable: Any = None,
    ) -> torch.Tensor:
        def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
            return model(x, x.new_full((len(x),), sigma), **(extra_args or {}))

        def step_done(i: int, x: torch.Tensor, denoised: torch.Tensor) -> None:
            if callback is not None:
                callback({"i": i, "x": x, "denoised": denoised, "sigma": sigmas[i]})

        return SAMPLERS[name](denoiser, x, sigmas, step_done)

    return comfy.samplers.KSAMPLER(sample)


class _StepReport:
    """Called by ComfyUI's samplers after each step: progress, a preview, and the time that is left."""

    def __init__(self, guider: PortraitGuider, num_steps: int) -> None:
        self._guider = guider
        self._num_steps = num_steps
        self._progress = Progress(num_steps)
        model = guider.model_patcher.model
        self._previewer = latent_preview.get_previewer(guider.model_patcher.load_device, model.latent_format)
        self._second_step_began: float | None = None

    def __call__(self, step: int, denoised: torch.Tensor, x: torch.Tensor, total: int) -> None:
        preview = None
        if self._previewer is not None:
            middle = len(denoised) // 2  # the ends are padding
            preview = self._previewer.decode_latent_to_preview(denoised[middle : middle + 1])
        self._progress(step + 1, preview)
        now = time.perf_counter()
        if step == 0:
            # The first step also loads and warms up, so it tells nothing of the others.
            self._second_step_began = now
        elif step == 1 and self._second_step_began is not None:
            seconds = now - self._second_step_began
            left = seconds * (self._num_steps - 2)
            line = f"{seconds:.1f} s per step after the first, about {left:.0f} s left"
            self._guider.report.append(line)
            say(line)
