"""A folder that an interrupted run goes on from.

It holds ``job.json`` with everything that determines the latents, the state after the last two steps (the latents, and
what the steps to come need beside them), and what was found in the inputs (faces, appearance, motion), and nothing that
grows otherwise. All files but ``job.json`` are
safetensors with two entries of metadata: ``key``, the SHA-256 over what they were made of, and ``sha256``, that over
their tensors. Both must hold, or the file counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from . import __version__
from .config import SamplingConfig
from .data import Appearance, Face, FaceTrack, Motion, VideoLatents
from .errors import ConfigurationError
from .locks import LOCK_NAME, NO_LOCKS, FolderLock
from .pipeline import Pipeline, check_finite
from .pose.sequence import Skeletons
from .sampling import SCHEDULES, SpeedConfig, apply_strength
from .video.files import replacing, write_error

_VERSION = 1
_NUM_KEPT = 2
"""Steps whose state is kept: the newest, and the one before in case that it is damaged."""
_HASH = "sha256:"
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.(json|safetensors)")

Found = TypeVar("Found", Face, FaceTrack, Appearance, Motion)
"""What is found in the inputs."""

_FROM_TENSOR: dict[str, Callable[[torch.Tensor], Any]] = {
    "np.ndarray": lambda tensor: tensor.numpy(),
    "torch.Tensor": lambda tensor: tensor,
    "float": float,
    "tuple[int, ...]": lambda tensor: tuple(tensor.tolist()),
}
"""From a stored tensor to a field of the given annotation."""


class JobFolder:
    """The files of one job; one process at a time, until ``close`` or the end of the process.

    Args:
        path: Is made where it does not exist, with its parents.
        say: Gets one line for each thing that the user should know.

    Raises:
        ConfigurationError: If the folder holds something else, is of a newer program, or another process has it.
        MediaError: If it cannot be written.
    """

    def __init__(self, path: str | Path, say: Callable[[str], None]) -> None:
        self.path = Path(path)
        self.say = say
        self._key = ""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._check_is_ours()
            self._lock()
            for file in self.path.iterdir():
                if _TEMPORARY.fullmatch(file.name):  # of a process that was killed
                    file.unlink()
            is_new = not (self.path / "job.json").exists()
        except FileExistsError as error:
            raise ConfigurationError(f"The job folder {path} is a file; choose a folder.") from error
        except OSError as error:
            raise write_error(self.path, error.errno, error.strerror) from error
        self._parts = {} if is_new else self._read_parts()
        if is_new:
            self._write_parts()

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._held is not None:
            self._held.release()

    def _check_is_ours(self) -> None:
        names = {file.name for file in self.path.iterdir()}
        if "job.json" not in names and not all(name == LOCK_NAME or _TEMPORARY.fullmatch(name) for name in names):
            raise ConfigurationError(
                f"The folder {self.path} holds files but no job; choose an empty or a new folder for the job."
            )

    def _lock(self) -> None:
        self._held: FolderLock | None = None
        try:
            self._held = FolderLock(self.path)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            self.say(f"Job {self.path}: this disk knows no locks; see to it that one process at a time uses the job.")

    def remember(self, kind: type[Found], parts: Mapping[str, str], find: Callable[[], Found]) -> Found:
        """Give what was found before in the same inputs, or find it and keep it.

        Args:
            parts: Everything that determines it, by name.
            find: Called if it is not there, is damaged, or was found in other inputs.

        Raises:
            MediaError: If it cannot be written.
        """
        path, key = self.path / f"{kind.__name__.lower()}.safetensors", _key_of(parts)
        kept = _read(path, key)
        if kept is not None:
            return kind(**{field.name: _FROM_TENSOR[str(field.type)](kept[field.name]) for field in fields(kind)})
        found = find()
        _write(path, key, tensors_of(found))
        return found

    def begin(self, parts: Mapping[str, str]) -> tuple[int, dict[str, torch.Tensor]] | None:
        """Begin a run, or go on with it.

        Args:
            parts: Everything that determines the latents, by name.

        Returns:
            Number of steps that are done and the state after them; None if the run starts from the noise.

        Raises:
            MediaError: If the folder cannot be written.
        """
        changes = changed_parts(self._parts, parts)
        if self._parts and changes:
            self.say(f"Job {self.path}: starts anew, because these changed: {', '.join(changes)}.")
        self._key = _key_of(parts)
        if changes:
            self._parts = dict(parts)
            self._write_parts()
        for step, path in sorted(self._steps().items(), reverse=True):
            kept = _read(path, self._key)
            if kept is not None:
                return step, kept
            if not changes:
                self.say(f"Job {self.path}: the state after step {step} is damaged and is left out.")
            self._remove(path)
        return None

    def keep_step(self, num_done: int, state: Mapping[str, torch.Tensor]) -> None:
        """Write the state after a step, as ``Pipeline.sample`` tells it; call ``begin`` first.

        Raises:
            MediaError: If it cannot be written, as when the disk is full; that of the step before stays.
        """
        _write(self.path / f"step_{num_done:05}.safetensors", self._key, state)
        for _, path in sorted(self._steps().items())[:-_NUM_KEPT]:
            self._remove(path)

    def _steps(self) -> dict[int, Path]:
        """Files of states by the number of steps that are done."""
        found = ((re.fullmatch(r"step_(\d+)\.safetensors", path.name), path) for path in self.path.iterdir())
        return {int(match[1]): path for match, path in found if match}

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error.errno, error.strerror) from error

    def _read_parts(self) -> dict[str, str]:
        path = self.path / "job.json"
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise write_error(path, error.errno, error.strerror) from error
        except ValueError:
            return {}  # What the other files were made of, they say themselves.
        version = header.get("version") if isinstance(header, dict) else None
        if version != _VERSION:
            raise ConfigurationError(
                f"{path} is of version {version} and this program reads version {_VERSION}; update the program, or "
                "choose another folder for the job."
            )
        return header["parts"]

    def _write_parts(self) -> None:
        header = {"version": _VERSION, "sha256": _key_of(self._parts), "parts": self._parts}
        _write_bytes(self.path / "job.json", json.dumps(header, indent=1).encode())


def sample_in(
    job: JobFolder,
    pipeline: Pipeline,
    appearance: Appearance,
    motion: Motion,
    config: SamplingConfig,
    *,
    pose_images: np.ndarray | Skeletons | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    speed: SpeedConfig | None = None,
    sample: Callable[..., VideoLatents] | None = None,
) -> VideoLatents:
    """Sample as ``Pipeline.sample`` does, and go on where an earlier run of the same job was interrupted.

    The result is that of a run without interruption, bit for bit on the same machine. Reused features are not kept, as
    they are eighty times as large as the latents: the run goes on from the last step after which none is used.

    Args:
        sample: What to call in place of ``pipeline.sample``, with the same arguments.

    Raises:
        MediaError: If the folder cannot be written.
        HunyuanPortraitError: As ``Pipeline.sample``.
    """
    speed = speed or SpeedConfig()
    start = job.begin(run_parts(pipeline, appearance, motion, config, speed, pose_images))
    num_steps = len(_sigmas(config, speed)) - 1
    if start is not None and start[0] == num_steps:
        job.say(f"Job {job.path}: all {num_steps} steps are done.")
        check_finite(start[1]["latents"], pipeline.unet.conv_in.weight.dtype)
        return VideoLatents(start[1]["latents"], config.num_padding_frames)
    if start is not None:
        job.say(f"Job {job.path}: goes on after step {start[0]} of {num_steps}.")

    def keep(num_done: int, state: dict[str, torch.Tensor]) -> None:
        names = ["latents"] if num_done == num_steps else list(state)
        job.keep_step(num_done, {name: state[name].cpu() for name in names})

    return (sample or pipeline.sample)(
        appearance,
        motion,
        config,
        pose_images=pose_images,
        on_progress=on_progress,
        on_step=keep,
        resume=start,
        speed=speed,
    )


def run_parts(
    pipeline: Pipeline,
    appearance: Appearance,
    motion: Motion,
    config: SamplingConfig,
    speed: SpeedConfig,
    pose_images: np.ndarray | Skeletons | None,
) -> dict[str, str]:
    """Name everything that determines the latents, as text or as a hash."""
    settings = {name: repr(value) for name, value in {**vars(config), **vars(speed)}.items()}
    settings["compile"] = "no" if pipeline.compiled is None else pipeline.compiled.mode
    settings["memory mode"] = pipeline.residency.plan.mode.name.lower()
    settings["UNet weights"] = pipeline.unet_weights
    del settings["decode_chunk_size"]
    inputs = {
        "portrait": hash_tensors({"tokens": appearance.image_tokens, "latents": appearance.image_latents}),
        "motion": hash_tensors({"tokens": motion.tokens}),
        "pose images": _pose_hash(pose_images),
        "noise levels": hash_tensors({"sigmas": _sigmas(config, speed)}),
    }
    return {**settings, **inputs, **machine_parts(pipeline), **weight_parts(pipeline, ("unet", "pose_guider"))}


def _pose_hash(pose_images: np.ndarray | Skeletons | None) -> str:
    if pose_images is None:
        return "black"
    if isinstance(pose_images, Skeletons):
        return hash_tensors(pose_images.tensors())
    return hash_tensors({"images": torch.from_numpy(pose_images)})


def machine_parts(pipeline: Pipeline) -> dict[str, str]:
    """Name what computes."""
    weight = pipeline.unet.conv_in.weight
    return {
        "dtype": str(weight.dtype).removeprefix("torch."),
        "device": pipeline.device.type,
        "torch": torch.__version__,
        "program": __version__,
    }


def weight_parts(pipeline: Pipeline, names: Iterable[str]) -> dict[str, str]:
    """Hash all weights of some networks, by the attribute of the pipeline; 1.6 GiB/s measured on one core."""
    return {f"weights of {name}": hash_tensors(getattr(pipeline, name).state_dict()) for name in names}


def tensors_of(found: Face | FaceTrack | Appearance | Motion) -> dict[str, torch.Tensor]:
    """Give all fields as tensors."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {
        name: value if isinstance(value, torch.Tensor) else torch.from_numpy(np.asarray(value))
        for name, value in values.items()
    }


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values; the order of the names does not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return _HASH + digest.hexdigest()


def _sigmas(config: SamplingConfig, speed: SpeedConfig) -> torch.Tensor:
    return apply_strength(SCHEDULES[speed.schedule](config.num_inference_steps), config.strength)


def changed_parts(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the parts that differ, with their values unless they are hashes."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [_change(name, before.get(name), now.get(name)) for name in names]


def _change(name: str, before: str | None, now: str | None) -> str:
    values = [value for value in (before, now) if value is not None]
    if len(values) < 2 or any(value.startswith(_HASH) for value in values):
        return name
    return f"{name} ({before} before, {now} now)"


def _key_of(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(path: Path, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
    # Copies, because safetensors refuses tensors that share memory.
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    _write_bytes(path, save(tensors, {"key": key, "sha256": hash_tensors(tensors)}))


def _write_bytes(path: Path, data: bytes) -> None:
    """Write a file that is on the disk, whole, before it gets its name."""
    with replacing(path) as temporary:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(path, error.errno, error.strerror) from error
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path, key: str) -> dict[str, torch.Tensor] | None:
    """Read a file into memory; None if it is not there, damaged, or made of something else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError):
        return None
    return tensors if metadata.get("sha256") == hash_tensors(tensors) else None
