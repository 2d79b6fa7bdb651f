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
from typing import Any

import torch
from torch import nn

from ..errors import ConfigurationError, HunyuanPortraitError
from ..optional import require
from .checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .lora import add_lora
from .stages import STAGES, Stage, choose_trainable
from .toy_data import Clip, Frames, ToyClips, ToyFrames
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
    accelerate = require("accelerate", "training", "pip install hunyuan-portrait[train]")
    precision = {"fp32": "no"}.get(config.optimiser.precision, config.optimiser.precision)
    has_gpu = torch.cuda.is_available()
    # Which networks a process uses depends on which conditions its clips were dropped.
    parallel = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = accelerate.Accelerator(mixed_precision=precision, cpu=not has_gpu, kwargs_handlers=[parallel])
    folder = Path(config.output.folder)
    checkpoint = _find_checkpoint(folder, config, is_resumed)

    stage = build_stage(config)
    parameters = {name: parameter for name, parameter in stage.named_parameters() if parameter.requires_grad}
    stage.to(accelerator.device)
    settings = config.optimiser
    optimiser = torch.optim.AdamW(
        parameters.values(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,  # pyright: ignore[reportArgumentType]
    )
    average = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    num_done = 0 if checkpoint is None else _restore(parameters, average, optimiser, checkpoint)
    wrapped, prepared = accelerator.prepare(stage, optimiser)

    losses: dict[str, float] = {}
    for parts in _batches(config, num_done, accelerator.process_index, accelerator.num_processes):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings.learning_rate, num_done, config)
        losses = _accumulate(accelerator, wrapped, parts, num_done)
        losses["gradient"] = float(accelerator.clip_grad_norm_(wrapped.parameters(), settings.gradient_clip))
        _check_finite(losses, num_done, config)
        prepared.step()
        prepared.zero_grad()
        num_done += 1
        decay = min(settings.ema_decay, (1 + num_done) / (10 + num_done))
        with torch.no_grad():
            for name, parameter in parameters.items():
                average[name].lerp_(parameter.detach(), 1 - decay)
        if accelerator.is_main_process:
            if on_step is not None:
                on_step(num_done, losses)
            if num_done % config.output.checkpoint_every == 0 or num_done == settings.num_steps:
                save_checkpoint(
                    folder, _capture(num_done, parameters, average, optimiser, config), config.output.num_kept
                )
    accelerator.wait_for_everyone()
    weights = folder / "weights"
    if accelerator.is_main_process:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(average[name])
        export(stage, config, weights)
    accelerator.wait_for_everyone()
    return Result(weights, losses)


def build_stage(config: TrainingConfig) -> Stage:
    """Make a stage's networks as the configuration starts them, those parameters with gradients that learn.

    Raises:
        ConfigurationError: If what learns contradicts what there is.
        WeightsError: If weights to start from are damaged.
    """
    torch.manual_seed(config.seed)
    stage = STAGES[config.stage](config)
    if config.start_from:
        start_from(stage, config.start_from)
    if config.lora.rank > 0:
        add_lora(stage.network("unet"), config.lora)
    if config.optimiser.gradient_checkpointing:
        stage.network("unet").checkpoint_gradients()
    names = choose_trainable(stage, config.trainable)
    if config.lora.rank > 0 and any(".unet." in name and ".lora_" not in name for name in names):
        raise ConfigurationError("With lora.rank above 0 only the updates learn: write trainable = ['unet.*.lora_*'].")
    return stage


def _check_finite(losses: Mapping[str, float], num_done: int, config: TrainingConfig) -> None:
    settings = config.optimiser
    # In fp16 the scaler answers an infinite gradient by leaving the step out.
    watched = ("total",) if settings.precision == "fp16" else ("total", "gradient")
    if all(math.isfinite(losses[name]) for name in watched):
        return
    first = num_done * settings.batch_size
    raise HunyuanPortraitError(
        f"The loss or its gradient is not finite in step {num_done + 1} (clips {first} to "
        f"{first + settings.batch_size - 1} of seed {config.seed}); lower the learning rate, or train in bf16 or fp32, "
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
    """Make a stage's examples and what joins them to a batch; example i is a function of the configuration and of i."""
    if config.stage == "vae":
        return ToyFrames(config.data, config.seed, length), Frames.stack
    return ToyClips(config.model, config.data, config.seed, length), Clip.stack


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
    if checkpoint.config != _hash(config):
        raise ConfigurationError(
            f"The checkpoint in {folder} is of another configuration; train into another output.folder with "
            "start_from set to this one's weights."
        )
    return checkpoint


def _hash(config: TrainingConfig) -> str:
    values = dataclasses.asdict(config)
    # These do not change what is computed.
    del values["output"], values["data"]["num_workers"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _capture(
    num_done: int,
    parameters: Mapping[str, nn.Parameter],
    average: Mapping[str, torch.Tensor],
    optimiser: Any,
    config: TrainingConfig,
) -> Checkpoint:
    state = {
        f"{name}.{key}": value
        for name, parameter in parameters.items()
        for key, value in optimiser.state[parameter].items()
    }
    return Checkpoint(num_done, {k: v.detach() for k, v in parameters.items()}, average, state, _hash(config))


def _restore(
    parameters: Mapping[str, nn.Parameter], average: dict[str, torch.Tensor], optimiser: Any, checkpoint: Checkpoint
) -> int:
    """Set a run to a checkpoint; the number of steps that are done."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(checkpoint.weights[name])
            average[name].copy_(checkpoint.average[name])
    for key, value in checkpoint.optimiser.items():
        name, _, kind = key.rpartition(".")
        parameter = parameters[name]
        # AdamW counts its steps in main memory.
        optimiser.state[parameter][kind] = value if kind == "step" else value.to(parameter.device)
    return checkpoint.num_done
