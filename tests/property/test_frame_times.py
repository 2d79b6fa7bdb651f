"""Exact arithmetic of rates and times."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from hunyuan_core.video.timing import FrameClock, find_timing

RATES = st.one_of(
    st.sampled_from([Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)]),
    st.integers(1, 240).map(Fraction),
    st.fractions(1, 240, max_denominator=1001),
)
TICKS = st.sampled_from([Fraction(1, scale) for scale in (600, 1000, 15360, 30000, 90000)])


@given(RATES, st.integers(0, 10**8))
def test_constant_clock_never_drifts(rate: Fraction, frame: int) -> None:
    clock = FrameClock.constant(rate)
    assert clock.ticks(frame) * clock.time_base == frame / rate
    assert (clock.ticks(frame + 1) - clock.ticks(frame)) * clock.time_base == 1 / rate


def test_2997_after_ten_hours_is_exact_to_the_frame() -> None:
    clock = FrameClock.constant(Fraction(30000, 1001))
    assert clock.ticks(30000 * 36) * clock.time_base == 1001 * 36


@given(RATES, TICKS, st.integers(2, 400), st.integers(0, 10**7))
def test_rounded_times_of_a_constant_rate_are_recognised(
    rate: Fraction, tick: Fraction, num_frames: int, start: int
) -> None:
    assume(1 / rate > 2 * tick)
    times = [round(i / rate / tick) * tick for i in range(num_frames + 1)]
    timing = find_timing(times, tick, [None, Fraction(0), rate])
    assert timing.frame_rate == rate
    assert timing.timestamps is None
    late = [time + (start + 2) * tick for time in times]
    assert find_timing(late, tick, [rate]).timestamps == tuple(late)


@given(TICKS, st.lists(st.integers(1, 5000), min_size=1, max_size=50), RATES)
def test_found_times_are_those_of_the_file(tick: Fraction, gaps: list[int], guess: Fraction) -> None:
    times = [sum(gaps[:i]) * tick for i in range(len(gaps) + 1)]
    timing = find_timing(times, tick, [guess])
    assert timing.num_frames == len(gaps)
    if timing.timestamps is None:
        assert all(abs(time - i / timing.frame_rate) <= tick for i, time in enumerate(times[:-1]))
    else:
        assert timing.timestamps == tuple(times)
        assert timing.frame_rate == len(gaps) / times[-1]


@given(TICKS, st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_variable_clock_is_exact_on_the_files_own_ticks(tick: Fraction, gaps: list[int]) -> None:
    times = [sum(gaps[:i]) * tick for i in range(len(gaps) + 1)]
    clock = FrameClock.variable(times)
    assert [clock.ticks(i) * clock.time_base for i in range(len(times))] == times


@given(st.lists(st.fractions(Fraction(1, 1000), 10), min_size=1, max_size=20))
def test_variable_clock_rounds_odd_times_by_less_than_a_frame_of_sound(gaps: list[Fraction]) -> None:
    times = [sum(gaps[:i], Fraction(0)) for i in range(len(gaps) + 1)]
    clock = FrameClock.variable(times)
    assert all(abs(clock.ticks(i) * clock.time_base - time) <= Fraction(1, 180_000) for i, time in enumerate(times))
