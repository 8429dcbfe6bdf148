"""What is made at this moment, for all calls of the process: how far it is, and how it is stopped."""

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

_Made = TypeVar("_Made")


class TooManyCallsError(RuntimeError):
    """The line is full."""


@dataclass(eq=False)
class OpenCall:
    """A call that is made or waits, and not answered yet.

    Args:
        name: Of the call.
        clips: How many it makes.
        done: How many of them are finished.
        progress: What the engine told last.
        preview: The frames that it showed last, uint8 [n, h, w, 3].
        is_interrupted: Whether it is to stop, or has.
        begun: By the clock of the system, seconds.
    """

    name: str
    clips: int
    done: int = 0
    progress: Progress = field(default_factory=lambda: Progress(Stage.PREPROCESS, 0, 1))
    preview: np.ndarray | None = None
    is_interrupted: bool = False
    begun: float = field(default_factory=time.time)

    @property
    def is_waiting(self) -> bool:
        """Whether another clip is made first."""
        return self.progress.stage is Stage.WAIT

    @property
    def share(self) -> float:
        """How much of the call is done, above 0 and up to 1."""
        told = self.progress
        within = 0.0
        if told.stage is Stage.WRITE:
            within = 1.0
        elif told.stage in (Stage.DENOISE, Stage.DECODE):
            part = told.step / max(told.total, 1)
            within = _DENOISED * part if told.stage is Stage.DENOISE else _DENOISED + (1 - _DENOISED) * part
        return min(1.0, max(_BEGUN, (self.done + within) / self.clips))

    def take(self, told: Progress) -> None:
        """Note what the engine tells."""
        self.progress = told
        if told.preview is not None:
            self.preview = told.preview


@dataclass(frozen=True)
class Outcome(Generic[_Made]):
    """What came of a call: of the clips that were finished, in their order."""

    made: list[_Made]
    is_interrupted: bool


class Calls:
    """The calls of the process that are not answered yet, in the order in which they came.

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
        collect: Callable[[GenerationRequest, Clip], _Made],
    ) -> Outcome[_Made]:
        """Make clips one after the other.

        Args:
            call: Tells how it goes, and may be interrupted from elsewhere; not run before.
            collect: Takes what is wanted out of a clip's files, which are gone afterwards.

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
        """The call that is made, else the first that waits."""
        with self._lock:
            return next((call for call in self._calls if not call.is_waiting), self._calls[0] if self._calls else None)

    def count(self) -> int:
        """How many there are, those that wait among them."""
        return len(self._calls)

    def interrupt(self) -> None:
        """Have the current call stop at the engine's next event; others go on."""
        call = self.current()
        if call:
            call.is_interrupted = True

    def _run(
        self, call: OpenCall, requests: Sequence[GenerationRequest], collect: Callable[[GenerationRequest, Clip], _Made]
    ) -> Outcome[_Made]:
        made: list[_Made] = []
        for request in requests:
            with run_folder(prefix="sdapi-") as folder, closing(self._make_clip(request, folder)) as events:
                for event in events:
                    if isinstance(event, Clip):
                        made.append(collect(request, event))
                        call.done += 1
                    elif call.is_interrupted:
                        return Outcome(made, True)
                    else:
                        call.take(event)
            if call.is_interrupted:
                break
        return Outcome(made, call.is_interrupted)
