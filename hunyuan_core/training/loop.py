"""The training loop: any stage, any number of processes, exact resume."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..errors import ConfigurationError, HunyuanPortraitError
from ..optional import require
from ..toy import TOY_FOLDER
from .checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .datasets import open_clips, open_frames
from .encoded_clips import EncodedClips, fill
from .journal import EXTRA, Journal
from .learner import Learner
from .lora import add_lora
from .reader_data import Pictures, ToyPictures
from .removal import remove_parts
from .samples import sample_grid
from .stages import STAGES, JointStage, MotionStage, Stage, choose_trainable
from .toy_data import Clip, Frames
from .weights import export, start_from

OnStep = Callable[[int, Mapping[str, float]], None]
"""Called after each step with the number of steps done and the losses."""


@dataclass(frozen=True)
class Result:
    """Where a run ended: its exported weights, and the losses of its last step."""

    weights: Path
    losses: Mapping[str, float]


def train(config: TrainingConfig, on_step: OnStep | None = None, *, is_resumed: bool = False) -> Result:
    """Train one stage.

    Every step depends on the weights, the configuration and its own number alone: clips and their noise are functions
    of seed and index. So a resumed run does what an uninterrupted one would, and several processes what one would.

    Args:
        on_step: Called in the main process.
        is_resumed: Go on from the folder's newest checkpoint; otherwise the folder must have none.

    Raises:
        MissingDependencyError: If accelerate is not installed.
        ConfigurationError: If the folder has checkpoints and is not to be resumed, or those of another configuration.
        HunyuanPortraitError: If the loss is not finite; names the step and the clips.
        WeightsError: If a file cannot be read or written; the last checkpoint stays.
    """
    accelerator = _accelerator(config)
    folder = Path(config.output.folder)
    checkpoint = _find_checkpoint(folder, config, is_resumed)
    stage = build_stage(config).to(accelerator.device)
    learner = Learner(stage, config.optimiser)
    num_done = 0
    if checkpoint is not None:
        num_done = checkpoint.num_done
        learner.restore(checkpoint)
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(checkpoint.scaler)
    wrapped, optimiser = accelerator.prepare(stage, learner.optimiser)
    if config.data.encoded:
        encode = stage.encode_pictures if isinstance(stage, JointStage) else None
        with accelerator.autocast():
            fill(config, encode, accelerator.process_index, accelerator.num_processes)
        accelerator.wait_for_everyone()
    watch = _Watch(config, stage, learner, on_step, num_done) if accelerator.is_main_process else None

    losses: dict[str, float] = {}
    for parts in _batches(config, num_done, accelerator.process_index, accelerator.num_processes):
        learner.set_learning_rate(learning_rate(config.optimiser.learning_rate, num_done, config))
        losses = _accumulate(accelerator, wrapped, parts, num_done)
        losses["gradient"] = float(accelerator.clip_grad_norm_(wrapped.parameters(), config.optimiser.gradient_clip))
        _check_finite(losses, num_done, config)
        optimiser.step()
        optimiser.zero_grad()
        num_done += 1
        learner.update_average(num_done)
        if watch is not None:
            watch.step_done(num_done, losses, accelerator.scaler)
    accelerator.wait_for_everyone()
    weights = folder / "weights"
    if watch is not None:
        watch.close()
        with learner.averaged():
            export(stage, config, weights)
    accelerator.wait_for_everyone()
    return Result(weights, losses)


def export_newest(config: TrainingConfig) -> Path:
    """Export the average of a run's newest checkpoint, as the end of the run would; the run can still go on.

    Raises:
        ConfigurationError: If the output folder has no checkpoint of this configuration.
        WeightsError: If a file cannot be read or written.
    """
    folder = Path(config.output.folder)
    checkpoint = _find_checkpoint(folder, config, is_resumed=True)
    if checkpoint is None:
        raise ConfigurationError(f"{folder} has no checkpoint to export; train first, or check output.folder.")
    stage = build_stage(config)
    learner = Learner(stage, config.optimiser)
    learner.restore(checkpoint)
    with learner.averaged():
        export(stage, config, folder / "weights")
    return folder / "weights"


class _Watch:
    """What the main process does after each step: report, note, sample, save."""

    def __init__(
        self, config: TrainingConfig, stage: Stage, learner: Learner, on_step: OnStep | None, num_done: int
    ) -> None:
        self.config = config
        self.stage = stage
        self.learner = learner
        self.on_step = on_step
        self.folder = Path(config.output.folder)
        self.journal = Journal(self.folder / "log", num_done) if config.output.has_tensorboard else None

    def step_done(self, num_done: int, losses: Mapping[str, float], scaler: Any) -> None:
        output = self.config.output
        if self.on_step is not None:
            self.on_step(num_done, losses)
        if self.journal is not None and num_done % output.log_every == 0:
            self.journal.add_losses(num_done, losses)
        is_last = num_done == self.config.optimiser.num_steps
        if num_done % output.checkpoint_every == 0 or is_last:
            state = {} if scaler is None else scaler.state_dict()
            save_checkpoint(
                self.folder, self.learner.capture(num_done, fingerprint(self.config), state), output.num_kept
            )
        if self.journal is not None and output.sample_every and (num_done % output.sample_every == 0 or is_last):
            with self.learner.averaged():
                self.journal.add_samples(num_done, *sample_grid(cast("JointStage", self.stage), self.config))

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()


def _accelerator(config: TrainingConfig) -> Any:
    precision, is_cpu = config.optimiser.precision, not torch.cuda.is_available()
    if is_cpu and precision == "bf16" and config.data.num_frames == 2:
        raise ConfigurationError(
            "On the CPU bf16 cannot train clips of two frames: the gradient of PyTorch's convolution over time holds "
            "memory that nothing wrote; set data.num_frames to 3 or more, or optimiser.precision to fp32."
        )
    if is_cpu and precision == "fp16":
        raise ConfigurationError("fp16 trains on GPUs only; set optimiser.precision to bf16 or fp32.")
    accelerate = require("accelerate", "training", EXTRA)
    # It keeps one precision for all of the process's life, and runs may differ.
    accelerate.state.AcceleratorState._reset_state()
    # Which networks a process uses depends on which conditions its clips were dropped.
    parallel = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
    return accelerate.Accelerator(
        mixed_precision={"fp32": "no"}.get(precision, precision),
        cpu=is_cpu,
        kwargs_handlers=[parallel],
    )


def build_stage(config: TrainingConfig) -> Stage:
    """Make a stage's networks as the configuration starts them, those parameters with gradients that learn.

    Raises:
        ConfigurationError: If what learns contradicts what there is.
        WeightsError: If weights to start from are damaged.
    """
    torch.manual_seed(config.seed)
    try:
        stage = STAGES[config.stage](config)
    # What networks are seen to raise for sizes that do not go together.
    except (ArithmeticError, AssertionError, LookupError, ValueError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ConfigurationError(f"No networks can be built of the configuration's model ({cause}).") from error
    if config.memory_std and isinstance(stage, MotionStage):
        nn.init.normal_(stage.network("refiner").connector.latents, std=config.memory_std)
    if config.start_from:
        start_from(stage, find_starts(config), config.anew)
    if config.lora.rank > 0:
        add_lora(stage.network("unet"), config.lora)
    if config.optimiser.gradient_checkpointing:
        stage.network("unet").checkpoint_gradients()
    if config.optimiser.is_compiled and isinstance(stage, JointStage):
        # Otherwise the graph would be cut where DistributedDataParallel sends gradients.
        torch._dynamo.config.optimize_ddp = False
        stage.network("unet").compile(dynamic=False)
    names = choose_trainable(stage, config.trainable)
    if isinstance(stage, MotionStage):
        remove_parts(stage, config.ablate)
    if config.lora.rank > 0 and any(".unet." in name and ".lora_" not in name for name in names):
        raise ConfigurationError("With lora.rank above 0 only the updates learn: write trainable = ['unet.*.lora_*'].")
    return stage


def find_starts(config: TrainingConfig) -> list[Path]:
    """Folders that a configuration starts from."""
    if not config.start_from:
        return []
    names = [config.start_from] if isinstance(config.start_from, str) else config.start_from
    return [TOY_FOLDER if name == "toy" else Path(name) for name in names]


def _check_finite(losses: Mapping[str, float], num_done: int, config: TrainingConfig) -> None:
    settings = config.optimiser
    # In fp16 the scaler answers an infinite gradient by leaving the step out.
    watched = ("total",) if settings.precision == "fp16" else ("total", "gradient")
    if all(math.isfinite(losses[name]) for name in watched):
        return
    first = num_done * settings.batch_size
    raise HunyuanPortraitError(
        f"The loss or its gradient is not finite in step {num_done + 1} (clips {first} to "
        f"{first + settings.batch_size - 1} of seed {config.seed}); lower the learning rate, or train in fp32, "
        f"and resume from {config.output.folder}."
    )


def learning_rate(highest: float, num_done: int, config: TrainingConfig) -> float:
    """Rate of the next step: a linear warm-up, then a cosine to ``final_share``."""
    settings = config.optimiser
    if num_done < settings.warmup_steps:
        return highest * (num_done + 1) / settings.warmup_steps
    progress = (num_done - settings.warmup_steps) / max(settings.num_steps - settings.warmup_steps, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return highest * (settings.final_share + (1 - settings.final_share) * cosine)


def _batches(
    config: TrainingConfig, num_done: int, rank: int, num_processes: int
) -> Iterator[list[tuple[list[int], Any]]]:
    """The parts of each step that are left, for one process: the indices of the clips, and the clips."""
    settings, data = config.optimiser, config.data
    share = settings.batch_size // settings.num_accumulated // num_processes
    if share * settings.num_accumulated * num_processes != settings.batch_size:
        raise ConfigurationError(
            f"optimiser.batch_size ({settings.batch_size}) must be a multiple of {num_processes} processes times "
            f"{settings.num_accumulated} accumulated parts."
        )
    length = settings.num_steps * settings.batch_size
    indices = []
    for step in range(num_done, settings.num_steps):
        for part in range(settings.num_accumulated):
            first = step * settings.batch_size + (part * num_processes + rank) * share
            indices.append(list(range(first, first + share)))
    dataset, collate = open_dataset(config, length)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=indices,
        collate_fn=collate,
        num_workers=data.num_workers,  # pyright: ignore[reportArgumentType]
        multiprocessing_context="spawn" if data.num_workers else None,
    )
    parts = []
    for numbers, batch in zip(indices, loader, strict=True):
        parts.append((numbers, batch))
        if len(parts) == settings.num_accumulated:
            yield parts
            parts = []


def open_dataset(config: TrainingConfig, length: int) -> tuple[torch.utils.data.Dataset[Any], Any]:
    """Make a stage's examples and what joins them to a batch; example i is a function of the configuration and of i.

    Raises:
        ConfigurationError: If prepared videos lack what the configuration needs.
        MediaError: If one of their shards is missing.
        WeightsError: If the network of another style cannot be used.
    """
    if config.stage == "vae":
        return open_frames(config, config.seed, length), Frames.stack
    if config.stage == "reader":
        return ToyPictures(config.data, config.seed, length), Pictures.stack
    if config.data.encoded:
        folder = Path(config.data.encoded)
        data = config.data
        return EncodedClips(folder, data.num_encoded, data.num_frames, config.seed, length), Clip.stack
    return open_clips(config, config.seed, length), Clip.stack


def _accumulate(
    accelerator: Any, stage: nn.Module, parts: list[tuple[list[int], Any]], num_done: int
) -> dict[str, float]:
    """Add up the gradients of a step's parts; the mean of their losses, over all processes."""
    losses: dict[str, Any] = {}
    for i, (_, batch) in enumerate(parts):
        # Processes exchange their gradients in the last part only.
        exchange = nullcontext() if i == len(parts) - 1 else accelerator.no_sync(stage)
        with exchange:
            with accelerator.autocast():
                values = stage(batch.to(accelerator.device), num_done)
            accelerator.backward(values["total"] / len(parts))
        for name, value in values.items():
            losses[name] = losses.get(name, 0.0) + value.detach() / len(parts)
    # All processes see the same, and so stop together.
    return {name: float(accelerator.reduce(value, "mean")) for name, value in losses.items()}


