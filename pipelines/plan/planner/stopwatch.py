"""Time a generation by its events, and record it for estimates."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pipelines.plan.events import Clip, Event, Progress, Stage
from pipelines.plan.plan import Plan
from pipelines.plan.planner.costs import kind_of, window_flops
from pipelines.plan.planner.estimate import stage_seconds
from pipelines.plan.planner.machine import models_in_memory, read_rates, record, this_machine
from pipelines.plan.planner.tasks import models_of, rates_of, tasks_of, write_task

TRUST = 0.25
"""The estimate weighs as much as so great a share of a stage, once that was measured: one slow step changes little."""

_LOADING = (Stage.PREPROCESS, Stage.LOAD)  # in either order
_DRAWING = (Stage.ENCODE, Stage.DECODE, Stage.WRITE)
_ORDER = (*_LOADING, Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.WRITE)


class Remaining:
    """Seconds left of one clip, by its events over all its turns.

    Args:
        plan: The clip.
        expected: Seconds of each stage, as `estimate` tells them.
    """

    def __init__(self, plan: Plan, expected: Mapping[Stage, float]) -> None:
        self._plan, self._expected = plan, expected
        self._place = 0
        self._shares: dict[Stage, tuple[float, float]] = {}  # that was done before its first event, and now

    def seconds(self, event: Progress, spent: Mapping[Stage, float]) -> float | None:
        """Return those left after so many spent; None while waiting or downloading."""
        if event.stage is Stage.WAIT or (event.stage is Stage.LOAD and event.total > 1):
            return None
        if event.stage in (Stage.DENOISE, Stage.DECODE):
            before, share = 0.0, event.fraction
            if event.stage is Stage.DENOISE:
                skipped = self._plan.windows - event.total  # done by an earlier run, or another turn
                before, share = self._work(skipped), self._work(skipped + event.units)
            self._shares[event.stage] = (self._shares.get(event.stage, (before, 0.0))[0], min(1.0, share))
        if event.stage not in _LOADING:  # and not back to where a second pass or another turn reads
            self._place = max(self._place, _ORDER.index(event.stage))
        left = {stage: max(0.0, self._expected[stage] - spent[stage]) for stage in _ORDER[self._place :]}
        for stage in left.keys() & self._shares.keys():
            before, share = self._shares[stage]
            left[stage] = (1 - share) * (spent[stage] + TRUST * self._expected[stage]) / (share - before + TRUST)
        return sum(left.values())

    def _work(self, windows: float) -> float:
        """Return the share of the UNet's work in the first windows."""
        done = total = 0.0
        for planned in self._plan.passes:
            flops = window_flops(planned.request)
            done += max(0, min(planned.windows, windows)) * flops
            total += planned.windows * flops
            windows -= planned.windows
        return done / total


class Meter:
    """Seconds by task of work between two events of the engine."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, task: str) -> Iterator[None]:
        """Count the time inside for a task."""
        start = time.monotonic()
        yield
        self.seconds[task] = self.seconds.get(task, 0.0) + time.monotonic() - start


def timed(plan: Plan, events: Iterator[Event], meter: Meter | None = None) -> Iterator[Event]:
    """Yield events with the seconds left, and record the clip's times.

    The time that events are looked at does not count. Recorded is a whole clip alone: a run that went on from a
    checkpoint or downloaded a model tells nothing of others. `meter` has what finishing and writing frames took.
    """
    machine, kind = this_machine(), kind_of(plan.request.base_model)
    tasks = tasks_of(plan, machine.kind, models_in_memory(machine))
    remaining = Remaining(plan, stage_seconds(tasks, read_rates(machine)))
    finishing = (meter or Meter()).seconds
    inputs: dict[str, float] = {}
    spent = dict.fromkeys(Stage, 0.0)
    before: Progress | None = None
    windows, usual = 0, True
    while True:
        start = time.monotonic()
        event = next(events, None)
        took = time.monotonic() - start
        if event is None:
            return
        if isinstance(event, Clip):
            spent[Stage.WRITE] += took
            if usual and windows == plan.windows:
                networks = {
                    f"load {kind}": sum(spent[stage] for stage in _LOADING) - sum(inputs.values()),
                    f"unet {kind}": spent[Stage.DENOISE],
                    f"vae {kind}": sum(spent[stage] for stage in _DRAWING) - sum(finishing.values()),
                }
                record(machine, models_of(plan.request), rates_of(tasks, {**inputs, **finishing, **networks}))
            yield event
            continue
        # A model is announced before it is read, all else is told once it is done.
        loads = before is not None and before.stage in _LOADING and not event.task
        spent[before.stage if before and loads else event.stage] += took
        if event.task:
            inputs[event.task] = inputs.get(event.task, 0.0) + took
        usual = usual and not (event.stage is Stage.LOAD and event.total > 1)
        windows = event.step if event.stage is Stage.DENOISE else windows
        before = event
        # Encoders write while frames are decoded; only what they have left comes behind.
        written = sum(seconds for name, seconds in finishing.items() if name.startswith(write_task("")))
        yield replace(event, eta_s=remaining.seconds(event, spent | {Stage.WRITE: spent[Stage.WRITE] + written}))
