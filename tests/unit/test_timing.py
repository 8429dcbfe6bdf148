"""Frame rates out of rounded times."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.timing import Timing, frame_shown_at, timing_of

RATES = [Fraction(n) for n in (1, 8, 12, 24, 25, 30, 50, 60, 120)] + [n * Fraction(1000, 1001) for n in (24, 30, 60)]


@given(
    st.sampled_from(RATES),
    st.integers(2, 500),
    st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000)]),
)
def test_a_rate_is_found_again_through_any_clock(rate, num_frames, tick):
    starts = [round(place / rate / tick) for place in range(num_frames)]
    end = round(num_frames / rate / tick)
    hint = Fraction(f"{float(rate):.2f}")
    timing = timing_of(starts, end, tick, hint=hint)
    assert (timing.even, timing.num_frames) == (True, num_frames)
    assert abs(timing.fps / rate - 1) * num_frames < Fraction(1, 4) or timing.fps == rate


def test_half_frames_stay_exact():
    starts = [2 * place for place in range(10)]
    assert timing_of(starts, 20, Fraction(1, 25)) == Timing(Fraction(25, 2), True, 10)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=60))
def test_uneven_times_keep_their_length(durations):
    starts = [sum(durations[:place]) for place in range(len(durations))]
    timing = timing_of(starts, sum(durations), Fraction(1, 100))
    if not timing.even:
        assert abs(timing.num_frames / timing.fps - Fraction(sum(durations), 100)) <= 1 / timing.fps
        places = [frame_shown_at(starts, place, Fraction(1, 100), timing.fps) for place in range(timing.num_frames)]
        assert places == sorted(places)
        assert 0 <= places[0] <= places[-1] < len(starts)


@pytest.mark.parametrize("fps", [24, 30])
def test_a_gif_of_a_rate_its_clock_cannot_hold_is_even(fps):
    starts = [round(place * 100 / fps) for place in range(48)]
    assert timing_of(starts, round(4800 / fps), Fraction(1, 100)) == Timing(Fraction(fps), True, 48)
