"""Download from the Hub what its cache lacks, check it, report progress.

`fetch` may be called anywhere. Where its caller runs it through `track_downloads`, downloads report their progress and
can be stopped.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined] # it is documented

from pipelines.engine.weights.digests import sha256_of
from pipelines.engine.weights.hub_answers import (
    PASSING,
    BrokenOffError,
    BusyError,
    HubAnswer,
    OtherFileError,
    OtherSizeError,
    classify_error,
    refusal,
    use_own_client,
)
from pipelines.engine.weights.reading import FOLDER_CONFIG, FOLDER_WEIGHTS, weights_in
from pipelines.engine.weights.transfers import HubFile, cache_of, is_safe_name, note_commit, transfer
from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Entry
from pipelines.plan.errors import CancelledError, WeightsError
from pipelines.plan.events import Progress, Stage
from pipelines.plan.faults import Fault
from pipelines.plan.notes import Note

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Seconds between two events of a download.
INTERVAL_S = 0.5
#: Seconds to wait before each further try of what may pass, where the Hub does not say for how long.
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
#: Nobody waits for the Hub any longer in all, whatever it asks for.
PATIENCE_S = 90.0
BASE_MODEL_INSTEAD = "Choose the base model 'demo', which ships with the app"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASKING_S = 10.0
_MEGABYTE = 1e6  # as publishers count
_FAILURES = (
    *(httpx2.HTTPError, BusyError, BrokenOffError, OtherSizeError, OtherFileError, HFValidationError, OSError),
    UnicodeEncodeError,
)

use_own_client()


def fetch(
    repo: str, files: str | Sequence[str], revision: str, *, field: str, instead: str = BASE_MODEL_INSTEAD
) -> Path:
    """Fetch files that the Hub's cache lacks, and check their content.

    What arrives of a file is kept, and the next call, of any process, goes on from there. Where the Hub asks for a
    pause or has trouble of its own, it is asked again for a while. What is in the cache serves, whatever the Hub
    answers. The Hub names large files by their sha256, and the catalog knows that of some; a file that has another is
    refused, before it is fetched if the Hub has another now, and removed if it arrived so.

    Args:
        repo: "owner/name".
        files: One file of the repository, or the names of the files wanted of it, `*` allowed.
        revision: Branch, tag or commit.
        field: The request's field it was chosen by, for the error text.
        instead: What to choose where there is no Hub, as the beginning of a sentence.

    Returns:
        Where the file, or the folder of files, is now.

    Raises:
        HubError: The cache does not have it, and the Hub can't be reached or does not give it.
        WeightsError: It arrived damaged, or is not the file that the catalog knows.
        CancelledError: Whoever follows it has stopped.
    """
    name = f"{repo}/{files}" if isinstance(files, str) else repo
    patterns = [files] if isinstance(files, str) else list(files)
    watch, label = _WATCH.get(), name.rsplit("/", 1)[-1]
    try:
        folder = _retry(lambda: _fetch_or_cached(repo, patterns, revision, watch, label), watch)
        if isinstance(files, str) and not (folder / files).is_file():
            raise EntryNotFoundError
    except (*_FAILURES, EntryNotFoundError) as err:
        raise refusal(err, field=field, name=name, instead=instead) from err
    if watch:
        watch.report_end(label)
    for path in folder.rglob("*"):
        file = path.relative_to(folder).as_posix()
        if list(filter_repo_objects([file], allow_patterns=patterns)):
            _require_intact(path, repo, file, field=field)
    return folder / files if isinstance(files, str) else folder


def _fetch_or_cached(repo: str, patterns: list[str], revision: str, watch: "_Watch | None", label: str) -> Path:
    """Return the cached folder, downloading if the Hub answers."""

    def cached() -> Path:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True))

    if _COMMIT.fullmatch(revision) and all(_is_cached(repo, name, revision) for name in patterns):
        return cached()
    try:
        return _from_hub(repo, patterns, revision, watch, label)
    except _FAILURES as err:
        try:
            folder = cached()
        except LocalEntryNotFoundError:
            raise err from None
        if len(patterns) == 1 and "*" not in patterns[0] and not (folder / patterns[0]).is_file():
            raise
        return folder


def _from_hub(repo: str, patterns: list[str], revision: str, watch: "_Watch | None", label: str) -> Path:
    info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_ASKING_S)
    commit = str(info.sha)
    entries = {entry.rfilename: entry for entry in info.siblings or () if is_safe_name(entry.rfilename)}
    names = filter_repo_objects(entries, allow_patterns=patterns)
    files = [HubFile.listed(repo, commit, entries[name]) for name in names if not _is_cached(repo, name, commit)]
    if any(_published_sha256(repo, file.name) not in ("", file.digest) for file in files):
        raise OtherFileError
    total, before = sum(file.size for file in files), 0

    for file in files:

        def report(there: int, before: int = before) -> None:
            if watch:
                watch.report(label, before + there, total)

        transfer(file, report)
        before += file.size
        report(0, before)
    note_commit(repo, revision, commit, info.siblings or ())
    return cache_of(repo) / "snapshots" / commit


def _is_cached(repo: str, name: str, commit: str) -> bool:
    return isinstance(try_to_load_from_cache(repo, name, revision=commit), str)


def _published_sha256(repo: str, name: str) -> str:
    """Return the sha256 that the catalog has of a file, or ""."""
    entry = catalog.published_file(repo, name)
    return (entry and entry.sha256) or ""


def _retry(work: Callable[[], _T], watch: "_Watch | None") -> _T:
    """Retry transient failures for at most `PATIENCE_S`, reporting the wait."""
    waited, tries = 0.0, 0
    while True:
        try:
            return work()
        except _FAILURES as err:
            answer, wait_s = classify_error(err), getattr(err, "wait_s", None)
            tries = 0 if answer is HubAnswer.BROKEN_OFF else tries  # it came further
            if answer not in PASSING or tries == len(PAUSES_S):
                raise
            pause = PAUSES_S[tries] if wait_s is None else wait_s
            if waited + pause > PATIENCE_S:
                raise
        tries, waited = tries + 1, waited + pause
        _pause(pause, watch)


def _pause(seconds: float, watch: "_Watch | None") -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if watch:
            watch.report_pause(left)
            watch.closed.wait(min(left, INTERVAL_S))
            watch.require_open()
        else:
            time.sleep(left)


def fetch_entry(entry: Entry, *, field: str) -> Path:
    """Return a model's file or folder, fetched if it is the Hub's.

    Of a folder a pickle comes only where there is no .safetensors.

    Raises:
        WeightsError: As `fetch`.
    """
    if entry.source != "hub":
        return entry.folder
    if entry.file:
        return fetch(entry.repo, entry.file, entry.revision, field=field)
    folder = fetch(entry.repo, [FOLDER_CONFIG, FOLDER_WEIGHTS[0]], entry.revision, field=field)
    if weights_in(folder).is_file():
        return folder
    return fetch(entry.repo, [FOLDER_CONFIG, FOLDER_WEIGHTS[1]], entry.revision, field=field)


def track_downloads(work: Callable[[], _T]) -> Generator[Progress, None, _T]:
    """Run work in a thread, and yield the progress of its downloads.

    Closing the generator stops a download at its next piece; other work is waited for. Nothing goes on
    behind it.

    Yields:
        `Progress` in bytes about twice a second while something is downloaded; nothing if all is there.

    Returns:
        What the work returns.

    Raises:
        Exception: What the work raises.
    """
    watch = _Watch()
    with ThreadPoolExecutor(1, thread_name_prefix="download") as thread:
        future = thread.submit(copy_context().run, watch.over, work)  # with the settings of the page that asks
        future.add_done_callback(lambda _: watch.events.put(None))
        try:
            yield from iter(watch.events.get, None)
        finally:
            watch.closed.set()
    return future.result()


class _Watch:
    """Channel between the downloading thread and the one that reports it."""

    def __init__(self) -> None:
        self.events: SimpleQueue[Progress | None] = SimpleQueue()
        self.closed = threading.Event()
        self._last: tuple[str, int, int] | None = None
        self._last_s = 0.0

    def over(self, work: Callable[[], _T]) -> _T:
        _WATCH.set(self)  # in a copy of the context, which ends with the work
        return work()

    def require_open(self) -> None:
        """Stop the work if nobody follows it any more.

        Raises:
            CancelledError: So it is.
        """
        if self.closed.is_set():
            raise CancelledError("The download was stopped.")

    def report(self, name: str, done: int, total: int) -> None:
        """Report how many bytes are there, at intervals."""
        self.require_open()
        now = time.monotonic()
        if (name, done, total) != self._last and (done in (0, total) or now - self._last_s >= INTERVAL_S):
            self._last, self._last_s = (name, done, total), now
            there, whole = round(done / _MEGABYTE), round(total / _MEGABYTE)
            template = "Downloading {name}: {done:,} of {total:,} MB"
            note = Note("progress.downloading", template, name=name, done=there, total=whole)
            self.events.put(Progress(Stage.LOAD, done, total, note=note))

    def report_pause(self, left_s: float) -> None:
        """Report that the Hub is waited for."""
        note = Note("progress.hub_busy", "The Hub is busy: asking again in {seconds} s", seconds=round(left_s))
        self.events.put(Progress(Stage.LOAD, 0, 1, note=note))

    def report_end(self, name: str) -> None:
        """Report that reading has begun, if anything was downloaded."""
        if self._last and self._last[0] == name:
            self._last = None
            self.events.put(Progress(Stage.LOAD, 0, 1, note=Note("progress.reading", "Reading {name}", name=name)))


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


def _require_intact(path: Path, repo: str, file: str, *, field: str) -> None:
    """Refuse, and remove, a cached file of another content than published.

    Raises:
        WeightsError: It is another.
    """
    if not path.is_file():
        return
    blob = path.parent / path.readlink() if path.is_symlink() else path
    expected = _published_sha256(repo, file) or (blob.name if _SHA256.fullmatch(blob.name) else "")
    if not expected or sha256_of(blob) == expected:
        return
    _log.warning("%s/%s is not the file that was published, and is removed.", repo, file)
    for part in (blob.resolve(), blob, path):
        part.unlink(missing_ok=True)
    raise WeightsError(
        Fault(
            code="weights.other_sha256",
            field=field,
            rule="be what its publisher has on the Hub",
            got=f"{repo}/{file}",
            seen="'{got:s}' with another sha256",
            fix="What arrived was removed; try again or choose another model",
        )
    )
