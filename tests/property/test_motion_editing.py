"""What holds for every motion, whatever its length and content."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from own_motions import WIDTH, is_same, random_motion

from hunyuan_core.data import Motion
from hunyuan_core.motion_editing import MotionEdit, concatenate, edit_motion, hold, loop, mix, reverse, trim

NUM_FRAMES = st.integers(1, 80)
SEEDS = st.integers(0, 2**31)
MOTIONS = st.builds(
    random_motion, NUM_FRAMES, SEEDS, has_token_translation=st.booleans(), limit=st.sampled_from([40.0, 180.0])
)
# Strong enough, and so gentle that no angle leaves [-180, 180].
GENTLE = st.builds(random_motion, NUM_FRAMES, SEEDS, limit=st.just(25.0))
STRENGTHS = st.floats(0, 3)
EDITS = st.builds(
    MotionEdit,
    STRENGTHS,
    STRENGTHS,
    STRENGTHS,
    st.sampled_from(["all", "expression", "pose"]),
    st.booleans(),
    st.none(),
    st.sampled_from([1, 3, 7]),
    st.sampled_from([1, 3, 7]),
)
ROTATION = slice(WIDTH - 6, WIDTH - 3)


def same_tensors(a: Motion, b: Motion) -> bool:
    names = ("tokens", "rotation", "translation")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


@given(MOTIONS, st.booleans())
def test_defaults_are_the_identity(motion: Motion, is_relative: bool) -> None:
    assert is_same(edit_motion(motion, MotionEdit(is_relative=is_relative)), motion)


@given(MOTIONS, EDITS)
def test_tokens_and_record_go_on_to_agree(motion: Motion, edit: MotionEdit) -> None:
    edited = edit_motion(motion, edit)

    assert torch.equal(edited.tokens[..., ROTATION], edited.rotation[:, None].expand(-1, 3, -1))
    assert edited.rotation.abs().max() <= 180
    if torch.equal(motion.tokens[:, 0, WIDTH - 3 :], motion.translation):
        assert torch.equal(edited.tokens[:, 0, WIDTH - 3 :], edited.translation)
    assert edited.tokens.shape == motion.tokens.shape


@given(GENTLE, STRENGTHS, st.booleans())
def test_strength_is_linear(motion: Motion, strength: float, is_relative: bool) -> None:
    def edited(strength: float) -> Motion:
        return edit_motion(motion, MotionEdit(strength, strength, strength, is_relative=is_relative))

    none, one, some = edited(0.0), edited(1.0), edited(strength)
    for name in ("tokens", "rotation", "translation"):
        zero = getattr(none, name)
        expected = zero + strength * (getattr(one, name) - zero)
        torch.testing.assert_close(getattr(some, name), expected, atol=1e-4, rtol=1e-5)


@given(st.integers(1, 40), SEEDS, st.sampled_from([1, 3, 5, 101]))
def test_a_constant_stays_itself_when_smoothed(num_frames: int, seed: int, window: int) -> None:
    still = hold(random_motion(1, seed, limit=180.0), num_frames)

    assert is_same(edit_motion(still, MotionEdit(expression_smoothing=window, pose_smoothing=window)), still)


@given(st.integers(2, 80), SEEDS, st.data())
def test_parts_join_to_the_whole(num_frames: int, seed: int, data: st.DataObject) -> None:
    motion = random_motion(num_frames, seed)
    cut = data.draw(st.integers(1, num_frames - 1))

    joined = concatenate([trim(motion, 0, cut - 1), trim(motion, cut)])

    assert same_tensors(joined, motion)
    if num_frames % 25 == 0:
        assert is_same(joined, motion)


@given(MOTIONS)
def test_backwards_twice_is_forwards(motion: Motion) -> None:
    assert same_tensors(reverse(reverse(motion)), motion)
    if len(motion) % 25 == 0 or len(motion) < 25:
        assert is_same(reverse(reverse(motion)), motion)


@given(MOTIONS, st.integers(1, 200), st.booleans())
def test_a_loop_has_the_length_asked_for_and_begins_like_the_motion(
    motion: Motion, num_frames: int, is_ping_pong: bool
) -> None:
    looped = loop(motion, num_frames, is_ping_pong)

    assert looped.tokens.shape == (num_frames, *motion.tokens.shape[1:])
    assert len(looped.rotation) == len(looped.translation) == num_frames
    assert len(looped.head_intensity) == len(looped.expression_intensity) == -(-num_frames // 25)
    last = min(num_frames, len(motion)) - 1
    assert same_tensors(trim(looped, 0, last), trim(motion, 0, last))
    period = max(2 * len(motion) - 2, 1) if is_ping_pong else len(motion)
    if num_frames > period:
        assert torch.equal(looped.rotation[period], motion.rotation[0])


@given(st.lists(st.integers(8, 40), min_size=1, max_size=4), st.integers(0, 8), SEEDS)
def test_overlaps_shorten_the_whole_and_leave_the_ends(lengths: list[int], blend_frames: int, seed: int) -> None:
    motions = [random_motion(length, seed + i, limit=180.0) for i, length in enumerate(lengths)]

    joined = concatenate(motions, blend_frames)

    assert len(joined) == sum(lengths) - blend_frames * (len(lengths) - 1)
    assert torch.equal(joined.tokens[..., ROTATION], joined.rotation[:, None].expand(-1, 3, -1))
    assert torch.equal(joined.tokens[: lengths[0] - blend_frames], motions[0].tokens[: lengths[0] - blend_frames])
    if len(motions) > 1:
        num_left = lengths[-1] - blend_frames
        assert torch.equal(joined.tokens[len(joined) - num_left :], motions[-1].tokens[blend_frames:])


@given(NUM_FRAMES, SEEDS, SEEDS)
def test_whole_weights_give_the_inputs(num_frames: int, seed_a: int, seed_b: int) -> None:
    a, b = random_motion(num_frames, seed_a, limit=180.0), random_motion(num_frames, seed_b, limit=180.0)

    assert is_same(mix(a, b, 0, 0), a)
    assert is_same(mix(a, b, 1, 1), b)
    assert torch.equal(mix(a, b, 1, 0).rotation, a.rotation)
    assert torch.equal(mix(a, b, 0, 1).tokens[..., ROTATION], b.tokens[..., ROTATION])
    assert torch.equal(mix(a, b, 0, 0.5).tokens[..., : WIDTH - 6], a.tokens[..., : WIDTH - 6])


@given(NUM_FRAMES, SEEDS, SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_mixing_the_other_way_round_is_the_same(
    num_frames: int, seed_a: int, seed_b: int, expression: float, pose: float
) -> None:
    a, b = random_motion(num_frames, seed_a), random_motion(num_frames, seed_b)

    one, other = mix(a, b, expression, pose), mix(b, a, 1 - expression, 1 - pose)

    torch.testing.assert_close(one.tokens, other.tokens, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(one.rotation, other.rotation, atol=1e-4, rtol=1e-5)
