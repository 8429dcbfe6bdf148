"""Windows: the golden rows of the seed, and what must hold for every clip."""

import math
import random
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.plan.choices import ClosedLoop, ContextFuse, ContextSchedule
from pipelines.plan.context import Window, count_windows, plan_inner_windows, plan_windows
from pipelines.plan.request import GenerationRequest

SCHEDULES, LOOPS, FUSES = list(ContextSchedule), list(ClosedLoop), list(ContextFuse)
ON_A_RING = (ContextSchedule.UNIFORM, ContextSchedule.STATIC, ContextSchedule.LOOPED)
"""Schedules whose windows have neighbours in time, so that the last and the first can be such."""
CLOSED = LOOPS[1:]


def clip(num_frames: int, length: int = 16, overlap: int = -1, **options) -> GenerationRequest:
    values = {"context_length": length, "context_overlap": overlap, "seed": 0} | options
    return GenerationRequest.build(num_frames=num_frames, **values)


def ends(windows: list[Window]) -> list[tuple[int, int]]:
    return [(window.frame_indices[0], window.frame_indices[-1]) for window in windows]


def frames_of(request: GenerationRequest, step: int) -> list[tuple[int, ...]]:
    return [window.frame_indices for window in plan_windows(request, step)]


def wraps(windows: list[Window]) -> bool:
    return any(b < a for window in windows for a, b in pairwise(window.frame_indices))


def check_invariants(request: GenerationRequest, step: int) -> None:
    windows = plan_windows(request, step)
    num_frames, last_wins = request.num_frames, request.context_fuse is ContextFuse.LAST
    full = min(num_frames, request.context_length)
    sums = [0.0] * num_frames
    for number, window in enumerate(windows):
        frames = window.frame_indices
        assert len(frames) == len(set(frames)) == len(window.weights)
        may_be_short = request.context_schedule is ContextSchedule.BATCHED and number == len(windows) - 1
        assert len(frames) <= full if may_be_short else len(frames) == full
        for frame, weight in zip(frames, window.weights, strict=True):
            assert 0 <= frame < num_frames
            assert (weight in (0, 1)) if last_wins else 0 < weight <= 1
            sums[frame] += weight
    assert all(math.isclose(total, 1, rel_tol=1e-12) for total in sums)
    assert len({window.frame_indices for window in windows}) == len(windows)
    if request.closed_loop is ClosedLoop.OFF and request.context_schedule is not ContextSchedule.LOOPED:
        assert not wraps(windows)


def even_spacings(request: GenerationRequest, step: int) -> set[int]:
    """How far apart, on the ring, the frames of windows are; each window has one spacing."""
    spacings = set()
    for frames in frames_of(request, step):
        steps = {(b - a) % request.num_frames for a, b in pairwise(frames)}
        assert len(steps) <= 1
        spacings |= steps
    return spacings


SMALL = [
    clip(frames, length, overlap) for frames, length in product(range(1, 18), range(1, 8)) for overlap in range(length)
]
"""Every small clip in every small window with every overlap."""


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
    assert ends(plan_windows(clip(32), step)) == expected


@pytest.mark.parametrize("loop", CLOSED)
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [(0, 15), (12, 27), (24, 7)]),
        (1, [(16, 31), (28, 11), (8, 23)]),
        (2, [(8, 23), (20, 3), (0, 15)]),
        (3, [(24, 7), (4, 19), (16, 31)]),
    ],
)
def test_uniform_agrees_with_the_golden_rows_of_a_closed_clip(loop, step, expected):
    assert ends(plan_windows(clip(32, closed_loop=loop), step)) == expected


def test_a_fully_closed_clip_has_the_seed_s_further_window_over_the_end():
    assert ends(plan_windows(clip(28, closed_loop="windows"), 0)) == [(0, 15), (12, 27)]
    assert ends(plan_windows(clip(28, closed_loop="full"), 0)) == [(0, 15), (12, 27), (24, 11)]


def test_a_second_level_adds_the_seed_s_every_second_frame_window():
    even, odd = tuple(range(0, 32, 2)), tuple(range(1, 32, 2))
    assert frames_of(clip(32, context_stride=2), 0)[3] == even
    around = (*range(17, 32, 2), *range(1, 16, 2))
    assert frames_of(clip(32, context_stride=2, closed_loop="windows"), 1)[3] == around
    assert frames_of(clip(32, context_stride=2), 1)[3] == odd  # the same frames, opened


