"""What jobs run: several clips one after the other, or a grid. A run tells how it goes; it knows no page and no job."""

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


class Told(NamedTuple):
    """An event of a run, and what it is about.

    Args:
        event: What the engine tells.
        seed: Of the clip at work or finished.
        part: Which of several clips it is, in words; empty for the only one.
        goes_on: Whether another clip follows this one.
        full_recipe: What a draft is a draft of, as JSON; empty for other clips.
        asked: The request that was asked for, as JSON, of a draft the clip's in full; empty for grids.
    """

    event: Event
    seed: int
    part: str = ""
    goes_on: bool = False
    full_recipe: str = ""
    asked: str = ""


Run = Callable[[Path], Generator[Told, None, None]]
"""Makes clips in an empty folder that is its own; closing it stops the engine."""


def clips_run(
    make_clip: MakeClip, build: Callable[[], list[GenerationRequest]], keep: Keep, *, drafts: bool = False
) -> Run:
    """Clips one after the other; where others wait for the device, too, they may come in between.

    Args:
        make_clip: The engine.
        build: Makes the requests.
        keep: Called once for every finished clip.
        drafts: Make drafts of them, each with the recipe of its clip in full.
    """

    def run(folder: Path) -> Generator[Told, None, None]:
        requests = build()
        count = len(requests)
        for number, request in enumerate(requests, start=1):
            part = clip_of(number, count) if count > 1 else ""
            asked = request.to_json()
            made, full_recipe = (draft_of(request), asked) if drafts else (request, "")
            with closing(make_clip(made, folder)) as events:
                for event in events:
                    yield Told(_kept(event, keep), request.seed, part, number < count, full_recipe, asked)

    return run


def grid_run(make_clip: MakeClip, build: Callable[[], GridPlan], keep: Keep) -> Run:
    """The clips of a grid, and the grid after them.

    Args:
        make_clip: The engine.
        build: Makes the plan.
        keep: Called once for every finished clip and for the grid.
    """

    def run(folder: Path) -> Generator[Told, None, None]:
        plan = build()
        count = len(plan.requests)
        work, cells = folder / "work", folder / "cells"
        work.mkdir()
        cells.mkdir()
        with closing(make_grid(make_clip, plan, work, cells)) as events:
            for number, event in events:
                part = clip_of(number, count) if number <= count else Note("progress.the_grid", "the grid")
                seed = plan.requests[min(number, count) - 1].seed
                yield Told(_kept(event, keep), seed, part, goes_on=number <= count)

    return run


def clip_of(number: int, count: int) -> Note:
    """Which of several clips it is."""
    return Note("progress.clip", "clip {number} of {count}", number=number, count=count)


def _kept(event: Event, keep: Keep) -> Event:
    return keep(event) if isinstance(event, Clip) else event
