"""What a training run is told, read from a TOML file."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import NETWORK_CONFIGS, ModelConfig
from ..errors import ConfigurationError

STAGES = ("vae", "motion", "joint", "reader")


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from."""

    videos: str = ""
    """Folder of the shards that ``hunyuan-portrait prepare`` wrote; empty is the drawn world."""
    image_size: int = 128
    crop_size: int = 0
    """Stage vae: side of the part of a picture that is trained on, a multiple of 8; 0 is all of it."""
    num_frames: int = 5
    """Frames of a clip that are trained on together."""
    max_stride: int = 4
    """Largest step between them, frames of the video."""
    other_driver_share: float = 0.5
    """Drawn world only: share of clips whose driver is somebody else with the same motion."""
    colour_jitter: float = 0.2
    """Largest change of brightness, contrast and saturation of the motion crops, as a share."""
    identity: str = "network"
    """``"network"`` trains a small one in the place of ArcFace; ``"stored"`` takes what ArcFace saw in the videos."""
    pose_images: str = "black"
    """``"black"`` as the released inference feeds, or ``"skeleton"`` as in the paper."""
    dropped_edges: float = 0.1
    """Share of a skeleton's edges that a clip goes without."""
    style_model: str = ""
    """ONNX file of an image-to-image network that redraws clips (paper: AnimeGANv3); empty is none."""
    style_share: float = 0.25
    """Share of clips that it redraws."""
    num_workers: int = 1
    encoded: str = ""
    """Stages motion and joint: folder in which ``num_encoded`` clips are kept, drawn or read and encoded once, and
    trained on again and again in another order and with other noise; empty makes each anew."""
    num_encoded: int = 0
    encoded_frames: int = 0
    """Frames of each such clip; where more than ``num_frames``, some that follow each other are taken each time. 0 is
    ``num_frames``."""


@dataclass(frozen=True)
class LossConfig:
    """Noise levels, dropout of conditions, and the parts of the loss."""

    sigma_mean: float = 0.7
    """Of ln σ; SVD's."""
    sigma_std: float = 1.6
    noise_levels: int = 1
    """Noise levels that each clip is trained at in one step."""
    drop_all: float = 0.1
    """Share of clips that see neither portrait nor motion."""
    drop_motion: float = 0.1
    """Share of clips that see the portrait alone."""
    feature_weight: float = 0.0
    """Drawn world only: how much more the error counts where eyes, brows and mouth are, 0 is no more than elsewhere."""
    face_weight: float = 0.0
    """Drawn world only, stage joint: the same for the whole face."""
    auxiliary_weight: float = 0.0
    """Drawn world only: weight of reading the known motion and looks off the tokens, at the first step."""
    auxiliary_steps: int = 1
    """Steps over which that weight falls to 0."""
    kl_weight: float = 3e-4
    edge_weight: float = 0.5
    """Stage vae: of the differences between neighbouring pixels."""
    colour_weight: float = 1.0
    """Stage vae: of the means over 8x8 pixels."""


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and its schedule."""

    num_steps: int = 1000
    batch_size: int = 4
    """Clips (stage vae: pictures) of one step over all processes and accumulated parts."""
    num_accumulated: int = 1
    """Parts that one process computes one after the other."""
    learning_rate: float = 1e-5
    warmup_steps: int = 0
    final_share: float = 1.0
    """Of the learning rate that is left at the end of a cosine; 1 keeps it constant."""
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.01
    gradient_clip: float = 0.99
    """Largest norm of the gradient."""
    ema_decay: float = 0.9999
    precision: str = "fp32"
    """``"fp32"``, ``"bf16"`` or ``"fp16"``; weights and optimiser stay fp32."""
    gradient_checkpointing: bool = False
    is_compiled: bool = False
    """Whether the UNet goes through ``torch.compile``: minutes at the start, a quarter less for each step on a CPU.
    Conditions that are dropped (``drop_all``, ``drop_motion``) make it compile again and again; leave them at 0."""


@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank updates of the UNet's linear layers, a light way to fine-tune (Hu et al. 2021)."""

    rank: int = 0
    """0 is none. Otherwise the UNet's own weights stay, and ``trainable`` names ``unet.*.lora_*``."""
    alpha: float = 1.0
    """Updates are multiplied by alpha / rank."""
    targets: tuple[str, ...] = ("*.to_q", "*.to_k", "*.to_v", "*.to_out.0", "*.to_k_ip.0", "*.to_v_ip.0")
    """Patterns of the layers' names."""


