"""Time a generation by its events, and record it for estimates."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipelines.plan.events import Clip, Event, Progress, Stage
from pipelines.plan.passes import plan_passes
from pipelines.plan.planner.costs import cost_of, kind_of
from pipelines.plan.planner.estimate import estimate
from pipelines.plan.planner.machine import this_machine
from pipelines.plan.planner.pace import Run, in_memory, models_of, read_runs, record
from pipelines.plan.planner.remaining import Remaining
from pipelines.plan.planner.tasks import tasks_of
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import settings

_LOADING = (Stage.PREPROCESS, Stage.LOAD)
_DRAWING = (Stage.ENCODE, Stage.DECODE, Stage.WRITE)


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


def timed(request: GenerationRequest, events: Iterator[Event], meter: Meter | None = None) -> Iterator[Event]:
    """Yield events with the seconds left, and record the clip's times.

    The time that events are looked at does not count. Recorded is a whole clip alone: a run that went on from a
    checkpoint or downloaded a model tells nothing of others.

    Args:
        request: The clip.
        events: Its generation.
        meter: What whoever finishes and writes the frames measures by.

    Raises:
        InvalidRequestError: `strength` leaves no step.
    """
    meter, looked = meter or Meter(), Meter()
    spent = dict.fromkeys(Stage, 0.0)
    remaining = Remaining(request, estimate(request).stages)
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
            if usual and windows == sum(planned.windows for planned in plan_passes(request)):
                _record(request, spent, looked, meter)
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


def _record(request: GenerationRequest, spent: dict[Stage, float], looked: Meter, meter: Meter) -> None:
    machine, kind, models = this_machine(), kind_of(request.base_model), models_of(request)
    seconds = looked.seconds | meter.seconds
    looked_s, finished_s = (sum(stopwatch.seconds.values()) for stopwatch in (looked, meter))
    run = Run(
        cost=cost_of(request, windows_a_call=settings().windows),
        models=models,
        process=os.getpid(),
        loaded=not in_memory(read_runs(machine, kind), models),
        load_s=max(0.0, sum(spent[stage] for stage in _LOADING) - looked_s),
        denoise_s=spent[Stage.DENOISE],
        drawing_s=max(0.0, sum(spent[stage] for stage in _DRAWING) - finished_s),
        rates={task.name: seconds[task.name] / task.pixels for task in tasks_of(request) if task.name in seconds},
    )
    record(machine, kind, run)
