"""Time a generation by its events, and record it for estimates."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pipelines.plan.events import Clip, Event, Progress, Stage
from pipelines.plan.plan import Plan
from pipelines.plan.planner.costs import cost_of, kind_of, window_flops
from pipelines.plan.planner.estimate import estimate_plan
from pipelines.plan.planner.machine import this_machine
from pipelines.plan.planner.pace import Run, in_memory, models_of, read_runs, record
from pipelines.plan.planner.tasks import tasks_of
from pipelines.plan.settings import settings

TRUST = 0.25
"""The estimate weighs as much as so great a share of a stage, once that was measured: one slow step changes little."""

_LOADING = (Stage.PREPROCESS, Stage.LOAD)  # in either order
_DRAWING = (Stage.ENCODE, Stage.DECODE, Stage.WRITE)
_ORDER = (*_LOADING, Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.WRITE)


class Remaining:
    """Follows the events of one clip, over all its turns.

    Args:
        plan: The clip.
        expected: Seconds of each stage, as `estimate` tells them.
    """

    def __init__(self, plan: Plan, expected: Mapping[Stage, float]) -> None:
        self._expected = expected
        self._passes = [(planned.windows, window_flops(planned.request).total) for planned in plan.passes]
        self._windows = plan.windows
        self._shares = {Stage.DENOISE: 0.0, Stage.DECODE: 0.0}
        self._resumed: dict[Stage, float] = {}

    def seconds(self, event: Progress, spent: Mapping[Stage, float]) -> float | None:
        """Return the seconds left; None while waiting or downloading.

        Args:
            spent: Seconds of each stage so far.
        """
        if event.stage is Stage.WAIT or (event.stage is Stage.LOAD and event.total > 1):
            return None
        if event.stage in self._shares:
            self._shares[event.stage] = self._share(event)
        now = 0 if event.stage in _LOADING else _ORDER.index(event.stage)
        return sum(self._left(stage, spent[stage], is_over=_ORDER.index(stage) < now) for stage in _ORDER)

    def _share(self, event: Progress) -> float:
        """Return how much of its stage is done."""
        before = 0.0
        done = event.units
        total = float(max(1, event.total))
        if event.stage is Stage.DENOISE:
            skipped = self._windows - event.total  # done by an earlier run, or another turn
            before, done, total = map(self._work, (skipped, skipped + done, self._windows))
        self._resumed.setdefault(event.stage, before / total)
        return min(1.0, done / total)

    def _work(self, windows: float) -> float:
        """Count the operations of so many windows from the first on."""
        work = 0.0
        for planned, flops in self._passes:
            work += max(0.0, min(planned, windows)) * flops
            windows -= planned
        return work

    def _left(self, stage: Stage, spent: float, *, is_over: bool) -> float:
        expected = self._expected[stage]
        if stage not in self._shares:
            return 0.0 if is_over else max(0.0, expected - spent)
        share = self._shares[stage]
        measured = share - self._resumed.get(stage, share)
        a_whole = (spent + TRUST * expected) / (measured + TRUST)
        return (1 - share) * a_whole


class Meter:
    """Seconds by task of work between two events of the engine."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, task: str) -> Iterator[None]:
        """Count the time inside for a task."""
        start = time.monotonic()
        yield
        self.add(task, time.monotonic() - start)

    def add(self, task: str, seconds: float) -> None:
        """Count so many seconds more for a task."""
        self.seconds[task] = self.seconds.get(task, 0.0) + seconds


def timed(plan: Plan, events: Iterator[Event], meter: Meter | None = None) -> Iterator[Event]:
    """Yield events with the seconds left, and record the clip's times.

    The time that events are looked at does not count. Recorded is a whole clip alone: a run that went on from a
    checkpoint or downloaded a model tells nothing of others.

    Args:
        plan: The clip.
        events: Its generation.
        meter: What whoever finishes and writes the frames measures by.
    """
    meter, looked = meter or Meter(), Meter()
    spent = dict.fromkeys(Stage, 0.0)
    remaining = Remaining(plan, estimate_plan(plan).stages)
    before: Progress | None = None
    windows = 0
    usual = True
    while True:
        start = time.monotonic()
        event = next(events, None)
        took = time.monotonic() - start
        if event is None:
            return
        if isinstance(event, Clip):
            spent[Stage.WRITE] += took
            if usual and windows == plan.windows:
                _record(plan, spent, looked, meter)
            yield event
            continue
        # A model is announced before it is read, all else is told once it is done.
        loads = before is not None and before.stage in _LOADING and not event.task
        spent[before.stage if before and loads else event.stage] += took
        if event.task:
            looked.add(event.task, took)
        usual = usual and not (event.stage is Stage.LOAD and event.total > 1)
        windows = event.step if event.stage is Stage.DENOISE else windows
        before = event
        yield replace(event, eta_s=remaining.seconds(event, spent))


def _record(plan: Plan, spent: dict[Stage, float], looked: Meter, meter: Meter) -> None:
    request, machine = plan.request, this_machine()
    kind, models = kind_of(request.base_model), models_of(request)
    seconds = looked.seconds | meter.seconds
    looked_s, finished_s = (sum(stopwatch.seconds.values()) for stopwatch in (looked, meter))
    run = Run(
        cost=cost_of(plan, windows_a_call=settings().windows),
        models=models,
        process=os.getpid(),
        loaded=not in_memory(read_runs(machine, kind), models),
        load_s=max(0.0, sum(spent[stage] for stage in _LOADING) - looked_s),
        denoise_s=spent[Stage.DENOISE],
        drawing_s=max(0.0, sum(spent[stage] for stage in _DRAWING) - finished_s),
        rates={task.name: seconds[task.name] / task.pixels for task in tasks_of(request) if task.name in seconds},
    )
    record(machine, kind, run)
