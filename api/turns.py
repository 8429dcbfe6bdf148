"""A clip in turns of limited length: what ZeroGPU lends a device for, and what goes on where a turn ended.

The engine's turn may run in another process, so all that comes out of it can be pickled, frames too: they are written
here, by the process that called, which costs no time on the device. Between two turns a run stands in its checkpoint;
a turn that was cut off loses the steps since then, and what was handed over stays.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from api.inputs import complaints, open_inputs
from pipelines.events import Clip, Drawn, Event, Paused, Progress, Stage
from pipelines.request import GenerationRequest

if TYPE_CHECKING:
    from finishing.stages import StagedSink

MOST_CUT_OFF = 5
"""So many turns of a clip may be ended from outside; a turn that is cut off loses the steps since the last one kept."""

_GOES_ON = (Stage.DENOISE, Stage.DECODE)  # only a turn that came so far can have brought the clip further
TurnEvent = Progress | Clip | Drawn | Paused


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the engine.

    Args:
        request: What is made.
        checkpoints: Where the run is kept; None where nothing is.
        seconds: After so many it ends with the next step or chunk of frames; None takes as long as it takes.
        frames_done: Frames that the turns before have handed over; None in the first turn.
    """

    request: GenerationRequest
    checkpoints: Path | None = None
    seconds: float | None = None
    frames_done: int | None = None


TakeTurn = Callable[[Turn], Iterator[TurnEvent]]


def take_turn(turn: Turn) -> Generator[TurnEvent, None, None]:
    """Run the engine for a turn.

    Yields:
        `Progress`, `Drawn` for all frames, at last a `Clip` without files; or `Paused`, after a step or a chunk of
        frames, where the turn is over.
    """
    from pipelines.generate import generate  # brings torch

    begun = time.monotonic()
    handed = _Handed()
    stepped: list[bool] = []
    inputs = yield from open_inputs(turn.request)
    events = generate(
        turn.request,
        open_writer=handed.opened,
        inputs=inputs,
        on_state=lambda _: stepped.append(True),
        checkpoints=turn.checkpoints,
        frames_done=turn.frames_done,
    )
    with closing(events):  # type: ignore[type-var]
        for event in events:
            yield from handed.taken()
            if isinstance(event, Clip):
                yield replace(event, warnings=(*event.warnings, *complaints(inputs)))
                continue  # the engine forgets the run now that the caller has the clip
            yield event
            over = turn.seconds is not None and time.monotonic() - begun > turn.seconds
            if over and (stepped or event.stage is Stage.DECODE):  # the next one goes on from here
                yield Paused()
                return
            stepped.clear()


def make_in_turns(
    request: GenerationRequest,
    *,
    take: TakeTurn,
    open_writer: "Callable[[GenerationRequest, str], AbstractContextManager[StagedSink]]",
    checkpoints: Path | None,
    seconds: float | None = None,
    was_cut_off: Callable[[Exception], bool] = lambda _: False,
) -> Generator[Event, None, None]:
    """Make a clip in as many turns as it takes.

    Args:
        take: Runs the engine for a turn, here or elsewhere.
        open_writer: Opens the sink of the frames, in this process.
        checkpoints: Where the run is kept between turns; needed where a turn may end early.
        seconds: Of a turn; None for a clip that can't go on in another.
        was_cut_off: Whether an error means that a turn was ended from outside. The clip then goes on in another,
            unless it can't or that happens too often.

    Raises:
        UserError: As the engine.
    """
    begun = time.monotonic()
    done: int | None = None
    sink: StagedSink | None = None
    cut_off = 0
    with ExitStack() as files:
        finished = False
        while not finished:
            turn = Turn(request, checkpoints, seconds, done)
            done = done or 0
            moved = False
            try:
                for event in _closing(take(turn)):
                    if isinstance(event, Drawn):
                        sink = sink or files.enter_context(open_writer(request, event.recipe))
                        yield from sink.writing(event.frames)
                        done += len(event.frames)
                    elif isinstance(event, Clip):
                        assert sink is not None, "a clip has at least one frame"
                        yield from sink.ending()
                        files.close()
                        finished, taken = True, time.monotonic() - begun
                        yield replace(event, files=sink.files, num_frames=sink.num_frames, seconds=taken)
                    elif isinstance(event, Progress):
                        moved = moved or event.stage in _GOES_ON
                        if event.stage is not Stage.DECODE:  # the sink has told, by frames of the files
                            yield event
            except Exception as err:
                cut_off += 1
                may_go_on = seconds is not None and moved and cut_off <= MOST_CUT_OFF
                if not may_go_on or not was_cut_off(err):
                    raise


@dataclass
class _Handed:
    """A sink that hands frames on to whoever asks."""

    files: tuple[Path, ...] = ()
    num_frames: int = 0
    _recipe: str = ""
    _frames: list[np.ndarray] = field(default_factory=list)

    def write(self, frames: np.ndarray) -> None:
        self._frames.append(frames)

    @contextmanager
    def opened(self, _: GenerationRequest, recipe: str) -> "Iterator[_Handed]":
        self._recipe = recipe
        yield self

    def taken(self) -> Iterator[Drawn]:
        for frames in self._frames:
            yield Drawn(frames, self._recipe)
        self._frames.clear()


def _closing(events: Iterator[TurnEvent]) -> Iterator[TurnEvent]:
    with closing(events):  # type: ignore[type-var]
        yield from events
