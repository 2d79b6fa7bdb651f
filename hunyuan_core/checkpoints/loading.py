"""Filling networks from files, with memory for the weights once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from .. import models
from ..config import ModelConfig, config_from_json, config_to_json
from ..errors import ConfigurationError, WeightsError
from .files import recognise
from .reading import read_metadata, read_shapes, read_state_dict
from .writing import write_safetensors

_SHOWN_KEYS = 3

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)

CONFIG_KEY = "hunyuan_portrait.config"
"""Metadata entry of a safetensors file that holds the network's configuration as JSON."""

FORMAT_KEY = "hunyuan_portrait.format"
"""Metadata entry of the version of what CONFIG_KEY holds."""

_FORMAT = "1"


def read_config(name: str, path: str | Path) -> ModelConfig:
    """Read the configuration that a file carries for its network; a file without one is of the released size.

    Args:
        name: One of ``models.NETWORKS``.

    Raises:
        WeightsError: If the file is missing or damaged, or its configuration is not one of this network.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if CONFIG_KEY not in metadata:
        return ModelConfig()
    version = metadata.get(FORMAT_KEY, _FORMAT)
    if version != _FORMAT:
        raise WeightsError(
            f"{path} carries a configuration of format {version}, and this version reads {_FORMAT}; update "
            "HunyuanPortrait, or use another file."
        )
    try:
        return config_from_json(name, metadata[CONFIG_KEY])
    except ConfigurationError as error:
        actual = recognise(read_shapes(path))
        is_other = actual is not None and actual.name != name
        remedy = (
            f"This looks like {Path(actual.filename).name}, {actual.purpose}: put the right file in its place."
            if actual and is_other
            else "Choose another file, or save this one again with `save_network`."
        )
        raise WeightsError(f"{path} carries a configuration that cannot be used: {error} {remedy}") from error


def build_for(
    name: str, path: str | Path, operations: Any = nn, attention: models.AttentionFunction | None = None
) -> nn.Module:
    """Build the network of the size that a file says, on the current default device; nothing is filled.

    Args:
        name: One of ``models.NETWORKS``.
        operations, attention: As for ``models.build``.

    Raises:
        WeightsError: As ``read_config``, or if there can be no network of the file's configuration.
    """
    config = read_config(name, path)
    try:
        return models.build(name, config, operations, attention)
    # What networks are seen to raise for sizes that do not go together.
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if config == ModelConfig():
            raise
        cause = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"{path} carries a configuration of which no {name} can be built ({cause}); save the file again with "
            "`save_network` and the network's own configuration."
        ) from error


def load_network(
    name: str,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    operations: Any = nn,
    attention: models.AttentionFunction | None = None,
) -> Any:
    """Build the network that a file is of, of the size that the file says, and fill it.

    Args:
        name: One of ``models.NETWORKS``.
        path: As for ``load_into``, and so are dtype, device and the errors.
        operations, attention: As for ``models.build``.
    """
    return build_network(lambda: build_for(name, path, operations, attention), path, dtype=dtype, device=device)


def save_network(name: str, network: nn.Module, config: ModelConfig, path: str | Path) -> None:
    """Write a network with its configuration as safetensors, whole or not at all.

    Args:
        name: One of ``models.NETWORKS``.
        path: Any name; loading goes by the content.

    Raises:
        WeightsError: If the file cannot be written.
    """
    metadata = {"format": "pt", FORMAT_KEY: _FORMAT, CONFIG_KEY: config_to_json(name, config)}
    write_safetensors(network.state_dict(), path, metadata)


def build_network(
    factory: Callable[[], ModuleT],
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> ModuleT:
    """Build a network without memory for its initial weights, and fill it.

    Args:
        factory: Makes the network; called with the meta device as the default device.
        path: As for ``load_into``, and so are the rest and the errors.
    """
    with torch.device("meta"):
        module = factory()
    return load_into(module, path, dtype=dtype, device=device)


def load_into(
    module: ModuleT,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> ModuleT:
    """Replace a network's tensors by those of a file; the network may be on the meta device.

    Args:
        module: The network; it is changed only if the file fits.
        dtype: Type of the floating-point tensors; the file's own if not given. Integers keep theirs.

    Returns:
        The same network, in eval mode, its parameters without gradients.

    Raises:
        WeightsError: If the file cannot be read, or its keys or shapes are not the network's.
        RuntimeError: If the network has a tensor on the meta device that no file can fill.
    """
    path = Path(path)
    state_dict = read_state_dict(path)
    check_layout(shapes_of(module.state_dict()), shapes_of(state_dict), path)
    for key, tensor in state_dict.items():
        state_dict[key] = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
    module.load_state_dict(state_dict, strict=True, assign=True)
    left = [name for name, tensor in chain(module.named_parameters(), module.named_buffers()) if tensor.is_meta]
    if left:
        raise RuntimeError(
            f"{type(module).__name__} keeps {', '.join(left)} outside its state dict, so on the meta device they have "
            "no value; make them persistent buffers or compute them in forward()."
        )
    return module.eval().requires_grad_(False)


def shapes_of(state_dict: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor."""
    return {key: tuple(tensor.shape) for key, tensor in state_dict.items()}


def check_layout(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Compare the keys and shapes of a file with those that a network has.

    Raises:
        WeightsError: If they differ; counts the differences, names the first of each sort, and says whose weights the
            file holds where its keys tell.
    """
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    misshapen = [
        f"{key} is {found[key]} and not {shape}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    differences = [
        f"{len(entries)} {title} ({', '.join(entries[:_SHOWN_KEYS])}{', …' if len(entries) > _SHOWN_KEYS else ''})"
        for title, entries in (("missing", missing), ("unexpected", extra), ("of another shape", misshapen))
        if entries
    ]
    if not differences:
        return
    actual = recognise(found)
    is_other = actual is not None and recognise(expected) is not actual
    hint = f"this looks like {Path(actual.filename).name}, {actual.purpose}" if actual and is_other else ""
    raise WeightsError(
        f"{path} does not fit the network: {'; '.join(differences)}"
        f"{'; ' + hint if hint else ''}. Put the right file in its place (`hunyuan-portrait verify` checks them all)."
    )
