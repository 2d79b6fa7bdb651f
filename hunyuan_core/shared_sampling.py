"""One video's windows on several GPUs.

The first process encodes the inputs, keeps the job folder and decodes; the others only take part in the sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from .config import SamplingConfig
from .data import Appearance, Motion, VideoLatents
from .distributed import Processes
from .errors import ConfigurationError
from .pipeline import Pipeline
from .pose.sequence import Skeletons
from .sampling import SpeedConfig

_STATE = "state "
"""Before the names of what a run goes on from."""
_SKELETONS = "skeletons "
"""Before the names of what skeletons are drawn from."""


def check_shareable(speed: SpeedConfig) -> None:
    """Refuse what would make another picture on several GPUs than on one.

    Raises:
        ConfigurationError: If deep features are to be reused.
    """
    if speed.feature_interval > 1:
        raise ConfigurationError(
            "feature_interval keeps features on the GPU that computed them, and the windows of a video change GPUs "
            "from step to step; set it to 1, or use one process, or run whole videos by `batch`."
        )


def sample_first(
    processes: Processes,
    pipeline: Pipeline,
    appearance: Appearance,
    motion: Motion,
    config: SamplingConfig | None = None,
    *,
    pose_images: np.ndarray | Skeletons | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[int, dict[str, torch.Tensor]], None] | None = None,
    resume: tuple[int, Mapping[str, torch.Tensor]] | None = None,
    speed: SpeedConfig | None = None,
) -> VideoLatents:
    """Sample as ``Pipeline.sample`` does, with the same result bit for bit, in the first process.

    Meanwhile the others run ``sample_along``, which goes on until ``dismiss``.

    Raises:
        ConfigurationError: As ``check_shareable``.
        HunyuanPortraitError: If another process ended; and as ``Pipeline.sample``.
    """
    check_shareable(speed or SpeedConfig())
    inputs = {
        "image_tokens": appearance.image_tokens,
        "image_latents": appearance.image_latents,
        "motion_tokens": motion.tokens,
    }
    if isinstance(pose_images, Skeletons):
        inputs.update({f"{_SKELETONS}{name}": tensor for name, tensor in pose_images.tensors().items()})
    elif pose_images is not None:
        inputs["pose_images"] = torch.from_numpy(pose_images)
    if resume is not None:
        inputs["num_done"] = torch.tensor(resume[0])
        inputs.update({f"{_STATE}{name}": kept for name, kept in resume[1].items()})
    processes.share(inputs)
    return pipeline.sample(
        appearance,
        motion,
        config,
        pose_images=pose_images,
        on_progress=on_progress,
        on_step=on_step,
        resume=resume,
        speed=speed,
        map_windows=processes.map,
    )


def sample_along(
    processes: Processes, pipeline: Pipeline, config: SamplingConfig | None = None, speed: SpeedConfig | None = None
) -> None:
    """Take part in what the first process samples, with the same settings, until it dismisses this one.

    Raises:
        HunyuanPortraitError: If another process ended; and as ``Pipeline.sample``.
    """
    while inputs := processes.share():
        tokens = inputs["motion_tokens"]
        state = _under(_STATE, inputs)
        nothing = torch.zeros(len(tokens), 3)  # Sampling sees the tokens alone.
        pipeline.sample(
            Appearance(inputs["image_tokens"], inputs["image_latents"], torch.zeros(0)),
            Motion(tokens, (), (), nothing, nothing),
            config,
            pose_images=_pose_images(inputs),
            resume=(int(inputs["num_done"]), state) if state else None,
            speed=speed,
            map_windows=processes.map,
        )


def _pose_images(inputs: Mapping[str, torch.Tensor]) -> np.ndarray | Skeletons | None:
    if skeletons := _under(_SKELETONS, inputs):
        return Skeletons.from_tensors(skeletons)
    return inputs["pose_images"].numpy() if "pose_images" in inputs else None


def _under(prefix: str, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in inputs.items() if name.startswith(prefix)}


def dismiss(processes: Processes) -> None:
    """Let the other processes return from ``sample_along``."""
    processes.share({})
