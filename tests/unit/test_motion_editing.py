from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from own_motions import WIDTH, copy_of, is_same, random_motion

from hunyuan_core.angles import turn, unwrap, wrap
from hunyuan_core.data import Motion
from hunyuan_core.errors import ConfigurationError, ShapeError
from hunyuan_core.motion import assemble_tokens
from hunyuan_core.motion_editing import (
    MotionEdit,
    check_motion,
    concatenate,
    edit_motion,
    hold,
    loop,
    mix,
    reverse,
    trim,
)

EXPRESSION = slice(0, WIDTH - 6)
ROTATION = slice(WIDTH - 6, WIDTH - 3)
TRANSLATION = slice(WIDTH - 3, WIDTH)

MOTION = random_motion(60)


def turning(*degrees: float) -> Motion:
    """A motion whose first angle goes through these degrees."""
    rotation = torch.tensor(degrees)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    translation = torch.ones(len(degrees), 3)
    num_chunks = -(-len(degrees) // 25)
    return Motion(
        assemble_tokens(torch.ones(len(degrees), 2, 4), rotation, translation),
        (1,) * num_chunks,
        (2,) * num_chunks,
        rotation,
        translation,
    )


@pytest.mark.parametrize("is_relative", [False, True])
def test_defaults_return_the_tensors_that_were_given(is_relative: bool) -> None:
    edited = edit_motion(MOTION, MotionEdit(is_relative=is_relative))

    assert edited is MOTION


@pytest.mark.parametrize(
    ("setting", "channels"),
    [("expression_strength", EXPRESSION), ("rotation_strength", ROTATION), ("translation_strength", TRANSLATION)],
)
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_strength_scales_its_own_channels_and_leaves_the_others_their_bits(
    setting: str, channels: slice, is_relative: bool
) -> None:
    edited = edit_motion(MOTION, replace(MotionEdit(is_relative=is_relative), **{setting: 0.5}))

    before, after = MOTION.tokens[..., channels], edited.tokens[..., channels]
    torch.testing.assert_close(after, before / 2 + before[:1] / 2 if is_relative else before / 2)
    for other in (EXPRESSION, ROTATION, TRANSLATION):
        assert torch.equal(edited.tokens[..., other], MOTION.tokens[..., other]) == (other != channels)
    assert (edited.head_intensity, edited.expression_intensity) == (MOTION.head_intensity, MOTION.expression_intensity)


@pytest.mark.parametrize("is_relative", [False, True])
def test_strength_zero_is_zero_or_the_first_frame(is_relative: bool) -> None:
    edited = edit_motion(MOTION, MotionEdit(0.0, 0.0, 0.0, is_relative=is_relative))

    expected = MOTION.tokens[:1] if is_relative else torch.zeros_like(MOTION.tokens[:1])
    assert torch.equal(edited.tokens, expected.expand_as(MOTION.tokens))
    assert torch.equal(edited.rotation, expected[:, 0, ROTATION].expand(60, 3))


def test_released_tokens_have_no_translation_to_scale() -> None:
    released = random_motion(30, has_token_translation=False)

    edited = edit_motion(released, MotionEdit(translation_strength=2.0))

    assert torch.equal(edited.tokens, released.tokens)
    torch.testing.assert_close(edited.translation, released.translation * 2)


def test_expression_only_holds_the_pose_and_pose_only_the_expression() -> None:
    expression = edit_motion(MOTION, MotionEdit(keep="expression"))
    pose = edit_motion(MOTION, MotionEdit(keep="pose"))

    assert torch.equal(expression.tokens[..., EXPRESSION], MOTION.tokens[..., EXPRESSION])
    assert torch.equal(expression.tokens[..., WIDTH - 6 :], MOTION.tokens[:1, :, WIDTH - 6 :].expand(60, 3, 6))
    assert torch.equal(expression.rotation, MOTION.rotation[:1].expand(60, 3))
    assert torch.equal(expression.translation, MOTION.translation[:1].expand(60, 3))
    assert torch.equal(pose.tokens[..., EXPRESSION], MOTION.tokens[:1, :, EXPRESSION].expand(60, 3, WIDTH - 6))
    assert torch.equal(pose.tokens[..., WIDTH - 6 :], MOTION.tokens[..., WIDTH - 6 :])
    assert torch.equal(pose.rotation, MOTION.rotation)
    expression.translation[0] = 0  # a copy: no other frame follows
    assert torch.equal(expression.translation[1], MOTION.translation[0])


def test_absolute_strength_scales_what_is_held() -> None:
    edited = edit_motion(MOTION, MotionEdit(keep="expression", rotation_strength=0.5))

    assert torch.equal(edited.rotation, (MOTION.rotation[:1] / 2).expand(60, 3))


def test_relative_rotation_starts_from_the_portraits_pose() -> None:
    edit = MotionEdit(is_relative=True, base_rotation=(10.0, -20.0, 0.0), rotation_strength=0.5)

    edited = edit_motion(MOTION, edit)

    base = torch.tensor([10.0, -20.0, 0.0])
    assert torch.equal(edited.rotation[0], base)
    torch.testing.assert_close(edited.rotation, base + (MOTION.rotation - MOTION.rotation[0]) / 2)
    assert torch.equal(edited.tokens[:, 1, ROTATION], edited.rotation)
    moved = edit_motion(MOTION, replace(edit, rotation_strength=1.0))
    torch.testing.assert_close(moved.rotation, base + (MOTION.rotation - MOTION.rotation[0]))
    held = edit_motion(MOTION, replace(edit, keep="expression"))
    assert torch.equal(held.rotation, base.expand(60, 3))


def test_relative_rotation_goes_the_shorter_way_around() -> None:
    edited = edit_motion(turning(170, -170, -150), MotionEdit(is_relative=True, rotation_strength=0.5))

    assert edited.rotation[:, 0].tolist() == [170, 180, -170]
    assert torch.equal(edited.tokens[:, 0, 4:7], edited.rotation)


def test_absolute_rotation_does_not_jump_at_the_seam() -> None:
    edited = edit_motion(turning(170, -170), MotionEdit(rotation_strength=0.5))

    assert edited.rotation[:, 0].tolist() == [85, 95]


def test_a_large_strength_stays_an_angle() -> None:
    edited = edit_motion(turning(10, 100), MotionEdit(rotation_strength=3.0))

    assert edited.rotation[:, 0].tolist() == [30, -60]


def test_smoothing_averages_a_window_and_repeats_the_ends() -> None:
    edited = edit_motion(turning(0, 0, 30, 0, 60), MotionEdit(pose_smoothing=3))

    assert edited.rotation[:, 0].tolist() == [0, 10, 10, 30, 40]
    assert torch.equal(edited.tokens[:, 1, 4:7], edited.rotation)


def test_smoothing_averages_across_the_seam() -> None:
    edited = edit_motion(turning(179, -179, 179, -179), MotionEdit(pose_smoothing=3))

    torch.testing.assert_close(edited.rotation[:, 0].abs(), torch.full((4,), 180.0), atol=1, rtol=0)


def test_each_smoothing_has_its_own_part() -> None:
    expression = edit_motion(MOTION, MotionEdit(expression_smoothing=5))
    pose = edit_motion(MOTION, MotionEdit(pose_smoothing=5))

    torch.testing.assert_close(expression.tokens[10, :, EXPRESSION], MOTION.tokens[8:13, :, EXPRESSION].mean(0))
    assert torch.equal(expression.tokens[..., WIDTH - 6 :], MOTION.tokens[..., WIDTH - 6 :])
    assert torch.equal(pose.tokens[..., EXPRESSION], MOTION.tokens[..., EXPRESSION])
    torch.testing.assert_close(pose.translation[10], MOTION.translation[8:13].mean(0))


def test_a_relative_edit_starts_from_the_smoothed_first_frame() -> None:
    jitter = turning(30, 0, 0, 0)

    edited = edit_motion(jitter, MotionEdit(pose_smoothing=3, is_relative=True, rotation_strength=0.0))

    assert edited.rotation[:, 0].tolist() == [20, 20, 20, 20]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expression_strength": -0.1}, "expression_strength must be a number from 0 to 10; got -0.1"),
        ({"rotation_strength": float("nan")}, "rotation_strength must be a number from 0 to 10; got nan"),
        ({"translation_strength": "1"}, "translation_strength must be a number from 0 to 10; got '1'"),
        ({"expression_strength": True}, "expression_strength must be"),
        ({"pose_smoothing": 4}, "pose_smoothing is an odd number of frames, so that it has a centre; got 4"),
        ({"expression_smoothing": 0}, "expression_smoothing must be a whole number from 1 to 101; got 0"),
        ({"pose_smoothing": 3.0}, "pose_smoothing must be a whole number"),
        ({"keep": "head"}, "keep is 'all', 'expression' or 'pose'; got 'head'"),
        ({"is_relative": 1}, "is_relative is True or False; got 1"),
        ({"is_relative": True, "base_rotation": (0.0, 1.0)}, "base_rotation is three angles"),
        ({"is_relative": True, "base_rotation": (0.0, 1.0, 181.0)}, "base_rotation must be a number from -180 to 180"),
        ({"base_rotation": (0.0, 0.0, 0.0)}, "base_rotation is added to relative rotation; set is_relative"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        MotionEdit(**settings)


def test_trim_keeps_both_frames_that_it_names() -> None:
    part = trim(MOTION, 10, 12)

    assert torch.equal(part.tokens, MOTION.tokens[10:13])
    assert torch.equal(part.rotation, MOTION.rotation[10:13])
    assert torch.equal(part.translation, MOTION.translation[10:13])
    assert trim(MOTION) is MOTION
    assert len(trim(MOTION, 59)) == 1


def test_loop_begins_again_or_turns_around() -> None:
    def angles(motion: Motion) -> list[float]:
        return motion.rotation[:, 0].tolist()

    three = turning(1, 2, 3)

    assert angles(loop(three, 8)) == [1, 2, 3, 1, 2, 3, 1, 2]
    assert angles(loop(three, 8, is_ping_pong=True)) == [1, 2, 3, 2, 1, 2, 3, 2]
    assert angles(loop(three, 2)) == [1, 2]
    assert angles(loop(turning(5), 3, is_ping_pong=True)) == [5, 5, 5]
    assert angles(loop(turning(1, 2), 5, is_ping_pong=True)) == [1, 2, 1, 2, 1]


def test_hold_makes_a_clip_of_one_frame() -> None:
    clip = hold(MOTION, 40, frame=30)

    assert torch.equal(clip.tokens, MOTION.tokens[30:31].expand(40, 3, WIDTH))
    assert clip.head_intensity == (MOTION.head_intensity[1],) * 2
    assert clip.expression_intensity == (MOTION.expression_intensity[1],) * 2


def test_a_cross_fade_weighs_linearly_between_the_two() -> None:
    joined = concatenate([turning(0, 0, 0, 0), turning(40, 40, 40, 40)], blend_frames=3)

    assert joined.rotation[:, 0].tolist() == [0, 10, 20, 30, 40]
    assert torch.equal(joined.tokens[:, 0, 4:7], joined.rotation)


def test_a_cross_fade_goes_the_shorter_way_around() -> None:
    joined = concatenate([turning(170, 170), turning(-170, -170)], blend_frames=1)

    assert joined.rotation[:, 0].abs().tolist() == [170, 180, 170]


def test_three_motions_overlap_twice() -> None:
    joined = concatenate([turning(0, 0), turning(30, 30), turning(60, 60)], blend_frames=1)

    assert joined.rotation[:, 0].tolist() == [0, 15, 45, 60]


def test_intensities_follow_the_frames() -> None:
    motion = replace(random_motion(75), head_intensity=(10, 20, 30), expression_intensity=(1, 2, 3))

    assert trim(motion, 25, 74).head_intensity == (20, 30)
    assert trim(motion, 13, 74).head_intensity == (20, 30, 30)
    assert trim(motion, 12, 74).head_intensity == (10, 20, 30)
    assert trim(motion, 40, 44).expression_intensity == (2,)
    assert reverse(motion).expression_intensity == (3, 2, 1)
    assert concatenate([trim(motion, 50), trim(motion, 0, 24)]).head_intensity == (30, 10)
    other = replace(random_motion(75), head_intensity=(20, 20, 20), expression_intensity=(101, 101, 101))
    mixed = mix(motion, other, 0.25, 0.5)
    assert (mixed.head_intensity, mixed.expression_intensity) == ((15, 20, 25), (26, 27, 28))


def test_of_equally_many_frames_the_earliest_names_the_chunk() -> None:
    motion = replace(random_motion(50), head_intensity=(90, 10))

    assert trim(motion, 20, 29).head_intensity == (90,)


def test_mix_takes_the_expression_of_one_and_the_pose_of_the_other() -> None:
    other = random_motion(60, seed=1)

    mixed = mix(MOTION, other, 0, 1)

    assert torch.equal(mixed.tokens[..., EXPRESSION], MOTION.tokens[..., EXPRESSION])
    assert torch.equal(mixed.tokens[..., WIDTH - 6 :], other.tokens[..., WIDTH - 6 :])
    assert torch.equal(mixed.rotation, other.rotation)
    assert torch.equal(mixed.translation, other.translation)
    assert (mixed.head_intensity, mixed.expression_intensity) == (other.head_intensity, MOTION.expression_intensity)


def test_mix_blends_linearly() -> None:
    other = random_motion(60, seed=1)

    mixed = mix(MOTION, other, 0.25, 0.75)

    torch.testing.assert_close(
        mixed.tokens[..., EXPRESSION], MOTION.tokens[..., EXPRESSION] * 0.75 + other.tokens[..., EXPRESSION] * 0.25
    )
    torch.testing.assert_close(mixed.rotation, MOTION.rotation * 0.25 + other.rotation * 0.75)
    torch.testing.assert_close(mixed.tokens[:, 1, TRANSLATION], mixed.translation)


def test_lengths_that_differ_are_named_with_the_remedy_and_fitted_when_asked() -> None:
    short, long = random_motion(10, seed=1), random_motion(70, seed=2)

    with pytest.raises(ShapeError, match=r"have 60 and 10 frames; trim or loop .* or set is_fitting"):
        mix(MOTION, short, 0.5, 0.5)
    assert is_same(mix(MOTION, short, 1, 1, is_fitting=True), loop(short, 60))
    assert is_same(mix(MOTION, long, 1, 1, is_fitting=True), trim(long, 0, 59))


def test_motions_of_different_models_do_not_meet() -> None:
    wide = turning(*range(60))

    with pytest.raises(ShapeError, match=r"\(3, 14\) and \(2, 10\) tokens and channels, so different models made"):
        mix(MOTION, wide, 0.5, 0.5)
    with pytest.raises(ShapeError, match="different models made them"):
        concatenate([MOTION, wide])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: trim(MOTION, 60), "first must be a whole number from 0 to 59; got 60"),
        (lambda: trim(MOTION, -1), "first must be a whole number from 0 to 59; got -1"),
        (lambda: trim(MOTION, 5, 4), "last must be a whole number from 5 to 59; got 4"),
        (lambda: trim(MOTION, 0, 60), "last must be a whole number from 0 to 59; got 60"),
        (lambda: loop(MOTION, 0), "num_frames must be a whole number from 1 to 100000; got 0"),
        (lambda: loop(MOTION, 5, cast("bool", "yes")), "is_ping_pong is True or False; got 'yes'"),
        (lambda: hold(MOTION, cast("int", 2.5)), "num_frames must be a whole number"),
        (lambda: hold(MOTION, 5, 60), "frame must be a whole number from 0 to 59; got 60"),
        (lambda: concatenate([]), "concatenate needs at least one motion; got none"),
        (lambda: concatenate([MOTION, MOTION], -1), "blend_frames must be a whole number from 0"),
        (
            lambda: concatenate([MOTION, trim(MOTION, 0, 3)], 5),
            "blend_frames is 5, but motion 2 of 2 has 4 frames; lower blend_frames, or lengthen that motion",
        ),
        (lambda: mix(MOTION, MOTION, 1.5, 0), "expression_weight must be a number from 0 to 1; got 1.5"),
        (lambda: mix(MOTION, MOTION, 0, -1), "pose_weight must be a number from 0 to 1; got -1"),
        (lambda: mix(MOTION, MOTION, 0, 0, cast("bool", "no")), "is_fitting is True or False; got 'no'"),
    ],
)
def test_an_argument_out_of_range_is_named(change: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        change()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": torch.zeros(60, 14)}, r"tokens are \(frames, tokens, channels > 6\); got \(60, 14\)"),
        ({"tokens": torch.zeros(60, 3, 6)}, r"channels > 6\); got \(60, 3, 6\)"),
        ({"tokens": torch.zeros(0, 3, 14)}, r"got \(0, 3, 14\)"),
        ({"tokens": torch.zeros(60, 3, 14, dtype=torch.float16)}, "tokens is float32; got torch.float16"),
        ({"rotation": torch.zeros(59, 3)}, r"60 frames has a rotation of \(60, 3\); got \(59, 3\)"),
        ({"translation": torch.zeros(60, 2)}, r"60 frames has a translation of \(60, 3\); got \(60, 2\)"),
        ({"head_intensity": (1, 2)}, "3 values of head_intensity, one for each 25 frames; got 2"),
    ],
)
def test_a_motion_whose_parts_disagree_is_refused(changes: dict, message: str) -> None:
    broken = replace(MOTION, **changes)

    for use in (check_motion, reverse, trim, lambda motion: edit_motion(motion, MotionEdit())):
        with pytest.raises(ShapeError, match=message):
            use(broken)


