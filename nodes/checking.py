"""What is checked for every node: its widgets, and that an error of the core names the input that is at fault."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from numbers import Integral, Real
from typing import Any

from comfy_api.latest import io

from ..hunyuan_core.errors import ConfigurationError, FaceNotFoundError, HunyuanPortraitError, ShapeError, WeightsError

USUAL = (ConfigurationError, FaceNotFoundError, ShapeError, WeightsError)
"""All but those of reading a picture or a video, which name the file."""


def checked(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """Hold the values of widgets to the schema before a node runs; goes below ``@classmethod``.

    ComfyUI checks what is typed in, but not what a link brings; it gives all by name. What ``validate_inputs`` takes is
    left to the node.

    Raises:
        ConfigurationError: Names the input, what it takes and what came.
    """

    @wraps(execute)
    def run(cls: type[io.ComfyNode], *given: Any, **values: Any) -> io.NodeOutput:
        own = inspect.signature(cls.validate_inputs).parameters
        for widget in cls.define_schema().inputs:
            if widget.id in values and widget.id not in own:
                _check(widget, values[widget.id])
        return execute(cls, *given, **values)

    return run


@contextmanager
def blaming(inputs: str, kinds: tuple[type[HunyuanPortraitError], ...] = USUAL) -> Iterator[None]:
    """Put the name of the input at fault before the core's message.

    Args:
        kinds: Of the errors that are its fault.
    """
    try:
        yield
    except kinds as error:
        raise type(error)(f"{inputs}: {error}") from error


def _check(widget: io.Input, value: Any) -> None:
    if isinstance(widget, io.Combo.Input):
        options = widget.options or []
        fits, expected = value in options, f"one of {', '.join(map(str, options))}"
    elif isinstance(widget, io.Boolean.Input):
        fits, expected = isinstance(value, bool), "True or False"
    elif isinstance(widget, io.String.Input):
        fits, expected = isinstance(value, str), "a text"
    elif isinstance(widget, io.Int.Input | io.Float.Input):
        is_whole = isinstance(widget, io.Int.Input)
        low, high = widget.min, widget.max
        # Not a number is in no range.
        fits = isinstance(value, Integral if is_whole else Real) and low <= value <= high
        expected = f"a whole number from {low} to {high}" if is_whole else f"a number from {low:g} to {high:g}"
    else:
        return
    if not fits:
        raise ConfigurationError(
            f"{widget.id} must be {expected}; got {value!r}. Change it, or what is connected to it."
        )
