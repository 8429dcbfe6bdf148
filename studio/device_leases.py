"""A clip in turns of limited length: what ZeroGPU lends a device for, and what goes on where a turn ended.

The engine's turn may run in another process, so all that comes out of it can be pickled, frames too: they are written
here, by the process that called, which costs no time on the device. Between two turns a run stands in its checkpoint;
a turn that was cut off loses the steps since then, and what was handed over stays. One that was refused for its length
is asked for again with less, while that can help.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.plan.errors import UserError
from pipelines.plan.events import Clip, Drawn, Event, Paused, Progress, Stage
from pipelines.plan.planner.machine import TURN_MARGIN_S
from pipelines.plan.request import GenerationRequest
from studio.request_inputs import complaints, open_inputs

if TYPE_CHECKING:
    from finishing.stages import StagedSink

MOST_CUT_OFF = 5
"""So many turns of a clip may be ended from outside; a turn that is cut off loses the steps since the last one kept."""

LEAST_S = 15
"""A turn is never shorter, unless that is all there is: reading inputs takes its time, too."""

_GOES_ON = (Stage.DENOISE, Stage.DECODE)  # only a turn that came so far can have brought the clip further
_KEPT = " What was made is kept for now: with seed {seed} and all else as it was, it goes on from there."
TurnEvent = Progress | Clip | Drawn | Paused


class LendingError(UserError):
    """A turn could not be had, or not to its end, for a reason that is not the request's."""


class CutOffError(LendingError):
    """A turn was ended from outside."""


class RefusedError(LendingError):
    """Nobody lends a device for a turn.

    Args:
        text: Why, in words for people.
        may_ask_s: For how many seconds one might be lent; None where asking for less is of no use.
    """

    def __init__(self, text: str, *, may_ask_s: int | None = None) -> None:
        super().__init__(text)
        self.may_ask_s = may_ask_s


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
    from pipelines.engine.generate import generate  # brings torch

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
) -> Generator[Event, None, None]:
    """Make a clip in as many turns as it takes.

    After a turn that was cut off the clip goes on in another, unless it can't or that happens too often. After one
    that was refused it goes on in shorter ones, if those may be had.

    Args:
        take: Runs the engine for a turn, here or elsewhere.
        open_writer: Opens the sink of the frames, in this process.
        checkpoints: Where the run is kept between turns; needed where a turn may end early.
        seconds: Of a turn; None for a clip that can't go on in another.

    Raises:
        LendingError: The clip can't go on; the text says whether what was made of it is kept.
        UserError: As the engine.
    """
    done, cut_off = None, 0
    with ExitStack() as files:
        made = _Made(request, open_writer, files)
        while not made.is_finished:
            turn = Turn(request, checkpoints, seconds, done)
            made.turns_moved.append(False)
            try:
                for event in _closing(take(turn)):
                    yield from made.take(event)
            except CutOffError as err:
                cut_off += 1
                if seconds is None or not made.turns_moved[-1] or cut_off > MOST_CUT_OFF:
                    raise CutOffError(f"{err}{made.is_kept(seconds)}") from err
            except RefusedError as err:
                shorter = _shorter(err, seconds)
                if shorter is None:
                    raise RefusedError(f"{err}{made.is_kept(seconds)}") from err
                seconds = shorter
                continue  # nothing was begun
            done = made.num_frames


@dataclass
class _Made:
    """What has come of a clip so far, in this process.

    Args:
        request: The clip.
        open_writer: As for `make_in_turns`.
        files: Has them open.
        turns_moved: Whether each turn has brought the clip further.
        num_frames: Frames that were handed over.
    """

    request: GenerationRequest
    open_writer: "Callable[[GenerationRequest, str], AbstractContextManager[StagedSink]]"
    files: ExitStack
    turns_moved: list[bool] = field(default_factory=list)
    num_frames: int = 0
    is_finished: bool = False
    _sink: "StagedSink | None" = None
    _begun: float = field(default_factory=time.monotonic)

    def take(self, event: TurnEvent) -> Generator[Event, None, None]:
        """Write what a turn hands over, and tell what is for the caller."""
        if isinstance(event, Drawn):
            self._sink = self._sink or self.files.enter_context(self.open_writer(self.request, event.recipe))
            yield from self._sink.writing(event.frames)
            self.num_frames += len(event.frames)
        elif isinstance(event, Clip):
            assert self._sink is not None, "a clip has at least one frame"
            yield from self._sink.ending()
            self.files.close()
            self.is_finished, taken = True, time.monotonic() - self._begun
            yield replace(event, files=self._sink.files, num_frames=self._sink.num_frames, seconds=taken)
        elif isinstance(event, Progress):
            self.turns_moved[-1] |= event.stage in _GOES_ON
            if event.stage is not Stage.DECODE:  # the sink has told, by frames of the files
                yield event

    def is_kept(self, seconds: float | None) -> str:
        """That what was made is kept, in words; nothing where it is not."""
        return _KEPT.format(seed=self.request.seed) if seconds and any(self.turns_moved) else ""


def _shorter(err: RefusedError, seconds: float | None) -> float | None:
    """How long a turn may be where one of `seconds` was refused; None where none would do."""
    shorter = err.may_ask_s - TURN_MARGIN_S if err.may_ask_s else 0
    return shorter if seconds is not None and LEAST_S <= shorter < seconds else None


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
