"""Calls in progress: their state, and how they are interrupted."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.request import GenerationRequest
from studio.engine import MakeClip, run_folder

MOST_CALLS = 8
"""So many calls are made or wait; each of them holds a thread."""

_DENOISED = 0.9  # the share of a clip's time after its last step
_BEGUN = 0.01  # clients take 0 for nothing to do

_Result = TypeVar("_Result")


class TooManyCallsError(RuntimeError):
    """The line is full."""


@dataclass(eq=False)
class OpenCall:
    """A call that runs or waits and is not answered yet.

    Args:
        name: Of the call.
        clips: How many it makes.
        done: How many of them are finished.
        progress: The last of the engine.
        preview: Its last frames, uint8 [n, h, w, 3].
        is_interrupted: Whether it is to stop, or has.
        started_at: By the clock of the system, seconds.
    """

    name: str
    clips: int
    done: int = 0
    progress: Progress = field(default_factory=lambda: Progress(Stage.PREPROCESS, 0, 1))
    preview: np.ndarray | None = None
    is_interrupted: bool = False
    started_at: float = field(default_factory=time.time)

    @property
    def is_waiting(self) -> bool:
        """Whether another clip runs first."""
        return self.progress.stage is Stage.WAIT

    @property
    def share(self) -> float:
        """Fraction of the call that is done, in (0, 1]."""
        progress = self.progress
        within = 0.0
        if progress.stage is Stage.WRITE:
            within = 1.0
        elif progress.stage in (Stage.DENOISE, Stage.DECODE):
            part = progress.fraction
            within = _DENOISED * part if progress.stage is Stage.DENOISE else _DENOISED + (1 - _DENOISED) * part
        return min(1.0, max(_BEGUN, (self.done + within) / self.clips))

    def take(self, progress: Progress) -> None:
        """Store the engine's progress."""
        self.progress = progress
        if progress.preview is not None:
            self.preview = progress.preview


@dataclass(frozen=True)
class Outcome(Generic[_Result]):
    """Results of a call's finished clips, in order."""

    results: list[_Result]
    is_interrupted: bool


class Calls:
    """Unanswered calls of the process, in order of arrival.

    Args:
        make_clip: The engine; if it can be busy elsewhere, it waits by itself.
        most: How many there may be, those that wait among them.
    """

    def __init__(self, make_clip: MakeClip, *, most: int = MOST_CALLS) -> None:
        self._make_clip = make_clip
        self._most = most
        self._calls: list[OpenCall] = []
        self._lock = threading.Lock()

    def run(
        self,
        call: OpenCall,
        requests: Sequence[GenerationRequest],
        collect: Callable[[GenerationRequest, Clip], _Result],
    ) -> Outcome[_Result]:
        """Generate clips one after the other.

        Args:
            call: Holds progress, and may be interrupted from elsewhere; not run before.
            collect: Reads a clip's files, which are gone afterwards.

        Raises:
            TooManyCallsError: The line is full.
            UserError: As the engine.
        """
        with self._lock:
            if len(self._calls) >= self._most:
                raise TooManyCallsError(f"{len(self._calls)} calls are made or wait already. Try again later.")
            self._calls.append(call)
        try:
            return self._run(call, requests, collect)
        finally:
            with self._lock:
                self._calls.remove(call)

    def current(self) -> OpenCall | None:
        """Return the running call, else the first that waits."""
        with self._lock:
            return next((call for call in self._calls if not call.is_waiting), self._calls[0] if self._calls else None)

    def count(self) -> int:
        """Count all calls, including those that wait."""
        return len(self._calls)

    def interrupt(self) -> None:
        """Stop the current call at the engine's next event."""
        call = self.current()
        if call:
            call.is_interrupted = True

    def _run(
        self,
        call: OpenCall,
        requests: Sequence[GenerationRequest],
        collect: Callable[[GenerationRequest, Clip], _Result],
    ) -> Outcome[_Result]:
        results: list[_Result] = []
        for request in requests:
            with run_folder(prefix="sdapi-") as folder, closing(self._make_clip(request, folder)) as events:
                for event in events:
                    if isinstance(event, Clip):
                        results.append(collect(request, event))
                        call.done += 1
                    elif call.is_interrupted:
                        return Outcome(results, True)
                    else:
                        call.take(event)
            if call.is_interrupted:
                break
        return Outcome(results, call.is_interrupted)