def _find_checkpoint(folder: Path, config: TrainingConfig, is_resumed: bool) -> Checkpoint | None:
    checkpoint = load_checkpoint(folder) if folder.exists() else None
    if checkpoint is None:
        return None
    if not is_resumed:
        raise ConfigurationError(
            f"{folder} has checkpoints of an earlier run; add --resume, or name another output.folder."
        )
    if checkpoint.config != fingerprint(config):
        raise ConfigurationError(
            f"The checkpoint in {folder} is of another configuration; train into another output.folder with "
            "start_from set to this one's weights."
        )
    return checkpoint


_LATER_KEYS = (
    ("", "anew"),
    ("", "ablate"),
    ("", "memory_std"),
    ("loss", "feature_weight"),
    ("loss", "face_weight"),
    ("data", "encoded"),
    ("data", "num_encoded"),
    ("data", "encoded_frames"),
)
"""Keys, by table, that earlier runs did not have, and whose default changes nothing."""


def fingerprint(config: TrainingConfig) -> str:
    """Tell apart configurations that train something else."""
    values = dataclasses.asdict(config)
    # These do not change what is computed.
    del values["output"], values["data"]["num_workers"], values["optimiser"]["is_compiled"]
    values["data"]["intensity_statistic"] = values["model"]["refiner"].pop("intensity_statistic")  # where it once was
    for part, name in _LATER_KEYS:
        if not (table := values[part] if part else values)[name]:
            del table[name]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
