"""Jobs: clip runs that outlive their page and are found by id.

A job runs in a thread of its own with the context of the call that started it, so that on ZeroGPU its visitor is
billed. It keeps one frozen view of how it goes; pages follow that. Its id can't be guessed, and is all it takes to see
or cancel it. A job that nobody follows any longer is cancelled; what it made is kept a while.
"""

import asyncio
import contextvars
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pipelines.plan.errors import UserError
from pipelines.plan.events import Clip, Progress
from pipelines.plan.faults import Fault
from studio.faults import to_user_error
from studio.job_runs import Run, RunEvent

PATIENCE_S = 60.0
"""A job that nobody has followed for so long is cancelled: time to load a page again, or to change trains."""

KEEP_S = 600.0
"""For so long after its end a job can be found again, with its files."""

_LOOK_EVERY_S = 0.05
_SEND_EVERY_S = 5.0  # a follower that is gone is noticed only where something is sent

RelabelFault = Callable[[Fault], Fault]
"""Rewrites a fault in the terms that its reader sees, such as units by their numbers on the page."""


def return_unchanged(fault: Fault) -> Fault:
    """Return the fault itself: its reader sent the request."""
    return fault


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """State of a job, as pages show it.

    Args:
        latest: The last event of its run; None while nothing is known.
        preview: The newest of the clip at work, as `Progress` has it; None while there is none.
        finished: The events of finished clips, in order.
        fault: Why it failed; None where it did not.
        cancelled: Whether it ended before its clips were made, and not by a fault.
        ended: Whether nothing more will come.
    """

    latest: RunEvent | None = None
    preview: np.ndarray | None = None
    finished: tuple[RunEvent, ...] = ()
    fault: UserError | None = None
    cancelled: bool = False
    ended: bool = False

    @property
    def progress(self) -> Progress | None:
        """Progress of the clip at work; None while unknown."""
        event = self.latest.event if self.latest and not self.ended else None
        return event if isinstance(event, Progress) else None

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The finished clips, in order."""
        return tuple(run_event.event for run_event in self.finished if isinstance(run_event.event, Clip))


class Job:
    """A job and its latest view.

    Its thread replaces the view whole; threads and pages read it without a lock.

    Args:
        folder: Its own, for its files.
        visitor: Who started it.
        typed: What was typed, by the control's name, where the requests say it otherwise: -1 for a seed that was drawn.
    """

    def __init__(self, folder: Path, visitor: str, typed: Mapping[str, object]) -> None:
        self.folder = folder
        self.visitor = visitor
        self.typed = typed
        self.view = View()
        self.ended_at: float | None = None
        self._followed_at = time.monotonic()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop the job at its engine's next event."""
        self._cancelled.set()

    def is_wanted(self, patience_s: float) -> bool:
        """Whether it was neither cancelled nor left alone for longer than `patience_s`."""
        return not self._cancelled.is_set() and time.monotonic() - self._followed_at <= patience_s

    def take(self, run_event: RunEvent) -> None:
        """Update the view from a run's event; for the job's own thread."""
        event = run_event.event
        if isinstance(event, Clip):
            finished = (*self.view.finished, run_event)
            self.view = replace(self.view, latest=run_event, preview=None, finished=finished)
        elif event.preview is None:
            self.view = replace(self.view, latest=run_event)
        else:
            self.view = replace(self.view, latest=run_event, preview=event.preview)

    async def follow(self) -> AsyncIterator[View]:
        """Yield views until the end, perhaps skipping or repeating some."""
        last, sent_at = None, 0.0
        while last is None or not last.ended:
            view, now = self.view, time.monotonic()
            if view is last and now - sent_at < _SEND_EVERY_S:
                await asyncio.sleep(_LOOK_EVERY_S)
                continue
            self._followed_at = now
            yield view
            last, sent_at = view, now
        self._followed_at = time.monotonic()


