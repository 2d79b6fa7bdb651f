"""Options that give up a little of the picture for speed."""

from __future__ import annotations

import argparse

from ..sampling import PRESETS, SAMPLERS, SCHEDULES, SpeedConfig

_NUMBERS = {
    "feature_interval": "run the deep part of the UNet every so many steps, and reuse its features between",
    "num_outer_layers": "layers of the UNet's up path that run in every step when features are reused",
    "extrapolation_interval": "run the UNet every so many steps, and extrapolate the steps between",
    "extrapolation_order": "degree of that extrapolation, 1 to 3",
    "noise_padding": "draw the noise as for at least so much padding, so that less padding keeps the picture",
}


def add_speed_options(parser: argparse.ArgumentParser) -> None:
    """Offer the presets, and every field of SpeedConfig by itself."""
    default = SpeedConfig()
    group = parser.add_argument_group("speed (defaults change nothing)")
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="fewer steps, less guidance and smaller padding, at least 5 (fast) or 9 (turbo) times less arithmetic "
        "than the release; options given beside it take precedence",
    )
    for name, choices in (("schedule", SCHEDULES), ("sampler", SAMPLERS)):
        group.add_argument(f"--{name}", choices=tuple(choices), help=f"(default: {getattr(default, name)})")
    group.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="noise levels at which guidance applies (default: all)",
    )
    for name, text in _NUMBERS.items():
        value = getattr(default, name)
        group.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=f"{text} (default: {value})")
    group.add_argument("--no-circle", action="store_true", help="do not let windows go around the end of the video")


def speed_config(options: argparse.Namespace) -> SpeedConfig:
    """Read SpeedConfig from the options: what was given, else the preset's.

    Raises:
        ConfigurationError: If a value is out of range.
    """
    base = SpeedConfig() if options.preset is None else PRESETS[options.preset].speed
    values = {name: getattr(options, name) for name in ("schedule", "sampler", "guidance_interval", *_NUMBERS)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    given = {name: value for name, value in given.items() if value is not None}
    return SpeedConfig(**{**vars(base), **given, "is_circular": base.is_circular and not options.no_circle})