def test_looped_is_uniform_in_a_closed_clip():
    for step in range(4):
        looped = plan_windows(clip(40, context_schedule="looped"), step)
        assert looped == plan_windows(clip(40, closed_loop="windows"), step)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [(32, [(0, 15), (12, 27), (16, 31)]), (40, [(0, 15), (12, 27), (24, 39)]), (17, [(0, 15), (1, 16)])],
)
def test_static_windows_stay_in_place_and_the_last_is_pulled_back(num_frames, expected):
    for step in range(4):
        assert ends(plan_windows(clip(num_frames, context_schedule="static"), step)) == expected


def test_static_windows_of_a_closed_clip_go_on_over_the_end():
    assert ends(plan_windows(clip(32, context_schedule="static", closed_loop="windows"), 5)) == [
        (0, 15),
        (12, 27),
        (24, 7),
    ]


def test_batched_windows_follow_each_other_and_the_last_is_shorter():
    for loop in LOOPS:
        batched = clip(36, context_schedule="batched", closed_loop=loop)
        assert ends(plan_windows(batched, 3)) == [(0, 15), (16, 31), (32, 35)]


def test_a_shuffled_window_holds_frames_from_anywhere_in_the_order_of_time():
    windows = frames_of(clip(48, context_schedule="shuffle"), 0)
    assert len(windows) == 3
    assert all(list(frames) == sorted(frames) for frames in windows)
    assert all(frames[-1] - frames[0] > 32 for frames in windows)


def test_shuffling_depends_on_seed_and_step_alone():
    def windows_at(seed: int, step: int) -> list[tuple[int, ...]]:
        return frames_of(clip(64, context_schedule="shuffle", seed=seed), step)

    random.seed(1)
    first, state = windows_at(7, 2), random.getstate()
    assert windows_at(7, 2) == first
    assert random.getstate() == state
    assert first != windows_at(7, 3)
    assert first != windows_at(9, 2)
    # The very draw, which a recipe relies on in every version of Python.
    assert frames_of(clip(6, 3, 0, context_schedule="shuffle"), 0) == [(2, 3, 5), (0, 1, 4)]


def test_composite_is_shuffled_for_a_tenth_of_the_steps_then_uniform():
    composite = clip(40, context_schedule="composite", num_inference_steps=20)
    assert [frames_of(composite, step) for step in (0, 1)] == [
        frames_of(clip(40, context_schedule="shuffle"), step) for step in (0, 1)
    ]
    assert [frames_of(composite, step) for step in (2, 19)] == [frames_of(clip(40), step) for step in (2, 19)]


@pytest.mark.parametrize(("schedule", "loop", "fuse"), product(SCHEDULES, LOOPS, FUSES))
def test_a_clip_that_fits_is_one_window_of_weight_exactly_one(schedule, loop, fuse):
    for num_frames in (1, 9, 16):
        request = clip(num_frames, context_schedule=schedule, closed_loop=loop, context_fuse=fuse)
        assert plan_windows(request, 5) == [Window(tuple(range(num_frames)), (1.0,) * num_frames)]


@pytest.mark.parametrize(
    ("fuse", "first", "second"),
    [
        ("pyramid", (1, 1, 2 / 3, 1 / 3), (1 / 3, 2 / 3, 1, 1)),
        ("flat", (1, 1, 1 / 2, 1 / 2), (1 / 2, 1 / 2, 1, 1)),
        ("overlap_linear", (1, 1, 2 / 3, 1 / 3), (1 / 3, 2 / 3, 1, 1)),
        ("last", (1, 1, 0, 0), (1, 1, 1, 1)),
    ],
)
def test_weights_are_shared_out_where_windows_overlap(fuse, first, second):
    windows = plan_windows(clip(6, 4, 2, context_schedule="static", context_fuse=fuse), 0)
    assert [window.weights for window in windows] == [pytest.approx(first), pytest.approx(second)]


def test_relative_weights_leave_next_to_nothing_to_the_ends_of_a_window():
    (first, second) = plan_windows(clip(6, 4, 2, context_schedule="static", context_fuse="relative"), 0)
    inner, outer = 1 - 0.5 / 1.505, 0.01
    assert first.weights == pytest.approx((1, 1, inner / (inner + outer), outer / (inner + outer)))
    assert second.weights == pytest.approx(first.weights[::-1])


def test_linear_ramps_are_as_long_as_the_overlap_and_spare_the_ends_of_an_open_clip():
    (first, *_, last) = plan_windows(clip(26, 10, 2, context_schedule="static", context_fuse="overlap_linear"), 0)
    assert first.weights == pytest.approx((*[1] * 8, 2 / 3, 1 / 3))
    assert last.weights == pytest.approx((1 / 3, 2 / 3, *[1] * 8))


