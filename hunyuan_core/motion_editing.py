"""Changes to a motion between encoding and sampling; none of them is part of the release.

Every function is pure: it returns another motion and leaves its inputs alone. Where nothing changes, the tensors
returned are the ones given.

Two records travel with the tokens. ``rotation`` and ``translation`` go through the same arithmetic as the channels of
the tokens that repeat them, so they go on to agree. Intensities are what was measured in the driving video and already
went into the tokens; changes of strength leave them alone. Changes in time carry each frame's levels along, and each
new chunk of 25 frames then gets the level that most of its frames have (of equally many, the earliest).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import torch

from .angles import turn, unwrap, wrap
from .data import Motion
from .errors import ConfigurationError, ShapeError
from .motion import INTENSITY_CHUNK

_POSE_CHANNELS = 6
_MAX_STRENGTH = 10
_MAX_SMOOTHING = 101  # frames
_MAX_FRAMES = 100_000


@dataclass(frozen=True)
class MotionEdit:
    """How strong each part of a motion is, and how calm. The defaults change nothing.

    The parts are the expression (all channels of the tokens but the last six), the rotation and the translation (the
    last six channels, and the records of the same name). They change in this order:

    1. Smoothing: a centred moving average, as ``smooth_track``'s. It takes the shorter way around at ±180 degrees.
    2. ``keep``: the part that is not kept stands still, as its first (smoothed) frame has it.
    3. Strength s: absolute, x[t] becomes s · x[t]; relative, x[0] + s · (x[t] − x[0]). Rotations scale the continuous
       angle, in which 179 is followed by 181 and not by −179, and return to [−180, 180].

    Absolute strength 0 makes the channels zero, which is what the release's padding fades to (there all parts fade
    together). Relative strength 0 holds the first frame. Released models have zeros in the tokens' translation
    channels, which no strength changes: ``translation_strength`` then acts on the record alone, and not on the picture.

    Attributes:
        expression_strength: 0 to 10.
        rotation_strength: 0 to 10.
        translation_strength: 0 to 10; may take the translation out of the encoder's [−2, 2].
        keep: "expression" holds the head pose, "pose" holds the expression.
        is_relative: Scale the change since the first frame, instead of the values.
        base_rotation: Three angles in [−180, 180] degrees, the portrait's own pose, that relative rotation starts from
            in place of the driving video's first frame.
        expression_smoothing: Frames averaged, odd, 1 to 101; 1 is off. A blink lasts a few frames and fades.
        pose_smoothing: As ``expression_smoothing``, for rotation and translation.

    Raises:
        ConfigurationError: If a value is out of range, or there is a base rotation but the edit is not relative.
    """

    expression_strength: float = 1.0
    rotation_strength: float = 1.0
    translation_strength: float = 1.0
    keep: Literal["all", "expression", "pose"] = "all"
    is_relative: bool = False
    base_rotation: tuple[float, float, float] | None = None
    expression_smoothing: int = 1
    pose_smoothing: int = 1

    def __post_init__(self) -> None:
        """Check types and ranges."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_strength"):
                _check_number(field.name, value, 0, _MAX_STRENGTH)
            elif field.name.endswith("_smoothing"):
                _check_count(field.name, value, 1, _MAX_SMOOTHING)
                if value % 2 == 0:
                    raise ConfigurationError(
                        f"{field.name} is an odd number of frames, so that it has a centre; got {value}."
                    )
        if self.keep not in ("all", "expression", "pose"):
            raise ConfigurationError(f"keep is 'all', 'expression' or 'pose'; got {self.keep!r}.")
        _check_flag("is_relative", self.is_relative)
        if self.base_rotation is not None:
            self._check_base_rotation(self.base_rotation)

    def _check_base_rotation(self, angles: object) -> None:
        if not isinstance(angles, tuple) or len(angles) != 3:
            raise ConfigurationError(f"base_rotation is three angles in degrees; got {angles!r}.")
        for angle in angles:
            _check_number("base_rotation", angle, -180, 180)
        if not self.is_relative:
            raise ConfigurationError("base_rotation is added to relative rotation; set is_relative, or leave it out.")


