"""Sizes of the networks and settings of a run, as frozen dataclasses. The defaults are the released model's."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace

from .errors import ConfigurationError


@dataclass(frozen=True)
class UNetConfig:
    """The denoising UNet; field names follow diffusers' ``UNetSpatioTemporalConditionModel``."""

    in_channels: int = 8
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    num_attention_heads: tuple[int, ...] = (5, 10, 20, 20)
    has_attention: tuple[bool, ...] = (True, True, True, False)
    """Which down blocks attend, outermost first; the up blocks mirror it."""
    layers_per_block: int = 2
    cross_attention_dim: int = 1024
    addition_time_embed_dim: int = 256
    num_added_time_ids: int = 3
    norm_num_groups: int = 32
    """Groups of channels that are normalised together; with as many groups as channels a mean could not pass."""


@dataclass(frozen=True)
class VisionConfig:
    """DINOv2 with registers and IMAdapters, and the token projection behind it."""

    patch_size: int = 14
    position_grid: int = 37
    """Side of the grid that the position table was trained on (37 = 518 / 14)."""
    image_size: int = 224
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: int = 4
    num_register_tokens: int = 4
    adapter_layers: tuple[int, ...] = (3, 7, 11, 15, 19, 23)
    adapter_dim: int = 384
    adapter_attention_dim: int = 256
    adapter_num_heads: int = 8
    adapter_scale: float = 0.2
    id_embedding_dim: int = 512
    num_image_tokens: int = 64

    @property
    def num_tokens(self) -> int:
        """Class token, registers and patches of a square image of ``image_size``."""
        return 1 + self.num_register_tokens + (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class ExpressionConfig:
    """Expression encoder: a ResNet of bottleneck blocks with GroupNorm."""

    stem_channels: int = 64
    layers: tuple[int, ...] = (3, 4, 6, 3)
    out_features: int = 512
    image_size: int = 256
    """Side of the motion crop."""
    num_groups: int = 1


@dataclass(frozen=True)
class HeadPoseConfig:
    """Head-pose encoder: a ResNet of basic blocks with GroupNorm."""

    stem_channels: int = 64
    layers: tuple[int, ...] = (2, 2, 2, 2)
    num_groups: int = 32
    image_size: int = 256
    """Side of the head-pose crop."""
    translation_scale: float = 0.0
    """Factor of the translation in the motion tokens (released: 0, although the tokens have room for it)."""


@dataclass(frozen=True)
class RefinerConfig:
    """Intensity-aware motion refiner with its memory bank."""

    in_features: int = 512
    hidden_dim: int = 768
    num_memories: int = 64
    num_layers: int = 6
    num_heads: int = 8
    mlp_ratio: int = 4
    out_features: int = 1018
    """The UNet's cross-attention width less 3 channels of rotation and 3 of translation."""
    num_intensity_levels: int = 128
    combine_intensities: str = "add"
    """``"add"`` (released: two tables of hidden_dim) or ``"concat"`` (paper: of half of it, side by side)."""
    intensity_statistic: str = "mean"
    """``"mean"`` (released) or ``"rms"`` (paper); see ``faces.intensity``."""


@dataclass(frozen=True)
class PoseGuiderConfig:
    """Pose guider: strided convolutions from a pose image to the UNet's first feature map."""

    block_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    out_channels: int = 320


@dataclass(frozen=True)
class VAEConfig:
    """The SVD VAE, built by diffusers' ``AutoencoderKLTemporalDecoder``."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    scaling_factor: float = 0.18215
    norm_num_groups: int = 32
    """As in ``UNetConfig``."""


@dataclass(frozen=True)
class ModelConfig:
    """All networks of one model. The default is the released size."""

    unet: UNetConfig = field(default_factory=UNetConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    expression: ExpressionConfig = field(default_factory=ExpressionConfig)
    head_pose: HeadPoseConfig = field(default_factory=HeadPoseConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    pose_guider: PoseGuiderConfig = field(default_factory=PoseGuiderConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)

    @classmethod
    def tiny(cls) -> ModelConfig:
        """A model of the same structure that a CPU runs in seconds; its untrained pictures are noise."""
        return cls(
            unet=UNetConfig(
                block_out_channels=(32, 64, 64),
                num_attention_heads=(2, 4, 4),
                # At 512x512, attention at the two larger levels would take most of the time.
                has_attention=(False, False, True),
                layers_per_block=1,
                cross_attention_dim=64,
                addition_time_embed_dim=32,
            ),
            vision=VisionConfig(
                position_grid=5,
                image_size=56,
                embed_dim=64,
                num_heads=4,
                adapter_dim=32,
                num_image_tokens=64,
            ),
            expression=ExpressionConfig(stem_channels=8, layers=(1, 1, 1, 1), out_features=32),
            head_pose=HeadPoseConfig(stem_channels=8, layers=(1, 1, 1, 1), num_groups=4),
            refiner=RefinerConfig(in_features=32, hidden_dim=64, num_layers=2, num_heads=4, out_features=58),
            pose_guider=PoseGuiderConfig(out_channels=32),
            vae=VAEConfig(block_out_channels=(32, 32, 32, 32), layers_per_block=1),
        )


NETWORK_CONFIGS = {
    "unet": "unet",
    "vision": "vision",
    "token_projection": "vision",
    "expression": "expression",
    "head_pose": "head_pose",
    "refiner": "refiner",
    "pose_guider": "pose_guider",
    "vae": "vae",
}
"""Which field of ModelConfig a network is built from."""


_LATER = {"intensity_statistic"}
"""Fields that files of earlier versions lack."""


def config_to_json(name: str, config: ModelConfig) -> str:
    """Write the part of a configuration that one network is built from.

    Args:
        name: A key of NETWORK_CONFIGS.
    """
    return json.dumps(asdict(getattr(config, NETWORK_CONFIGS[name])), sort_keys=True)


def config_from_json(name: str, text: str) -> ModelConfig:
    """Read what ``config_to_json`` wrote; all other networks have their released sizes.

    Raises:
        ConfigurationError: If it is not such a text; names the field.
    """
    field_name = NETWORK_CONFIGS[name]
    default = getattr(ModelConfig(), field_name)
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f"the configuration of {name} is not JSON ({error}).") from error
    expected = {field_.name: getattr(default, field_.name) for field_ in fields(default)}
    if isinstance(values, dict):
        values = {**{name: expected[name] for name in _LATER & set(expected)}, **values}
    if not isinstance(values, dict) or set(values) != set(expected):
        wrong = sorted(set(values) ^ set(expected)) if isinstance(values, dict) else [type(values).__name__]
        raise ConfigurationError(f"the configuration of {name} lacks or does not know {', '.join(wrong)}.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key, value in values.items():
        if not _is_like(value, expected[key]):
            raise ConfigurationError(
                f"{key} of the configuration of {name} cannot be {value!r}; it must be like {expected[key]!r}."
            )
    return replace(ModelConfig(), **{field_name: type(default)(**values)})


def _is_like(value: object, example: object) -> bool:
    """Whether two values of a configuration have one type, down to the items of a tuple."""
    if isinstance(value, tuple) and isinstance(example, tuple):
        return all(_is_like(item, example[0]) for item in value)
    # JSON, as Python reads it, knows NaN and infinity.
    is_number = not isinstance(value, float) or math.isfinite(value)
    return type(value) is type(example) and is_number


@dataclass(frozen=True)
class SamplingConfig:
    """Settings of one run. The defaults are the released ones.

    Raises:
        ConfigurationError: If a value is out of range or the overlap does not leave room for a window to advance.
    """

    num_inference_steps: int = 25
    seed: int = 72580
    strength: float = 1.0
    """Share of the steps that run, in (0, 1]; below 1 the first ones are skipped and the start is less noisy."""
    image_guidance_scale: tuple[float, float] = (2.0, 2.0)
    """Weight of appearance over no condition at the first and the last step, linear between."""
    motion_guidance_scale: tuple[float, float] = (2.0, 2.0)
    """Weight of motion over appearance alone at the first and the last step, linear between."""
    motion_scale: float = 1.0
    """Factor of the motion tokens' attention inside the UNet."""
    context_window: int = 25
    context_overlap: int = 3
    context_shift: int = 3
    """Frames by which the windows move back from one step to the next."""
    num_padding_frames: int = 15
    """Frames that fade the motion in before and out after the video; they are animated and dropped."""
    fps: float = 12.5
    """Micro-condition of SVD; not the rate of the output."""
    motion_bucket_id: float = 0.0
    noise_aug_strength: float = 0.0
    decode_chunk_size: int = 8

    def __post_init__(self) -> None:
        """Check types and ranges."""
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if field_.name.endswith("guidance_scale"):
                if not isinstance(value, tuple) or len(value) != 2:
                    raise ConfigurationError(f"{field_.name} is a first and a last value; got {value!r}.")
                for end in value:
                    _check(field_.name, end, is_whole=False)
            else:
                _check(field_.name, value, is_whole=isinstance(field_.default, int))
        if self.context_overlap >= self.context_window:
            raise ConfigurationError(
                f"context_overlap ({self.context_overlap}) must be smaller than context_window "
                f"({self.context_window}), or the windows never advance; lower context_overlap."
            )
        if int(self.num_inference_steps * self.strength) < 1:
            raise ConfigurationError(
                f"strength must leave at least one of the {self.num_inference_steps} steps; got {self.strength}."
            )


# Wide enough for any experiment; what lies outside is a slip of the hand, and would fail after minutes of work.
_RANGES: dict[str, tuple[float, float]] = {
    "num_inference_steps": (1, 10_000),
    "seed": (0, 2**63 - 1),
    "strength": (0, 1),
    "image_guidance_scale": (-100, 100),
    "motion_guidance_scale": (-100, 100),
    "motion_scale": (0, 100),
    "context_window": (1, 10_000),
    "context_overlap": (0, 10_000),
    "context_shift": (0, 10_000),
    "num_padding_frames": (0, 1_000),
    "fps": (0, 1_000),
    "motion_bucket_id": (0, 1_000),
    "noise_aug_strength": (0, 100),
    "decode_chunk_size": (1, 10_000),
}


def _check(name: str, value: object, is_whole: bool) -> None:
    low, high = _RANGES[name]
    kinds = (int,) if is_whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if is_whole else "a number"
        raise ConfigurationError(f"{name} must be {kind} from {low} to {high}; got {value!r}.")