@dataclass(frozen=True)
class OutputConfig:
    """What is written, and when."""

    folder: str = "training"
    checkpoint_every: int = 500
    log_every: int = 10
    num_kept: int = 2
    """Checkpoints that are kept."""
    half_precision: bool = False
    """Whether exported weights are float16, for use; to train on from, keep float32. The identity network's
    ONNX file computes in float32 all the same."""
    has_tensorboard: bool = False
    """Whether losses and samples go to TensorBoard, into the folder's ``log``."""
    sample_every: int = 0
    """Steps between grids of samples (driver, result, truth) of clips that are never trained on; 0 is none."""
    num_samples: int = 4
    sample_steps: int = 10
    """Denoising steps of a sample."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run."""

    stage: str = "joint"
    """``"vae"``, ``"motion"`` (motion and image tokens against the drawn world's truth), ``"joint"``, or ``"reader"``
    (what reads the drawn world's pictures)."""
    seed: int = 0
    start_from: str | tuple[str, ...] = ""
    """Folder of weights to start from, or ``"toy"``, or a list of these: the first that has a network gives it, and
    networks that none has start at random."""
    trainable: tuple[str, ...] = (
        "unet",
        "pose_guider",
        "token_projection",
        "vision.*.adapter",
        "refiner",
        "expression",
    )
    """Networks or parts of them that learn, as patterns of ``network.parameter`` prefixes; the rest is frozen."""
    anew: tuple[str, ...] = ()
    """Networks that start at random although ``start_from`` has them."""
    ablate: tuple[str, ...] = ()
    """Parts that the model is trained without, of ``ablation.ABLATIONS``; what is exported animates without them."""
    memory_std: float = 0.0
    """Standard deviation that new memories are drawn with. 0 is the paper's 1/√hidden_dim, beside which the intensity's
    shift is large: the memories of a small model that starts from nothing then stay alike, and so do its tokens."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        """Check what cannot be told from the types."""
        for name, values in _CHOICES.items():
            if (value := _look_up(self, name)) not in values:
                raise ConfigurationError(f"{name} must be one of {', '.join(values)}; got {value!r}.")
        for name, (low, high) in _RANGES.items():
            if not low <= (value := _look_up(self, name)) <= high:
                raise ConfigurationError(f"{name} must be from {low} to {high}; got {value}.")
        loss = self.loss
        if loss.drop_all + loss.drop_motion > 1:
            raise ConfigurationError(
                f"loss.drop_all ({loss.drop_all}) and loss.drop_motion ({loss.drop_motion}) are shares of all clips; "
                "lower one, so that they are at most 1 together."
            )
        _check_ablate(self)
        if "imadapter" in self.ablate:
            vision = dataclasses.replace(self.model.vision, adapter_scale=0.0)
            object.__setattr__(self, "model", dataclasses.replace(self.model, vision=vision))
        if self.stage != "joint" and (self.lora.rank > 0 or self.optimiser.gradient_checkpointing or loss.face_weight):
            raise ConfigurationError(
                "lora.rank, loss.face_weight and optimiser.gradient_checkpointing are of the UNet, which stage "
                f"{self.stage!r} does not have; leave them out, or set stage to joint."
            )
        _check_videos(self)
        if self.output.sample_every and (self.stage != "joint" or not self.output.has_tensorboard):
            raise ConfigurationError(
                "output.sample_every is for stage joint with output.has_tensorboard = true; leave it out otherwise."
            )
        for (one, first), (other, second) in _equal_sizes(self.model):
            if first != second:
                raise ConfigurationError(f"{one} ({first}) must be {other} ({second}); change one of the two.")
        optimiser = self.optimiser
        if optimiser.batch_size % optimiser.num_accumulated:
            raise ConfigurationError(
                f"optimiser.batch_size ({optimiser.batch_size}) must be a multiple of optimiser.num_accumulated "
                f"({optimiser.num_accumulated})."
            )
        _check_sizes(self.data)
        _check_encoded(self)


def _check_sizes(data: DataConfig) -> None:
    if data.image_size % 8:
        raise ConfigurationError(f"data.image_size must be a multiple of 8; got {data.image_size}.")
    if data.crop_size % 8 or not 0 <= data.crop_size <= data.image_size:
        raise ConfigurationError(
            f"data.crop_size must be a multiple of 8 up to data.image_size ({data.image_size}), or 0; got "
            f"{data.crop_size}."
        )


def _check_ablate(config: TrainingConfig) -> None:
    from ..ablation import ABLATIONS  # not at module level: it imports all networks

    unknown = sorted(set(config.ablate) - set(ABLATIONS))
    if unknown or (config.ablate and config.stage in ("vae", "reader")):
        raise ConfigurationError(
            f"ablate names {', '.join(unknown or config.ablate)}, which stage {config.stage!r} does not have; "
            f"it may be {', '.join(ABLATIONS)}, in the stages motion and joint."
        )


def _check_encoded(config: TrainingConfig) -> None:
    data = config.data
    if bool(data.encoded) != bool(data.num_encoded) or (data.encoded and config.stage not in ("motion", "joint")):
        raise ConfigurationError(
            "data.encoded and data.num_encoded go together, for stages motion and joint; leave both out otherwise."
        )
    if data.encoded_frames and (not data.encoded or data.encoded_frames < data.num_frames):
        raise ConfigurationError(
            f"data.encoded_frames ({data.encoded_frames}) is for data.encoded, and at least data.num_frames "
            f"({data.num_frames}); raise it, or leave it out."
        )


def _check_videos(config: TrainingConfig) -> None:
    loss = config.loss
    knows = config.stage in ("motion", "reader") or loss.auxiliary_weight or loss.feature_weight or loss.face_weight
    if config.data.videos and knows:
        raise ConfigurationError(
            "Stages motion and reader, and loss.auxiliary_weight, loss.feature_weight or loss.face_weight above 0, "
            "learn from what only the drawn world knows; leave them out, or leave out data.videos."
        )
    if config.data.identity == "stored" and not config.data.videos:
        raise ConfigurationError('data.identity = "stored" is for data.videos; leave it out for the drawn world.')


_CHOICES = {
    "stage": STAGES,
    "data.identity": ("network", "stored"),
    "model.refiner.intensity_statistic": ("mean", "rms"),
    "data.pose_images": ("black", "skeleton"),
    "optimiser.precision": ("fp32", "bf16", "fp16"),
}
_MANY = 2**31
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**62),
    "memory_std": (0, 100),
    "data.image_size": (64, 4096),
    "data.num_frames": (1, 25),
    "data.max_stride": (1, 25),
    "data.other_driver_share": (0, 1),
    "data.colour_jitter": (0, 1),
    "data.dropped_edges": (0, 1),
    "data.style_share": (0, 1),
    "data.num_workers": (0, 256),
    "data.num_encoded": (0, _MANY),
    "data.encoded_frames": (0, 25),
    "loss.sigma_mean": (-10, 10),
    "loss.sigma_std": (0, 10),
    "loss.noise_levels": (1, 1024),
    "loss.drop_all": (0, 1),
    "loss.drop_motion": (0, 1),
    "loss.feature_weight": (0, 1e6),
    "loss.face_weight": (0, 1e6),
    "loss.auxiliary_weight": (0, 1e6),
    "loss.auxiliary_steps": (1, _MANY),
    "loss.kl_weight": (0, 1e6),
    "loss.edge_weight": (0, 1e6),
    "loss.colour_weight": (0, 1e6),
    "optimiser.num_steps": (1, _MANY),
    "optimiser.batch_size": (1, _MANY),
    "optimiser.num_accumulated": (1, _MANY),
    "optimiser.learning_rate": (0, 1),
    "optimiser.warmup_steps": (0, _MANY),
    "optimiser.final_share": (0, 1),
    "optimiser.beta1": (0, 1),
    "optimiser.beta2": (0, 1),
    "optimiser.weight_decay": (0, 1),
    "optimiser.gradient_clip": (0, 1e9),
    "optimiser.ema_decay": (0, 1),
    "lora.rank": (0, 4096),
    "lora.alpha": (0, 4096),
    "output.checkpoint_every": (1, _MANY),
    "output.log_every": (1, _MANY),
    "output.num_kept": (1, _MANY),
    "output.sample_every": (0, _MANY),
    "output.num_samples": (1, 64),
    "output.sample_steps": (1, 1000),
}


def _look_up(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _equal_sizes(model: ModelConfig) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Sizes of different networks that must be equal, by name."""
    width = ("model.unet.cross_attention_dim", model.unet.cross_attention_dim)
    return [
        (("model.vision.embed_dim", model.vision.embed_dim), width),
        # The refiner leaves room for rotation and translation.
        (("model.refiner.out_features + 6", model.refiner.out_features + 6), width),
        (
            ("model.refiner.in_features", model.refiner.in_features),
            ("model.expression.out_features", model.expression.out_features),
        ),
        (
            ("model.pose_guider.out_channels", model.pose_guider.out_channels),
            ("the first of model.unet.block_out_channels", model.unet.block_out_channels[0]),
        ),
    ]