def edit_motion(motion: Motion, edit: MotionEdit) -> Motion:
    """Change the strength, the reference and the smoothness of a motion; see ``MotionEdit``.

    Raises:
        ShapeError: As ``check_motion``.
    """
    check_motion(motion)
    is_expression_held, is_pose_held = edit.keep == "pose", edit.keep == "expression"
    on_expression = _Change(edit.expression_strength, edit.expression_smoothing, is_expression_held, edit.is_relative)
    on_rotation = _Change(
        edit.rotation_strength, edit.pose_smoothing, is_pose_held, edit.is_relative, edit.base_rotation, is_angle=True
    )
    on_translation = _Change(edit.translation_strength, edit.pose_smoothing, is_pose_held, edit.is_relative)
    if not (on_expression.is_active or on_rotation.is_active or on_translation.is_active):
        return motion
    expression, rotation, translation = _split(motion.tokens)
    return replace(
        motion,
        tokens=_join(on_expression(expression), on_rotation(rotation), on_translation(translation)),
        rotation=on_rotation(motion.rotation),
        translation=on_translation(motion.translation),
    )


def trim(motion: Motion, first: int = 0, last: int | None = None) -> Motion:
    """Cut a motion to the frames from ``first`` to ``last``, both kept.

    Args:
        first: Counted from 0.
        last: At least ``first``; the motion's last frame if not given.

    Raises:
        ConfigurationError: If a frame is outside the motion.
        ShapeError: As ``check_motion``.
    """
    check_motion(motion)
    end = len(motion) - 1
    last = end if last is None else last
    _check_count("first", first, 0, end)
    _check_count("last", last, first, end)
    return _select(motion, range(first, last + 1))


def loop(motion: Motion, num_frames: int, is_ping_pong: bool = False) -> Motion:
    """Repeat a motion up to a length; a longer one is cut to it.

    Args:
        num_frames: Of the result, 1 to 100 000.
        is_ping_pong: Go back and forth, so that no seam jumps; the frames at the turns are not doubled. Otherwise the
            first frame follows the last.

    Raises:
        ConfigurationError: If the length is out of range.
        ShapeError: As ``check_motion``.
    """
    check_motion(motion)
    _check_count("num_frames", num_frames, 1, _MAX_FRAMES)
    _check_flag("is_ping_pong", is_ping_pong)
    order = list(range(len(motion)))
    if is_ping_pong:
        order += order[-2:0:-1]
    return _select(motion, [order[i % len(order)] for i in range(num_frames)])


def reverse(motion: Motion) -> Motion:
    """Run a motion backwards.

    Raises:
        ShapeError: As ``check_motion``.
    """
    check_motion(motion)
    return _select(motion, range(len(motion) - 1, -1, -1))


def hold(motion: Motion, num_frames: int, frame: int = 0) -> Motion:
    """Make a clip of one frame that stands still, for a still as the driver: the model knows video only.

    Args:
        num_frames: Of the result, 1 to 100 000; the model animates 25 at a time.
        frame: The one that is held, counted from 0.

    Raises:
        ConfigurationError: If the length or the frame is out of range.
        ShapeError: As ``check_motion``.
    """
    check_motion(motion)
    _check_count("num_frames", num_frames, 1, _MAX_FRAMES)
    _check_count("frame", frame, 0, len(motion) - 1)
    return _select(motion, [frame] * num_frames)


def concatenate(motions: Sequence[Motion], blend_frames: int = 0) -> Motion:
    """Play motions one after another.

    Args:
        motions: At least one, all made by the same model.
        blend_frames: Frames of overlap, in which the end of a motion fades linearly into the start of the next; each
            overlap shortens the result by as many. No motion may be shorter.

    Raises:
        ConfigurationError: If there is no motion, or one is shorter than the overlap; names it.
        ShapeError: If their tokens differ in number or width, or as ``check_motion``.
    """
    if not motions:
        raise ConfigurationError("concatenate needs at least one motion; got none.")
    for motion in motions:
        check_motion(motion)
        _check_same_model(motions[0], motion)
    shortest = min(range(len(motions)), key=lambda i: len(motions[i]))
    _check_count("blend_frames", blend_frames, 0, _MAX_FRAMES)
    if blend_frames > len(motions[shortest]) and len(motions) > 1:
        raise ConfigurationError(
            f"blend_frames is {blend_frames}, but motion {shortest + 1} of {len(motions)} has {len(motions[shortest])} "
            f"frames; lower blend_frames, or lengthen that motion."
        )
    if len(motions) == 1:
        return motions[0]
    weights = torch.arange(1, blend_frames + 1, dtype=torch.float32) / (blend_frames + 1)
    joined = _Series.of(motions[0])
    for motion in motions[1:]:
        following = _Series.of(motion)
        before = len(joined.tokens) - blend_frames
        overlap = _blend(joined.cut(before, None), following.cut(0, blend_frames), weights, weights)
        joined = _Series.chain([joined.cut(0, before), overlap, following.cut(blend_frames, None)])
    return joined.motion()


