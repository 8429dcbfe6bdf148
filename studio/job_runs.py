"""Runs for jobs: clips in sequence or a grid, as event generators."""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pipelines.plan.draft import draft_of
from pipelines.plan.events import Clip, Event
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest
from studio.engine import MakeClip
from studio.grid import GridPlan, make_grid

Keep = Callable[[Clip], Clip]
"""Keeps a finished clip, and gives it back, with a warning if that went wrong."""


class RunEvent(NamedTuple):
    """An event of a run, with the clip it belongs to.

    Args:
        event: As the engine yields it.
        seed: Of the clip at work or finished.
        part: Which of several clips it is, in words; empty for the only one.
        goes_on: Whether another clip follows this one.
        full_recipe: What a draft is a draft of, as JSON; empty for other clips.
        request_json: The submitted request, of a draft that of the full clip; empty for grids.
    """

    event: Event
    seed: int
    part: str = ""
    goes_on: bool = False
    full_recipe: str = ""
    request_json: str = ""


Run = Callable[[Path], Generator[RunEvent, None, None]]
"""Makes clips in an empty folder that is its own; closing it stops the engine."""


def clips_run(
    make_clip: MakeClip, build: Callable[[], list[GenerationRequest]], keep: Keep, *, drafts: bool = False
) -> Run:
    """Build a run that generates clips one after the other.

    Where others wait for the device, too, they may come in between.

    Args:
        make_clip: The engine.
        build: Makes the requests.
        keep: Called once for every finished clip.
        drafts: Make drafts of them, each with the recipe of its clip in full.
    """

    def run(folder: Path) -> Generator[RunEvent, None, None]:
        requests = build()
        count = len(requests)
        for number, request in enumerate(requests, start=1):
            part = clip_of(number, count) if count > 1 else ""
            request_json = request.to_json()
            clip_request, full_recipe = (draft_of(request), request_json) if drafts else (request, "")
            with closing(make_clip(clip_request, folder)) as events:
                for event in events:
                    event = _keep_clip(event, keep)
                    yield RunEvent(event, request.seed, part, number < count, full_recipe, request_json)

    return run


def grid_run(make_clip: MakeClip, build: Callable[[], GridPlan], keep: Keep) -> Run:
    """Build a run for a grid's clips, then the grid itself.

    Args:
        make_clip: The engine.
        build: Makes the plan.
        keep: Called once for every finished clip and for the grid.
    """

    def run(folder: Path) -> Generator[RunEvent, None, None]:
        plan = build()
        count = len(plan.requests)
        work, cells = folder / "work", folder / "cells"
        work.mkdir()
        cells.mkdir()
        with closing(make_grid(make_clip, plan, work, cells)) as events:
            for number, event in events:
                part = clip_of(number, count) if number <= count else Note("progress.the_grid", "the grid")
                seed = plan.requests[min(number, count) - 1].seed
                yield RunEvent(_keep_clip(event, keep), seed, part, goes_on=number <= count)

    return run


def clip_of(number: int, count: int) -> Note:
    """Name one of several clips by its number."""
    return Note("progress.clip", "clip {number} of {count}", number=number, count=count)


def _keep_clip(event: Event, keep: Keep) -> Event:
    return keep(event) if isinstance(event, Clip) else event