def read_config(path: str | Path) -> TrainingConfig:
    """Read a training configuration.

    Raises:
        ConfigurationError: If the file is missing or not TOML, or a key or value is wrong; names it.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pyright: ignore[reportMissingImports]

    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as a TOML file ({error}).") from error
    return _build(TrainingConfig, values, "")


def _build(kind: type, values: dict[str, Any], prefix: str) -> Any:
    """Make a dataclass of nested tables."""
    hints = typing.get_type_hints(kind)
    known = {field_.name: field_ for field_ in dataclasses.fields(kind)}
    arguments = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            raise ConfigurationError(f"The configuration has no {name}; it has {', '.join(prefix + k for k in known)}.")
        arguments[key] = _convert(hints[key], value, name)
    return kind(**arguments)


def _toy_model() -> ModelConfig:
    """Sizes of the model that the package carries."""
    from ..checkpoints import read_config as read_sizes  # these import torch
    from ..toy import toy_files

    files = toy_files()
    sizes = {part: getattr(read_sizes(name, files.path(name)), part) for name, part in NETWORK_CONFIGS.items()}
    return ModelConfig(**sizes)


_MODELS = {"released": ModelConfig, "tiny": ModelConfig.tiny, "toy": _toy_model}


def _convert(hint: Any, value: Any, name: str) -> Any:
    if hint is ModelConfig and isinstance(value, str):
        if value not in _MODELS:
            raise ConfigurationError(f"{name} is a table of sizes, or one of {', '.join(_MODELS)}; got {value!r}.")
        return _MODELS[value]()
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigurationError(f"{name} is a table; got {value!r}.")
        return _build(hint, value, f"{name}.")
    if typing.get_origin(hint) is types.UnionType:  # one value, or a list of such
        one, several = typing.get_args(hint)
        return _convert(several if isinstance(value, list) else one, value, name)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list):
            raise ConfigurationError(f"{name} is a list; got {value!r}.")
        return tuple(_convert(item, part, name) for part in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigurationError(f"{name} is a {getattr(hint, '__name__', hint)}; got {value!r}.")
    return value
