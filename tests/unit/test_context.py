"""Windows: the golden rows of the seed, and what must hold for every clip."""

import math
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.context import Window, count_windows, plan_windows
from pipelines.errors import InvalidRequestError
from pipelines.request import ContextSchedule

UNIFORM, STATIC = ContextSchedule.UNIFORM, ContextSchedule.STATIC


def _ends(windows: list[Window]) -> list[tuple[int, int]]:
    return [(window.frame_indices[0], window.frame_indices[-1]) for window in windows]


def _check_invariants(num_frames: int, length: int, windows: list[Window], *, spacings: set[int]) -> None:
    sums = [0.0] * num_frames
    for window in windows:
        frames = window.frame_indices
        assert len(frames) == len(window.weights) == min(num_frames, length)
        steps = {b - a for a, b in pairwise(frames)}
        assert len(steps) <= 1
        assert steps <= spacings
        assert frames[0] >= 0
        assert frames[-1] < num_frames
        for frame, weight in zip(frames, window.weights, strict=True):
            assert 0 < weight <= 1
            sums[frame] += weight
    assert all(math.isclose(total, 1, rel_tol=1e-12) for total in sums)
    assert len({window.frame_indices for window in windows}) == len(windows)


def _smallest_ranges() -> list[tuple[int, int, int]]:
    return [(f, length, ov) for f, length in product(range(1, 21), range(1, 10)) for ov in range(length)]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [(0, 15), (12, 27), (16, 31)]),
        (1, [(16, 31), (0, 15), (8, 23)]),
        (2, [(8, 23), (16, 31), (0, 15)]),
        (3, [(16, 31), (0, 15), (4, 19)]),
    ],
)
def test_uniform_agrees_with_the_golden_rows_of_an_open_clip(step, expected):
    assert _ends(plan_windows(32, step)) == expected


def test_a_second_level_adds_the_seed_s_every_second_frame_window():
    even, odd = tuple(range(0, 32, 2)), tuple(range(1, 32, 2))
    assert plan_windows(32, 0, context_stride=2)[3].frame_indices == even
    # At step 1 the seed yields the odd frames from 17 on, around the end; opened they are in order.
    assert plan_windows(32, 1, context_stride=2)[3].frame_indices == odd


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [(32, [(0, 15), (12, 27), (16, 31)]), (40, [(0, 15), (12, 27), (24, 39)]), (17, [(0, 15), (1, 16)])],
)
def test_static_windows_stay_in_place_and_the_last_is_pulled_back(num_frames, expected):
    for step in range(4):
        assert _ends(plan_windows(num_frames, step, schedule=STATIC)) == expected


@pytest.mark.parametrize("schedule", ContextSchedule)
@pytest.mark.parametrize("num_frames", [1, 9, 16])
def test_a_clip_that_fits_is_one_window_of_weight_exactly_one(schedule, num_frames):
    (window,) = plan_windows(num_frames, 5, schedule=schedule)
    assert window == Window(tuple(range(num_frames)), (1.0,) * num_frames)


def test_weights_follow_a_pyramid_and_are_shared_where_windows_overlap():
    first, second = plan_windows(6, 0, schedule=STATIC, context_length=4, context_overlap=2)
    assert first.weights == (1.0, 1.0, 2 / 3, 1 / 3)
    assert second.weights == (1 / 3, 2 / 3, 1.0, 1.0)


def test_every_small_clip_is_covered_by_whole_windows_that_never_wrap():
    for num_frames, length, overlap in _smallest_ranges():
        options = {"context_length": length, "context_overlap": overlap}
        for step, stride in product(range(5), (1, 3)):
            windows = plan_windows(num_frames, step, context_stride=stride, **options)
            _check_invariants(num_frames, length, windows, spacings={1} if stride == 1 else {1, 2, 4})
        static = plan_windows(num_frames, 0, schedule=STATIC, **options)
        _check_invariants(num_frames, length, static, spacings={1})


@settings(max_examples=60, deadline=None)
@given(data=st.data(), schedule=st.sampled_from(ContextSchedule))
def test_any_clip_is_covered_by_whole_windows_that_never_wrap(data, schedule):
    num_frames = data.draw(st.integers(1, 400))
    length = data.draw(st.integers(1, 64))
    options = {
        "schedule": schedule,
        "context_length": length,
        "context_overlap": data.draw(st.integers(0, length - 1)),
        "context_stride": data.draw(st.integers(1, 8)),
    }
    windows = plan_windows(num_frames, data.draw(st.integers(0, 149)), **options)
    _check_invariants(num_frames, length, windows, spacings={1 << level for level in range(8)})


def test_seams_of_a_long_clip_move_from_step_to_step():
    plans = [_ends(plan_windows(100, step)) for step in range(4)]
    assert all(a != b for a, b in pairwise(plans))


def test_levels_end_where_their_windows_no_longer_fit_the_clip():
    # Every 2nd frame of 24 gives 12, too few for a window of 16.
    assert plan_windows(24, 0, context_stride=8) == plan_windows(24, 0)
    spread = [window.frame_indices for window in plan_windows(64, 0, context_stride=8)]
    assert {frames[1] - frames[0] for frames in spread} == {1, 2, 4}


@pytest.mark.parametrize("schedule", ContextSchedule)
def test_the_count_is_the_sum_of_the_plans(schedule):
    options = {"schedule": schedule, "context_length": 8, "context_overlap": 3, "context_stride": 3}
    assert count_windows(50, 7, **options) == sum(len(plan_windows(50, step, **options)) for step in range(7))


def test_ten_thousand_frames_are_planned_without_delay():
    assert len(plan_windows(10_000, 1)) == pytest.approx(10_000 / 12, abs=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0. Raise 'Frames'."),
        ({"step": -1}, "step must be at least 0, got -1. Count steps from 0."),
        ({"context_length": 0}, "context_length must be at least 1, got 0. Raise 'Window length'."),
        ({"context_stride": 0}, "context_stride must be at least 1, got 0. Raise 'Long-range passes'."),
        (
            {"context_overlap": 16},
            "context_overlap must be at least 0 and below context_length (16), got 16. "
            "Lower 'Shared frames' or raise 'Window length'.",
        ),
    ],
)
def test_numbers_out_of_range_are_refused_in_words(change, message):
    values = {"num_frames": 32, "step": 0} | change
    with pytest.raises(InvalidRequestError) as error:
        plan_windows(values.pop("num_frames"), values.pop("step"), **values)
    assert str(error.value) == message
