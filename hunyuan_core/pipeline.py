"""All stages together: the networks of one model on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .appearance import cut_reference, encode_appearance, encode_identity
from .checkpoints import ModelFiles, find_models, load_network
from .compilation import CompiledNetwork
from .config import ModelConfig, SamplingConfig
from .data import Appearance, Face, FaceTrack, Motion, VideoLatents
from .errors import HunyuanPortraitError, ShapeError
from .faces.identity import ArcFace
from .models import NETWORKS, ExpressionEncoder, HeadPoseEncoder, MotionRefiner, PoseGuider, UNet, build
from .models.careful import CarefulPredictor
from .models.feature_reuse import FeatureReuse
from .models.float8 import UNetWeights, check_float8, store_in_float8
from .models.layout import prefers_channels_last, to_channels_last
from .models.memory_plan import FULL_PRECISION, MemoryPlan
from .models.predictor import VideoPredictor
from .models.residency import Residency, in_stage
from .models.vae import as_frames, decode_frames
from .models.vision import TokenProjection, VisionEncoder
from .motion import encode_motion, pad_motion_tokens
from .pose.sequence import Skeletons
from .pose_features import pose_windows
from .sampling import (
    SAMPLERS,
    SCHEDULES,
    Denoiser,
    ExtrapolatingDenoiser,
    SpeedConfig,
    WindowMap,
    apply_strength,
    computed_steps,
    context_windows,
    initial_noise,
)
from .toy import toy_files


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The networks of one model, ready to run; made by ``from_pretrained``, ``toy`` or ``untrained_tiny``.

    Attributes:
        arcface: None where identity is not used; the image encoder then gets a zero vector.
        compiled: What is called in place of the UNet; None is the UNet itself.
        residency: Moves the networks between main memory and the device; None leaves them where they are.
        unet_weights: How the UNet keeps its weights.
    """

    unet: UNet
    vision: VisionEncoder
    token_projection: TokenProjection
    expression: ExpressionEncoder
    head_pose: HeadPoseEncoder
    refiner: MotionRefiner
    pose_guider: PoseGuider
    vae: Any
    arcface: ArcFace | None = None
    compiled: CompiledNetwork | None = None
    residency: Residency = None  # pyright: ignore[reportAssignmentType]
    unet_weights: UNetWeights = "full"

    def __post_init__(self) -> None:
        """Leave the networks where they are, if nothing else is asked for."""
        if self.residency is None:
            networks = {name: getattr(self, name) for name in NETWORKS}
            object.__setattr__(self, "residency", Residency(networks, self.unet.conv_in.weight.device))

    @property
    def device(self) -> torch.device:
        """What computes; the weights may lie elsewhere."""
        return self.residency.device

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        has_identity: bool = True,
        plan: MemoryPlan | None = None,
        unet_weights: UNetWeights = "full",
        say: Callable[[str], None] | None = None,
    ) -> Pipeline:
        """Load the released weights.

        Args:
            folder: The models folder; as in ``checkpoints.find_models``.
            device: None chooses CUDA, then MPS, then the CPU.
            dtype: Of UNet, image encoder, token projection, pose guider and VAE decoder; None is float16 on a GPU and
                float32 on the CPU. The motion networks and the VAE's encoder are float32 always, as released.
            has_identity: Whether to load ArcFace. Without it (drawings, animals) the identity is a zero vector.
            plan: How to fit into the device's memory; None has everything there. Where a call runs out of memory, the
                next smaller plan is taken.
            unet_weights: How the UNet keeps its weights; all but full change the result a little.
            say: Gets a line when another plan is taken.

        Raises:
            WeightsError: If a file is missing, damaged or of another model.
            ConfigurationError: If the device cannot hold such weights.
        """
        return cls._from_files(find_models(folder), device, dtype, has_identity, plan, unet_weights, say)

    @classmethod
    def toy(
        cls,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        has_identity: bool = True,
        plan: MemoryPlan | None = None,
        unet_weights: UNetWeights = "full",
        say: Callable[[str], None] | None = None,
    ) -> Pipeline:
        """Load the small model that the package carries; it knows drawn faces only.

        ``toy.TOY_SIZE`` and ``toy.TOY_SAMPLING`` are the size and the settings that fit it.

        Args:
            device, dtype, has_identity, plan, unet_weights, say: As for ``from_pretrained``.

        Raises:
            WeightsError: If its files are not there.
            MissingDependencyError: If no build of onnxruntime is installed, and identity is wanted.
        """
        return cls._from_files(toy_files(), device, dtype, has_identity, plan, unet_weights, say)

    @classmethod
    def _from_files(
        cls,
        files: ModelFiles,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        has_identity: bool,
        plan: MemoryPlan | None,
        unet_weights: UNetWeights,
        say: Callable[[str], None] | None,
    ) -> Pipeline:
        device = default_device() if device is None else torch.device(device)
        dtype = default_dtype(device) if dtype is None else dtype
        check_float8(unet_weights, device)
        plan = plan or MemoryPlan()
        arcface = ArcFace(files.path("arcface")) if has_identity else None
        networks = {}
        for name in NETWORKS:
            is_at_home = plan.is_offloaded or (name == "unet" and unet_weights != "full")
            networks[name] = load_network(
                name,
                files.path(name),
                dtype=torch.float32 if name in FULL_PRECISION else dtype,
                device="cpu" if is_at_home else device,
            )
        return cls._placed(networks, arcface, device, dtype, plan, unet_weights, say)

    @classmethod
    def untrained_tiny(
        cls,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        plan: MemoryPlan | None = None,
        unet_weights: UNetWeights = "full",
        say: Callable[[str], None] | None = None,
    ) -> Pipeline:
        """Build a tiny network of random weights, always the same ones; its pictures are noise.

        Args:
            device, dtype, plan, unet_weights, say: As for ``from_pretrained``.
        """
        device = default_device() if device is None else torch.device(device)
        dtype = default_dtype(device) if dtype is None else dtype
        check_float8(unet_weights, device)
        plan = plan or MemoryPlan()
        home = torch.device("cpu") if plan.is_offloaded else device
        networks = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for name in NETWORKS:
                network = build(name, ModelConfig.tiny()).eval().requires_grad_(False)
                # Not network.to(): diffusers' own warns of what is meant here.
                nn.Module.to(network, home, torch.float32 if name in FULL_PRECISION else dtype)
                networks[name] = network
        return cls._placed(networks, None, device, dtype, plan, unet_weights, say)

    @classmethod
    def _placed(
        cls,
        networks: dict[str, Any],
        arcface: ArcFace | None,
        device: torch.device,
        dtype: torch.dtype,
        plan: MemoryPlan,
        unet_weights: UNetWeights,
        say: Callable[[str], None] | None,
    ) -> Pipeline:
        # The VAE was made in float32, so that its encoder's weights are never rounded to the working dtype.
        networks["vae"].decoder.to(dtype)
        if prefers_channels_last(device, dtype):
            to_channels_last(networks["unet"])
            to_channels_last(networks["vae"].decoder)
        if unet_weights != "full":
            store_in_float8(networks["unet"], has_products=unet_weights == "fp8-products")
        if not plan.is_offloaded:
            networks["unet"].to(device)
        residency = Residency(networks, device, plan, say)
        return cls(**networks, arcface=arcface, residency=residency, unet_weights=unet_weights)

    @torch.inference_mode()
    @in_stage("appearance")
    def encode_appearance(
        self, portrait: np.ndarray, face: Face, *, size: int = 512, config: SamplingConfig | None = None
    ) -> Appearance:
        """Encode the portrait.

        Args:
            portrait: (H, W, 3) uint8 RGB.
            face: Its box chooses the square, its landmarks align the crop for ArcFace.
            size: Side of the square that is animated, a multiple of 8 (released: 512).
            config: Seed and strength of the noise augmentation.

        Raises:
            ConfigurationError: If the size is not one that the networks can compute, or the box is unusable.
        """
        config = config or SamplingConfig()
        reference = cut_reference(portrait, face, size)
        id_embedding = None
        if self.arcface is not None:
            id_embedding = encode_identity(reference.image, reference.landmarks, self.arcface)
        return encode_appearance(
            reference.image,
            id_embedding,
            self.vision,
            self.token_projection,
            self.vae,
            config.noise_aug_strength,
            config.seed,
        )

    @torch.inference_mode()
    @in_stage("motion")
    def encode_motion(
        self, frames: Iterable[np.ndarray], track: FaceTrack, on_progress: Callable[[int], None] | None = None
    ) -> Motion:
        """Encode the driving video; see ``motion.encode_motion``."""
        return encode_motion(frames, track, self.expression, self.head_pose, self.refiner, on_progress)

    @torch.inference_mode()
    @in_stage("sampling")
    def sample(
        self,
        appearance: Appearance,
        motion: Motion,
        config: SamplingConfig | None = None,
        *,
        pose_images: np.ndarray | Skeletons | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_step: Callable[[int, dict[str, torch.Tensor]], None] | None = None,
        resume: tuple[int, Mapping[str, torch.Tensor]] | None = None,
        speed: SpeedConfig | None = None,
        map_windows: WindowMap = map,
    ) -> VideoLatents:
        """Sample the latents of the video.

        Args:
            appearance: Of the portrait.
            motion: Of T driving frames.
            config: Settings of the run.
            pose_images: (1 or T, H, W, 3) uint8 RGB, the size that is animated, or drawn as they are needed; None is
                black, as released.
            on_progress: Called after each window of each step with the number of windows done and their total.
            on_step: Called after each step that a run can go on from, with the number of steps done and all that it
                takes: "latents", (T + 2 · num_padding_frames, 4, h, w) float32 on the device, and what the sampler and
                extrapolation remember, up to seven more of that shape. Where deep features are reused, which are
                eighty times as large, those are the steps after which none is.
            resume: What ``on_step`` got last in a run that was interrupted, of the same arguments.
            speed: Approximations; None is none.
            map_windows: What computes the windows of a step; see ``distributed``.

        Returns:
            The latents, on the CPU.

        Raises:
            ShapeError: If the pose images or the latents to resume do not fit the portrait or the motion.
            HunyuanPortraitError: If the result is not finite, as when half precision overflows.
        """
        config = config or SamplingConfig()
        tokens = pad_motion_tokens(motion.tokens, config.num_padding_frames)
        speed = speed or SpeedConfig()
        sigmas = apply_strength(SCHEDULES[speed.schedule](config.num_inference_steps), config.strength)
        h, w = appearance.image_latents.shape[-2:]
        reuse = FeatureReuse(speed.feature_interval, speed.num_outer_layers) if speed.feature_interval > 1 else None
        poses = pose_images, h * 8, w * 8, len(motion), config.num_padding_frames

        def build(max_cached_frames: int) -> VideoPredictor:
            return VideoPredictor(
                self.unet,
                appearance.image_tokens,
                tokens,
                appearance.image_latents,
                (config.fps, config.motion_bucket_id, config.noise_aug_strength),
                pose_windows(self.pose_guider, *poses, max_cached_frames),
                config.motion_scale,
                max_cached_frames,
                call=None if self.residency.plan.is_streamed else self.compiled,
                reuse=reuse,
            )

        predictor = CarefulPredictor(build, self.residency)
        num_done, num_steps = (0 if resume is None else resume[0]), len(sigmas) - 1
        memory = {} if resume is None else {name: kept.to(self.device) for name, kept in resume[1].items()}
        x = memory.pop("latents", None)
        shape = (len(tokens), *appearance.image_latents.shape)
        if x is None:
            latents = appearance.image_latents.to(self.device)
            noise = initial_noise(shape, config.seed, max(speed.noise_padding - config.num_padding_frames, 0)).to(
                latents
            )
            x = latents * self.vae.config.scaling_factor + noise * sigmas[0]
        elif x.shape != shape or not 0 <= num_done <= num_steps:
            raise ShapeError(
                f"resume must be latents of shape {shape} after 0 to {num_steps} steps; got {tuple(x.shape)} "
                f"after {num_done}. Start anew."
            )
        if on_progress is not None:
            map_windows = _counted(map_windows, len(tokens), num_steps, config, speed, on_progress, num_done)
        denoiser = Denoiser(predictor, len(tokens), sigmas, config, speed, map_windows)
        if speed.extrapolation_interval > 1:
            denoiser = ExtrapolatingDenoiser(
                denoiser, sigmas, speed.extrapolation_interval, speed.extrapolation_order, memory
            )

        def step_done(i: int, x: torch.Tensor, _: torch.Tensor) -> None:
            if on_step is not None and (reuse is None or reuse.is_fresh or i + 1 == num_steps):
                on_step(i + 1, {"latents": x, **memory})

        x = SAMPLERS[speed.sampler](denoiser, x.to(self.device), sigmas, step_done, num_done, memory).cpu()
        check_finite(x, self.unet.conv_in.weight.dtype)
        return VideoLatents(x, config.num_padding_frames)

    @torch.inference_mode()
    def decode(
        self,
        latents: VideoLatents,
        chunk_size: int = SamplingConfig.decode_chunk_size,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Decode latents to frames and drop the padding.

        Args:
            latents: Of ``sample``.
            chunk_size: Frames that are decoded together; they influence each other.
            on_progress: Called after each frame that was handed out, with their number so far.

        Yields:
            (H, W, 3) uint8 RGB.
        """
        first, last = latents.num_padding_frames, len(latents.samples) - latents.num_padding_frames
        attempt = partial(self.residency.retry, is_sampling=False)
        with self.residency.stage("decoding"):
            chunks = decode_frames(self.vae, latents.samples, chunk_size, first, last, attempt)
            yield from as_frames(chunks, on_progress)


def check_finite(latents: torch.Tensor, dtype: torch.dtype) -> None:
    """Refuse latents that would decode to black pictures.

    Args:
        dtype: What the UNet computed in.

    Raises:
        HunyuanPortraitError: If a value is NaN or infinite.
    """
    if torch.isfinite(latents).all():
        return
    if dtype is torch.float16:
        cause = "the UNet overflowed in float16; run in bfloat16, or in float32 on cards without it"
    else:
        cause = "the weights or the inputs are damaged; check the weights with `hunyuan-portrait verify`"
    raise HunyuanPortraitError(f"The latents are not finite: {cause}.")


def default_device() -> torch.device:
    """CUDA (or ROCm) where there is one, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """Released: float16. The CPU computes in float32, because its half precision is slower."""
    return torch.float32 if device.type == "cpu" else torch.float16


def _counted(
    map_windows: WindowMap,
    num_frames: int,
    num_steps: int,
    config: SamplingConfig,
    speed: SpeedConfig,
    on_progress: Callable[[int, int], None],
    steps_done: int,
) -> WindowMap:
    """Report each window."""
    windows = context_windows(num_frames, config.context_window, config.context_overlap, is_circular=speed.is_circular)
    num_windows = len(windows)
    steps = computed_steps(num_steps, speed.extrapolation_interval, speed.extrapolation_order)
    total = num_windows * len(steps)
    num_done = num_windows * sum(step < steps_done for step in steps)

    def count(predict: Callable[[int], torch.Tensor], windows: Sequence[int]) -> Iterator[torch.Tensor]:
        nonlocal num_done
        for prediction in map_windows(predict, windows):
            num_done += 1
            on_progress(num_done, total)
            yield prediction

    return count
