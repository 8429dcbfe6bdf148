"""The time left begins at the estimate, ends at nothing, and makes no leaps."""

from itertools import pairwise

import pytest

from pipelines.plan.events import Progress, Stage
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.stopwatch import Remaining
from pipelines.plan.request import GenerationRequest

EXPECTED = dict.fromkeys(Stage, 0.0) | {
    Stage.PREPROCESS: 3.0,
    Stage.LOAD: 5.0,
    Stage.ENCODE: 1.0,
    Stage.DENOISE: 20.0,
    Stage.DECODE: 30.0,
    Stage.WRITE: 4.0,
}
FRAMES = 16


def remaining_times(*, slower: dict[Stage, float] | None = None, first: int = 0, **values) -> list[tuple[float, float]]:
    """Seconds left at every event of a clip, and those that it then really takes; stages are so much slower.

    Args:
        first: Windows that an earlier run has done.
    """
    request = GenerationRequest.build(seed=0, num_inference_steps=10, **values)
    windows = plan_of(request).windows
    took = {stage: EXPECTED[stage] * (slower or {}).get(stage, 1.0) for stage in Stage}
    events = [(Progress(Stage.PREPROCESS, 0, 1), 0.0), (Progress(Stage.LOAD, 0, 1), took[Stage.PREPROCESS])]
    events += [(Progress(Stage.ENCODE, 0, 1), took[Stage.LOAD])]
    left = windows - first
    step_s = took[Stage.DENOISE] / windows
    events += [(Progress(Stage.DENOISE, step, left), step_s) for step in range(1, left + 1)]
    events += [(Progress(Stage.DECODE, n, FRAMES), took[Stage.DECODE] / FRAMES) for n in range(1, FRAMES + 1)]
    events += [(Progress(Stage.WRITE, 0, 1), 0.0), (Progress(Stage.WRITE, 1, 1), took[Stage.WRITE])]
    remaining, spent = Remaining(plan_of(request), EXPECTED), dict.fromkeys(Stage, 0.0)
    pairs, gone, total = [], 0.0, sum(seconds for _, seconds in events)
    before = Stage.PREPROCESS
    for event, seconds in events:
        loads = before in (Stage.PREPROCESS, Stage.LOAD)
        spent[before if loads else event.stage] += seconds
        gone += seconds
        before = event.stage
        guess = remaining.seconds(event, spent)
        assert guess is not None
        pairs.append((guess, total - gone))
    return pairs


def test_it_begins_at_the_estimate_and_ends_at_nothing():
    times = remaining_times()
    assert times[0][0] == pytest.approx(sum(EXPECTED.values()))
    assert times[-1][0] == pytest.approx(0)


def test_where_all_goes_as_expected_it_is_the_truth_all_along():
    # What a prompt takes is told by the first step that follows.
    assert all(guess == pytest.approx(truth, abs=1.5) for guess, truth in remaining_times())


@pytest.mark.parametrize("stage", [Stage.DENOISE, Stage.DECODE])
@pytest.mark.parametrize("factor", [0.2, 4.0])
def test_a_stage_that_is_slower_or_faster_is_learned_within_it(stage, factor):
    times = remaining_times(slower={stage: factor})
    guesses = [guess for guess, _ in times]
    leaps = [abs(after - before) for before, after in pairwise(guesses)]
    assert max(leaps) < 0.4 * sum(EXPECTED.values()) * max(1.0, factor / 2)
    assert all(guess >= 0 for guess in guesses)
    late = times[3 + 8 : 3 + 10] if stage is Stage.DENOISE else times[-6:-2]
    assert all(guess == pytest.approx(truth, rel=0.35, abs=1.0) for guess, truth in late)


def test_one_slow_step_changes_little():
    request = GenerationRequest.build(seed=0, num_inference_steps=20)
    remaining, spent = Remaining(plan_of(request), EXPECTED), dict.fromkeys(Stage, 0.0)
    spent[Stage.DENOISE] = 5 * EXPECTED[Stage.DENOISE] / 20  # the first step, five times as slow
    guess = remaining.seconds(Progress(Stage.DENOISE, 1, 20), spent)
    assert guess == pytest.approx(19 + 30 + 4, rel=0.35)


def test_steps_that_an_earlier_run_has_done_are_not_taken_for_fast_ones():
    guesses = [guess for guess, _ in remaining_times(first=5)]
    step_s = EXPECTED[Stage.DENOISE] / 10
    assert guesses[3] == pytest.approx(4 * step_s + 30 + 4)


def test_a_second_pass_counts_by_its_size():
    times = remaining_times(hires_scale=2.0)
    middle = times[3 + 10 - 1][0]  # after the first pass: few of the seconds, most of the steps
    assert middle > 30 + 4 + 0.7 * EXPECTED[Stage.DENOISE]


def test_nobody_knows_how_long_a_download_or_the_line_takes():
    remaining = Remaining(plan_of(GenerationRequest.build(seed=0)), EXPECTED)
    spent = dict.fromkeys(Stage, 0.0)
    assert remaining.seconds(Progress(Stage.LOAD, 3, 500), spent) is None
    assert remaining.seconds(Progress(Stage.WAIT, 0, 1), spent) is None
