"""Time a generation by its events, and keep what the finished clip took for estimates of others. No torch."""

import os
import time
from collections.abc import Iterator

from pipelines.costs import cost_of, kind_of
from pipelines.events import Clip, Event, Progress, Stage
from pipelines.machine import this_machine
from pipelines.pace import Run, in_memory, models_of, record, recorded
from pipelines.plan import plan_passes
from pipelines.request import GenerationRequest
from pipelines.settings import settings

_LOADING = (Stage.PREPROCESS, Stage.LOAD)
_DRAWING = (Stage.ENCODE, Stage.DECODE)


def timed(request: GenerationRequest, events: Iterator[Event]) -> Iterator[Event]:
    """Hand events on as they come, without counting the time that they are looked at.

    Kept is what a whole clip took: a run that went on from a checkpoint or downloaded a model tells nothing of others.
    """
    spent = dict.fromkeys(Stage, 0.0)
    before: Progress | None = None
    windows = 0
    usual = True
    while True:
        begun = time.monotonic()
        event = next(events, None)
        took = time.monotonic() - begun
        if event is None:
            return
        if isinstance(event, Clip):
            spent[Stage.DECODE] += took
            if usual and windows == sum(one.windows for one in plan_passes(request)):
                _keep(request, spent)
        else:
            # A model is announced before it is read, all else is told once it is done.
            loads = before is not None and before.stage in _LOADING
            spent[before.stage if before and loads else event.stage] += took
            usual = usual and not (event.stage is Stage.LOAD and event.total > 1)
            windows = event.step if event.stage is Stage.DENOISE else windows
            before = event
        yield event


def _keep(request: GenerationRequest, spent: dict[Stage, float]) -> None:
    machine, kind, models = this_machine(), kind_of(request.base_model), models_of(request)
    run = Run(
        cost=cost_of(request, windows_a_call=settings().windows),
        models=models,
        process=os.getpid(),
        loaded=not in_memory(recorded(machine, kind), models),
        load_s=sum(spent[stage] for stage in _LOADING),
        denoise_s=spent[Stage.DENOISE],
        drawing_s=sum(spent[stage] for stage in _DRAWING),
    )
    record(machine, kind, run)