class Jobs:
    """The jobs of a process.

    Args:
        most: So many may run or wait; one more is refused.
        most_of_one: So many of one visitor; None for no limit of its own.
        patience_s, keep_s: See `PATIENCE_S` and `KEEP_S`.
    """

    def __init__(
        self,
        *,
        most: int = 24,
        most_of_one: int | None = None,
        patience_s: float = PATIENCE_S,
        keep_s: float = KEEP_S,
    ) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._patience_s, self._keep_s = patience_s, keep_s
        self._folder = tempfile.TemporaryDirectory(prefix="jobs-")  # goes with the process
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self.elsewhere: Callable[[str], int] = lambda _: 0
        """How many jobs a visitor has that are none of these: calls of the endpoints."""

    def start(
        self,
        run: Run,
        relabel: RelabelFault = return_unchanged,
        *,
        visitor: str = "",
        typed: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """Start a job.

        Args:
            run: Makes its clips; what it refuses is the job's fault to tell.
            relabel: Rewrites the job's fault in the terms of its reader.
            visitor: Who starts it, as `api.web.visitor_limit` calls visitors.
            typed: What the page shall find again beside the request, as the job's own `typed`.

        Returns:
            Its id.

        Raises:
            UserError: Too many are running or waiting.
        """
        self._sweep()
        with self._lock:
            if self.count() >= self._most:
                fix = "Try again in a few minutes"
                raise UserError(Fault("jobs.too_many", "jobs", "be at most {limit}", "one more", fix, limit=self._most))
            most_of_one = self._most_of_one
            if most_of_one is not None and self.count(visitor) + self.elsewhere(visitor) >= most_of_one:
                raise UserError(too_many(most_of_one))
            job_id = secrets.token_urlsafe(16)
            job = self._jobs[job_id] = Job(Path(tempfile.mkdtemp(dir=self._folder.name)), visitor, typed)
        context = contextvars.copy_context()
        work = threading.Thread(
            target=context.run, args=(self._run, job, run, relabel), name=f"job-{job_id[:4]}", daemon=True
        )
        work.start()
        return job_id

    def count(self, visitor: str | None = None) -> int:
        """Count unfinished jobs of one visitor or all, without a lock."""
        jobs = list(self._jobs.values())
        return sum(not job.view.ended and visitor in (None, job.visitor) for job in jobs)

    def find(self, job_id: object) -> Job | None:
        """Find a job by id; None if unknown or expired."""
        self._sweep()
        return self._jobs.get(job_id) if isinstance(job_id, str) else None

    def _run(self, job: Job, run: Run, relabel: RelabelFault) -> None:
        try:
            with closing(run(job.folder)) as events:
                for run_event in events:
                    job.take(run_event)
                    is_last = isinstance(run_event.event, Clip) and not run_event.goes_on
                    if not is_last and not job.is_wanted(self._patience_s):
                        job.view = replace(job.view, cancelled=True)
                        break
        except Exception as err:
            refusal = to_user_error(err)
            fault = UserError(relabel(refusal.fault)) if refusal.fault else refusal
            job.view = replace(job.view, fault=fault)
        finally:
            if not job.view.finished:
                shutil.rmtree(job.folder, ignore_errors=True)
            job.ended_at = time.monotonic()
            job.view = replace(job.view, ended=True)

    def _sweep(self) -> None:
        """Forget jobs that ended long ago, and remove their files."""
        before = time.monotonic() - self._keep_s
        with self._lock:
            old = [job_id for job_id, job in self._jobs.items() if job.ended_at is not None and job.ended_at < before]
            gone = [self._jobs.pop(job_id) for job_id in old]
        for job in gone:
            shutil.rmtree(job.folder, ignore_errors=True)


def too_many(most: int) -> Fault:
    """Build the fault of a visitor with too many jobs."""
    rule, fix = "be at most {limit} at once for one visitor", "Wait until one is finished, or cancel it"
    return Fault("jobs.too_many_of_one", "jobs", rule, "one more", fix, limit=most)
