"""Which model a command runs: the option, its files, and loading it."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from ..checkpoints import ModelFiles, find_models
from ..config import SamplingConfig
from ..pipeline import Pipeline
from ..toy import TOY_LIMITS, TOY_SAMPLING, TOY_SIZE, toy_files
from .progress import say, warn

RELEASED, TOY, UNTRAINED = "released", "toy", "untrained-tiny"
RELEASED_SIZE = 512


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Offer the weights, and the size that they compute."""
    parser.add_argument(
        "--weights",
        choices=(RELEASED, TOY, UNTRAINED),
        default=RELEASED,
        help=f"{TOY} is the small model that the package carries; it knows drawn faces only. {UNTRAINED} tries the "
        "whole chain on random weights; its picture is noise (default: released)",
    )
    parser.add_argument(
        "--size", type=int, help=f"side of the animated square (default: {RELEASED_SIZE}; {TOY}: {TOY_SIZE})"
    )


def is_toy(options: argparse.Namespace) -> bool:
    """Whether the command runs the toy model; some commands offer no weights."""
    return getattr(options, "weights", RELEASED) == TOY


def set_size(options: argparse.Namespace) -> None:
    """Note the size in the options, where none was given."""
    if options.size is None:
        options.size = TOY_SIZE if is_toy(options) else RELEASED_SIZE


def default_sampling(options: argparse.Namespace) -> SamplingConfig:
    """Settings that fit the weights."""
    return TOY_SAMPLING if is_toy(options) else SamplingConfig()


def weight_files(options: argparse.Namespace) -> ModelFiles:
    """Find the files of the weights that are not random.

    Raises:
        WeightsError: If one is missing.
    """
    return toy_files() if is_toy(options) else find_models(options.models)


def load_model(
    options: argparse.Namespace, device: torch.device | None, dtype: torch.dtype | None, **placed: Any
) -> Pipeline:
    """Load the model, and say which it is.

    Args:
        placed: Further arguments of ``Pipeline.from_pretrained``.

    Raises:
        HunyuanPortraitError: As that.
    """
    given = {"device": device, "dtype": dtype, **placed}
    if options.weights == UNTRAINED:
        return Pipeline.untrained_tiny(**given)
    given["has_identity"] = not options.no_identity
    if options.weights == TOY:
        warn(TOY_LIMITS)
        return Pipeline.toy(**given)
    say("Loading the released weights (for academic, non-commercial use only)")
    return Pipeline.from_pretrained(options.models, **given)