def test_nothing_changes_its_input() -> None:
    given, other = random_motion(30), random_motion(30, seed=1)
    before = copy_of(given), copy_of(other)

    edit_motion(given, MotionEdit(0.5, 2.0, 0.5, "pose", True, (1.0, 2.0, 3.0), 3, 5))
    for changed in (
        reverse(given),
        trim(given, 3, 9),
        loop(given, 70, is_ping_pong=True),
        hold(given, 5),
        concatenate([given, other, given], 4),
        mix(given, other, 0.3, 0.7),
    ):
        changed.tokens.zero_()
        changed.rotation.zero_()
        changed.translation.zero_()

    assert is_same(given, before[0])
    assert is_same(other, before[1])


def test_angles_wrap_unwrap_and_turn() -> None:
    angles = torch.tensor([-180.0, 180.0, 190.0, -190.0, 540.0, 0.1])

    torch.testing.assert_close(wrap(angles), torch.tensor([-180.0, 180.0, -170.0, 170.0, -180.0, 0.1]))
    assert unwrap(torch.tensor([170.0, -170.0, -10.0, 170.0, -170.0])).tolist() == [170, 190, 350, 530, 550]
    half = turn(torch.tensor([170.0, -170.0, 10.0]), torch.tensor([-160.0, 160.0, 20.0]), torch.tensor(0.25))
    assert half.tolist() == [177.5, -177.5, 12.5]
