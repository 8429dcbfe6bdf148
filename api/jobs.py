"""Jobs: clips that are made whether or not a page is open to show them, and found again by whoever knows their id.

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
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from api.engine import MakeClip
from api.faults import fault_text
from pipelines.errors import UserError
from pipelines.events import Clip, Event, Progress
from pipelines.request import GenerationRequest

MOST_JOBS = 24
"""So many may run or wait; one more is refused."""

PATIENCE_S = 60.0
"""A job that nobody has followed for so long is cancelled: time to load a page again, or to change trains."""

KEEP_S = 600.0
"""For so long after its end a job can be found again, with its files."""

_LOOK_EVERY_S = 0.05
_TELL_EVERY_S = 5.0  # a follower that is gone is noticed only where something is told


@dataclass(frozen=True, slots=True)
class View:
    """How a job goes.

    Args:
        total: How many clips it makes; 0 until that is known.
        progress: Of the clip at work; None where nothing is known yet.
        clips: The finished ones, in order.
        fault: Why it failed, in words for people; empty where it did not.
        cancelled: Whether it ended before its clips were made, and not by a fault.
        ended: Whether nothing more will come.
    """

    total: int = 0
    progress: Progress | None = None
    clips: tuple[Clip, ...] = ()
    fault: str = ""
    cancelled: bool = False
    ended: bool = False


class Job:
    """A job and its latest view, which its thread replaces whole; threads and pages read it without a lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.view = View()
        self.ended_at: float | None = None
        self._followed_at = time.monotonic()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have it end at its engine's next event."""
        self._cancelled.set()

    def is_wanted(self, patience_s: float) -> bool:
        """Whether it was neither cancelled nor left alone for longer than `patience_s`."""
        return not self._cancelled.is_set() and time.monotonic() - self._followed_at <= patience_s

    def show(self, **changed: Any) -> None:
        """Change fields of the view; for the job's own thread."""
        self.view = replace(self.view, **changed)

    async def follow(self) -> AsyncIterator[View]:
        """Its views from now on, the last one when it has ended; some may be left out, and some come twice."""
        last, told_at = None, 0.0
        while last is None or not last.ended:
            view, now = self.view, time.monotonic()
            if view is last and now - told_at < _TELL_EVERY_S:
                await asyncio.sleep(_LOOK_EVERY_S)
                continue
            self._followed_at = now
            yield view
            last, told_at = view, now
        self._followed_at = time.monotonic()


class Jobs:
    """The jobs of a process.

    Args:
        make_clip: The engine; it sees to it that runs don't meet on the device.
        patience_s, keep_s, most: See `PATIENCE_S`, `KEEP_S` and `MOST_JOBS`.
    """

    def __init__(
        self, make_clip: MakeClip, *, patience_s: float = PATIENCE_S, keep_s: float = KEEP_S, most: int = MOST_JOBS
    ) -> None:
        self._make_clip = make_clip
        self._patience_s, self._keep_s, self._most = patience_s, keep_s, most
        self._folder = tempfile.TemporaryDirectory(prefix="jobs-")  # goes with the process
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, build: Callable[[], list[GenerationRequest]], in_words: Callable[[str], str] = str) -> str:
        """Start a job.

        Args:
            build: Makes the requests of its clips; what it refuses is the job's fault to tell.
            in_words: Puts a refusal into the words of whoever is told.

        Returns:
            Its id.

        Raises:
            UserError: Too many are running or waiting.
        """
        self._sweep()
        with self._lock:
            waiting = sum(not job.view.ended for job in self._jobs.values())
            if waiting >= self._most:
                raise UserError(f"jobs must be at most {self._most}, got one more. Try again in a few minutes.")
            job_id = secrets.token_urlsafe(16)
            job = self._jobs[job_id] = Job(Path(tempfile.mkdtemp(dir=self._folder.name)))
        context = contextvars.copy_context()
        work = threading.Thread(
            target=context.run, args=(self._run, job, build, in_words), name=f"job-{job_id[:4]}", daemon=True
        )
        work.start()
        return job_id

    def find(self, job_id: object) -> Job | None:
        """The job with this id; None if there is none, or none any longer."""
        self._sweep()
        return self._jobs.get(job_id) if isinstance(job_id, str) else None

    def _run(self, job: Job, build: Callable[[], list[GenerationRequest]], in_words: Callable[[str], str]) -> None:
        try:
            requests = build()
            job.show(total=len(requests))
            if not all(self._made(job, request) for request in requests):
                job.show(cancelled=True)
        except Exception as err:
            job.show(fault=fault_text(err, in_words))
        finally:
            if not job.view.clips:
                shutil.rmtree(job.folder, ignore_errors=True)
            job.ended_at = time.monotonic()
            job.show(ended=True, progress=None)

    def _made(self, job: Job, request: GenerationRequest) -> bool:
        """Make a clip; False where the job is not wanted any longer."""
        with closing(self._make_clip(request, job.folder)) as events:
            for event in events:
                _take(job, event)
                if not isinstance(event, Clip) and not job.is_wanted(self._patience_s):
                    return False
        return len(job.view.clips) == job.view.total or job.is_wanted(self._patience_s)

    def _sweep(self) -> None:
        """Forget jobs that ended long ago, and remove their files."""
        before = time.monotonic() - self._keep_s
        with self._lock:
            old = [one for one, job in self._jobs.items() if job.ended_at is not None and job.ended_at < before]
            gone = [self._jobs.pop(one) for one in old]
        for job in gone:
            shutil.rmtree(job.folder, ignore_errors=True)


def _take(job: Job, event: Event) -> None:
    if isinstance(event, Clip):
        job.show(clips=(*job.view.clips, event), progress=None)
    else:
        job.show(progress=event)