def mix(a: Motion, b: Motion, expression_weight: float, pose_weight: float, is_fitting: bool = False) -> Motion:
    """Blend two motions frame by frame: linearly, and rotations along the shorter way around.

    The 64 tokens of a frame are slots of the memory bank, so token i of one motion answers to token i of the other.

    Args:
        expression_weight: 0 takes the expression of ``a``, 1 that of ``b``.
        pose_weight: 0 takes rotation and translation of ``a``, 1 those of ``b``.
        is_fitting: Loop or cut ``b`` to the length of ``a``.

    Raises:
        ConfigurationError: If a weight is outside [0, 1].
        ShapeError: If the lengths differ and ``is_fitting`` is not set, the tokens differ in number or width, or as
            ``check_motion``.
    """
    check_motion(a)
    check_motion(b)
    _check_number("expression_weight", expression_weight, 0, 1)
    _check_number("pose_weight", pose_weight, 0, 1)
    _check_flag("is_fitting", is_fitting)
    _check_same_model(a, b)
    if is_fitting:
        b = loop(b, len(a))
    if len(a) != len(b):
        raise ShapeError(
            f"The motions to mix have {len(a)} and {len(b)} frames; trim or loop one of them to the other's length, or "
            f"set is_fitting to loop or cut the second one."
        )
    if expression_weight == pose_weight and expression_weight in (0, 1):
        return b if expression_weight else a
    weights = (torch.full((len(a),), float(weight)) for weight in (expression_weight, pose_weight))
    return _blend(_Series.of(a), _Series.of(b), *weights).motion()