def test_every_small_clip_is_covered_by_whole_windows_that_run_over_no_open_end():
    for base, schedule, stride in product(SMALL, SCHEDULES, (1, 3)):
        request = base.model_copy(update={"context_schedule": schedule, "context_stride": stride})
        for step in range(3):
            check_invariants(request, step)


def test_every_small_closed_clip_is_covered_at_its_even_spacings():
    for base, schedule, loop, stride in product(SMALL, ON_A_RING, CLOSED, (1, 2)):
        request = base.model_copy(update={"context_schedule": schedule, "closed_loop": loop, "context_stride": stride})
        check_invariants(request, 1)
        assert even_spacings(request, 1) <= ({1} if stride == 1 else {1, 2})


def test_every_small_clip_has_weights_of_every_kind():
    for base, fuse, loop in product(SMALL, FUSES, (ClosedLoop.OFF, ClosedLoop.FULL)):
        check_invariants(base.model_copy(update={"context_fuse": fuse, "closed_loop": loop}), 1)


def test_a_closed_clip_longer_than_its_window_runs_over_the_end():
    for base, loop, schedule in product(SMALL, CLOSED, ON_A_RING):
        if base.num_frames <= base.context_length or base.context_length == 1:
            continue
        request = base.model_copy(update={"context_schedule": schedule, "closed_loop": loop})
        steps = [plan_windows(request, step) for step in range(16)]
        if request.effective_overlap:
            assert any(map(wraps, steps))
        if request.effective_overlap and (loop is ClosedLoop.FULL or schedule is ContextSchedule.STATIC):
            assert all(joins_the_end(windows, base.num_frames) for windows in steps)
        if schedule is not ContextSchedule.STATIC:  # its windows move, so it needs no shared frames
            assert any(map(wraps, steps))


def joins_the_end(windows: list[Window], num_frames: int) -> bool:
    pairs = {pair for window in windows for pair in pairwise(window.frame_indices)}
    return (num_frames - 1, 0) in pairs


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_clip_is_covered_by_whole_windows_that_run_over_no_open_end(data):
    length = data.draw(st.integers(1, 64))
    request = clip(
        data.draw(st.integers(1, 400)),
        length,
        data.draw(st.integers(-1, length - 1)),
        context_schedule=data.draw(st.sampled_from(SCHEDULES)),
        context_stride=data.draw(st.integers(1, 8)),
        closed_loop=data.draw(st.sampled_from(LOOPS)),
        context_fuse=data.draw(st.sampled_from(FUSES)),
        seed=data.draw(st.integers(0, 2**32 - 1)),
    )
    check_invariants(request, data.draw(st.integers(0, 149)))


def test_seams_of_a_long_clip_move_from_step_to_step():
    plans = [ends(plan_windows(clip(100), step)) for step in range(4)]
    assert all(a != b for a, b in pairwise(plans))


@pytest.mark.parametrize("loop", LOOPS)
def test_levels_end_where_their_windows_no_longer_fit_the_clip(loop):
    # Every 2nd frame of 24 gives 12, too few for a window of 16.
    short = clip(24, closed_loop=loop)
    assert plan_windows(short.model_copy(update={"context_stride": 8}), 0) == plan_windows(short, 0)
    assert even_spacings(clip(64, context_stride=8, closed_loop=loop), 0) == {1, 2, 4}


@pytest.mark.parametrize(("schedule", "loop"), product(SCHEDULES, LOOPS))
def test_the_count_is_the_sum_of_the_plans(schedule, loop):
    request = clip(50, 8, 3, context_stride=3, context_schedule=schedule, closed_loop=loop)
    assert count_windows(request, 7) == tuple(len(plan_windows(request, step)) for step in range(7))


def test_ten_thousand_frames_are_planned_without_delay():
    assert len(plan_windows(clip(10_000), 1)) == pytest.approx(10_000 / 12, abs=2)


@given(st.integers(1, 128), st.integers(0, 64), st.data())
def test_inner_windows_are_whole_runs_that_cover_the_window_and_count_one_at_every_place(length, inner, data):
    overlap = data.draw(st.integers(-1, max(inner - 1, -1)))
    request = GenerationRequest.build(inner_length=inner, inner_overlap=overlap, seed=0)
    windows = plan_inner_windows(request, length)
    assert bool(windows) == (0 < inner < length)
    sums = [0.0] * length
    for window in windows:
        first = window.frame_indices[0]
        assert window.frame_indices == tuple(range(first, first + inner))
        for place, weight in zip(window.frame_indices, window.weights, strict=True):
            assert weight > 0
            sums[place] += weight
    assert not windows or all(math.isclose(total, 1, rel_tol=1e-12) for total in sums)
    assert all(0 < b[0] - a[0] <= inner - request.effective_inner_overlap for a, b in pairwise(ends(windows)))
