"""Generate a clip in time-limited GPU leases, resuming from checkpoints.

ZeroGPU lends a device for seconds. The engine's turn may run in another process, so all that comes out of it can be
pickled, frames too: they are written here, by the process that called, which costs no time on the device. A turn that
was cut off loses the steps since its last checkpoint, and frames handed over stay. One that was refused for its length
is requested again with less, while that can help.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.plan.errors import UserError
from pipelines.plan.events import Clip, DecodedFrames, Event, Paused, Progress, Stage
from pipelines.plan.plan import Plan
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
TurnEvent = Progress | Clip | DecodedFrames | Paused


class LendingError(UserError):
    """A turn that the platform refused or cut short."""


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
    """One lease of the device: what to generate and for how long.

    Args:
        request: What is made.
        checkpoints: Where the run is kept; None where nothing is.
        seconds: After so many it ends with the next step or chunk of frames; None takes as long as it takes.
        frames_done: Frames that the turns before have handed over; None in the first turn.
        plan: The request's, if there is one.
    """

    request: GenerationRequest
    checkpoints: Path | None = None
    seconds: float | None = None
    frames_done: int | None = None
    plan: Plan | None = None


TakeTurn = Callable[[Turn], Iterator[TurnEvent]]


def take_turn(turn: Turn) -> Generator[TurnEvent, None, None]:
    """Run the engine for a turn.

    Yields:
        `Progress`, `DecodedFrames` for all frames, at last a `Clip` without files; or `Paused`, after a step or a chunk
        of frames, where the turn is over.
    """
    from pipelines.engine.generate import generate  # brings torch

    started_at = time.monotonic()
    relay = _FrameRelay()
    stepped: list[bool] = []
    inputs = yield from open_inputs(turn.request)
    events = generate(
        turn.plan or turn.request,
        open_writer=relay.open,
        inputs=inputs,
        on_state=lambda _: stepped.append(True),
        checkpoints=turn.checkpoints,
        frames_done=turn.frames_done,
    )
    with closing(events):  # type: ignore[type-var]
        for event in events:
            yield from relay.drain()
            if isinstance(event, Clip):
                yield replace(event, warnings=(*event.warnings, *complaints(inputs)))
                continue  # the engine forgets the run now that the caller has the clip
            yield event
            if event.share is not None:
                continue
            over = turn.seconds is not None and time.monotonic() - started_at > turn.seconds
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
    plan: Plan | None = None,
) -> Generator[Event, None, None]:
    """Generate a clip in as many turns as it takes.

    After a turn that was cut off the clip goes on in another, unless it can't or that happens too often. After one
    that was refused it goes on in shorter ones, if those may be had.

    Args:
        take: Runs the engine for a turn, here or elsewhere.
        open_writer: Opens the sink of the frames, in this process.
        checkpoints: Where the run is kept between turns; needed where a turn may end early.
        seconds: Of a turn; None for a clip that can't go on in another.
        plan: The request's, if the caller has it.

    Raises:
        LendingError: The clip can't go on; the text says whether what was made of it is kept.
        UserError: As the engine.
    """
    done, cut_off = None, 0
    with ExitStack() as files:
        clip = _ClipInProgress(request, open_writer, files)
        while not clip.is_finished:
            turn = Turn(request, checkpoints, seconds, done, plan)
            clip.turns_moved.append(False)
            try:
                for event in _closing(take(turn)):
                    yield from clip.take(event)
            except CutOffError as err:
                cut_off += 1
                if seconds is None or not clip.turns_moved[-1] or cut_off > MOST_CUT_OFF:
                    raise CutOffError(f"{err}{clip.describe_checkpoint(seconds)}") from err
            except RefusedError as err:
                shorter = _shorten(err, seconds)
                if shorter is None:
                    raise RefusedError(f"{err}{clip.describe_checkpoint(seconds)}") from err
                seconds = shorter
                continue  # nothing was begun
            done = clip.num_frames


@dataclass
class _ClipInProgress:
    """The sink and progress of a clip across its turns.

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
    _decoded: Progress | None = None
    _started_at: float = field(default_factory=time.monotonic)

    def take(self, event: TurnEvent) -> Generator[Event, None, None]:
        """Write an event's frames; pass on what the caller needs."""
        if isinstance(event, DecodedFrames):
            self._sink = self._sink or self.files.enter_context(self.open_writer(self.request, event.recipe))
            for progress in self._sink.writing(event.frames):
                self._decoded = progress if progress.stage is Stage.DECODE else self._decoded
                yield progress
            self.num_frames += len(event.frames)
        elif isinstance(event, Clip):
            assert self._sink is not None, "a clip has at least one frame"
            yield from self._sink.ending()
            self.files.close()
            self.is_finished, seconds = True, time.monotonic() - self._started_at
            yield replace(event, files=self._sink.files, num_frames=self._sink.num_frames, seconds=seconds)
        elif isinstance(event, Progress):
            self.turns_moved[-1] |= event.stage in _GOES_ON
            if event.stage is not Stage.DECODE:
                yield event
            elif event.share is not None:  # else the sink has told, by frames of the files
                yield replace(self._decoded, share=event.share) if self._decoded else replace(event, share=0.0)

    def describe_checkpoint(self, seconds: float | None) -> str:
        """Say that the clip can be resumed; empty where it can't."""
        return _KEPT.format(seed=self.request.seed) if seconds and any(self.turns_moved) else ""


def _shorten(err: RefusedError, seconds: float | None) -> float | None:
    """Shorten a refused turn of `seconds`; None if useless."""
    shorter = err.may_ask_s - TURN_MARGIN_S if err.may_ask_s else 0
    return shorter if seconds is not None and LEAST_S <= shorter < seconds else None


@dataclass
class _FrameRelay:
    """A sink that collects frames until `drain` hands them on."""

    files: tuple[Path, ...] = ()
    num_frames: int = 0
    _recipe: str = ""
    _frames: list[np.ndarray] = field(default_factory=list)

    def write(self, frames: np.ndarray) -> None:
        self._frames.append(frames)

    @contextmanager
    def open(self, _: GenerationRequest, recipe: str) -> "Iterator[_FrameRelay]":
        self._recipe = recipe
        yield self

    def drain(self) -> Iterator[DecodedFrames]:
        for frames in self._frames:
            yield DecodedFrames(frames, self._recipe)
        self._frames.clear()


def _closing(events: Iterator[TurnEvent]) -> Iterator[TurnEvent]:
    with closing(events):  # type: ignore[type-var]
        yield from events