def check_motion(motion: Motion) -> None:
    """Compare the parts of a motion with each other.

    Raises:
        ShapeError: If a part is not float32, or has another shape than the tokens ask for; names it.
    """
    shape = tuple(motion.tokens.shape)
    if len(shape) != 3 or 0 in shape or shape[2] <= _POSE_CHANNELS:
        raise ShapeError(f"A motion's tokens are (frames, tokens, channels > {_POSE_CHANNELS}); got {shape}.")
    for name in ("tokens", "rotation", "translation"):
        if (dtype := getattr(motion, name).dtype) != torch.float32:
            raise ShapeError(f"A motion's {name} is float32; got {dtype}.")
    for name in ("rotation", "translation"):
        found = tuple(getattr(motion, name).shape)
        if found != (shape[0], 3):
            raise ShapeError(f"A motion of {shape[0]} frames has a {name} of {(shape[0], 3)}; got {found}.")
    num_chunks = -(-shape[0] // INTENSITY_CHUNK)
    for name in ("head_intensity", "expression_intensity"):
        found = len(getattr(motion, name))
        if found != num_chunks:
            raise ShapeError(
                f"A motion of {shape[0]} frames has {num_chunks} values of {name}, one for each {INTENSITY_CHUNK} "
                f"frames; got {found}."
            )


def _check_same_model(a: Motion, b: Motion) -> None:
    if a.tokens.shape[1:] != b.tokens.shape[1:]:
        raise ShapeError(
            f"The frames of the motions have {tuple(a.tokens.shape[1:])} and {tuple(b.tokens.shape[1:])} tokens and "
            f"channels, so different models made them; encode both videos with the same one."
        )


class _Change(NamedTuple):
    """What happens to one part; for the attributes see ``MotionEdit``."""

    strength: float
    smoothing: int
    is_held: bool
    is_relative: bool
    base: tuple[float, float, float] | None = None
    is_angle: bool = False

    @property
    def is_active(self) -> bool:
        return self.strength != 1 or self.smoothing > 1 or self.is_held or self.base is not None

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Change a series (T, …, 3 or C - 6)."""
        if not self.is_active:
            return values
        values = unwrap(values) if self.is_angle else values
        if self.smoothing > 1:
            values = _smooth(values, self.smoothing)
        if self.is_held:
            values = values[:1].expand_as(values).clone()
        first = values[:1] if self.is_relative else torch.zeros_like(values[:1])
        if self.base is not None:
            values = values.new_tensor(self.base) + self.strength * (values - first)
        elif self.strength != 1:
            values = first + self.strength * (values - first)
        return wrap(values) if self.is_angle else values


class _Series(NamedTuple):
    """A motion with one entry per frame in each part."""

    tokens: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    levels: torch.Tensor
    """(T, 2) int64: intensities of expression and head."""

    @classmethod
    def of(cls, motion: Motion) -> _Series:
        levels = torch.tensor([motion.expression_intensity, motion.head_intensity]).T
        levels = levels.repeat_interleave(INTENSITY_CHUNK, dim=0)[: len(motion)]
        return cls(motion.tokens, motion.rotation, motion.translation, levels)

    @classmethod
    def chain(cls, pieces: Sequence[_Series]) -> _Series:
        return cls(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))

    def cut(self, start: int, stop: int | None) -> _Series:
        return _Series(*(part[start:stop] for part in self))

    def motion(self) -> Motion:
        chunks = [chunk.T.tolist() for chunk in self.levels.split(INTENSITY_CHUNK)]
        # Of equally frequent levels, Counter names the one that it met first.
        expression, head = (tuple(Counter(chunk[i]).most_common(1)[0][0] for chunk in chunks) for i in (0, 1))
        return Motion(self.tokens, head, expression, self.rotation, self.translation)


def _select(motion: Motion, frames: Sequence[int]) -> Motion:
    """Take frames by their indices, in the order given."""
    if list(frames) == list(range(len(motion))):
        return motion
    index = torch.tensor(frames)
    return _Series(*(part[index] for part in _Series.of(motion))).motion()


def _blend(a: _Series, b: _Series, expression_weights: torch.Tensor, pose_weights: torch.Tensor) -> _Series:
    """Blend series of T frames; weights (T,) of the second one."""
    of_expression, of_pose = expression_weights[:, None], pose_weights[:, None]  # (T, 1)
    parts = zip(_split(a.tokens), _split(b.tokens), strict=True)
    (expression_a, expression_b), (rotation_a, rotation_b), (translation_a, translation_b) = parts
    tokens = _join(
        torch.lerp(expression_a, expression_b, of_expression[:, None]),
        turn(rotation_a, rotation_b, of_pose[:, None]),
        torch.lerp(translation_a, translation_b, of_pose[:, None]),
    )
    levels = torch.lerp(a.levels.float(), b.levels.float(), torch.cat([of_expression, of_pose], dim=1))
    return _Series(
        tokens,
        turn(a.rotation, b.rotation, of_pose),
        torch.lerp(a.translation, b.translation, of_pose),
        levels.round().long(),
    )


def _split(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Expression (T, N, C - 6), rotation (T, N, 3) and translation (T, N, 3) of tokens."""
    expression, rotation, translation = tokens.split([tokens.shape[-1] - _POSE_CHANNELS, 3, 3], dim=-1)
    return expression, rotation, translation


def _join(expression: torch.Tensor, rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    return torch.cat([expression, rotation, translation], dim=-1)


def _smooth(values: torch.Tensor, window: int) -> torch.Tensor:
    """Average each frame with its neighbours; beyond the ends the first and last frame are repeated."""
    offsets = torch.arange(window) - window // 2
    last = len(values) - 1
    # One frame at a time: a long motion has gigabytes of tokens. In float64 a constant stays exactly itself.
    averages = [values[(frame + offsets).clamp(0, last)].double().mean(0) for frame in range(len(values))]
    return torch.stack([average.to(values.dtype) for average in averages])


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigurationError(f"{name} must be a number from {low} to {high}; got {value!r}.")


def _check_count(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(f"{name} must be a whole number from {low} to {high}; got {value!r}.")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is True or False; got {value!r}.")
