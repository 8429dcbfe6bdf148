"""The Hub: fetch what is not yet in its cache, check it, and tell how far that is.

`fetch` may be called anywhere. Where its caller runs it through `following`, downloads tell how far they are
and can be stopped.
"""

import io
import logging
import re
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError is its HTTP library's
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from pipelines.errors import CancelledError, WeightsError
from pipelines.events import Progress, Stage
from pipelines.weights.digests import sha256_of
from pipelines.weights.reading import FOLDER_CONFIG, FOLDER_WEIGHTS, weights_in

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Seconds between two events of a download.
INTERVAL_S = 0.5
BASE_MODEL_INSTEAD = "Choose the base model 'demo', which ships with the app"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASKING_S = 10.0
_MEGABYTE = 1e6  # as publishers count

# Over Xet, the Hub's own protocol, a download can't be stopped: what its progress hook raises is swallowed
# (huggingface_hub issue 4632). Over HTTP it ends there.
constants.HF_HUB_DISABLE_XET = True


def fetch(
    repo: str, wanted: str | Sequence[str], revision: str, *, field: str, instead: str = BASE_MODEL_INSTEAD
) -> Path:
    """Fetch from the Hub what is not yet in its cache, and check that it is what the Hub has.

    A connection that breaks is taken up again where it broke, a few times. Large files are named by their
    sha256 on the Hub; one that has another here is removed and refused.

    Args:
        repo: "owner/name".
        wanted: One file of the repository, or the names of the files wanted of it, `*` allowed.
        revision: Branch, tag or commit.
        field: The request's field it was chosen by, for the error text.
        instead: What to choose where there is no Hub, as the beginning of a sentence.

    Returns:
        Where the file, or the folder of files, is now.

    Raises:
        WeightsError: The Hub can't be reached and the cache does not have it, there is no such thing, or it
            arrived damaged.
        CancelledError: Whoever follows it has stopped.
    """
    name = f"{repo}/{wanted}" if isinstance(wanted, str) else repo
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    watch = _WATCH.get()
    label = name.rsplit("/", 1)[-1]
    bar: Any = partial(_Bar, watch, label) if watch else None
    try:
        _ask_for_commit(repo, wanted, revision)
        # For one file too: hf_hub_download tries for 23 s before it admits to be offline, this does not.
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, tqdm_class=bar))
    except (RepositoryNotFoundError, RevisionNotFoundError) as err:  # also gated and private ones
        raise WeightsError(f"{field} must be open to all on the Hub, got '{name}'. Choose another model.") from err
    except (LocalEntryNotFoundError, HTTPError) as err:
        raise _unreachable(field, name, "the Hub can't be reached", instead) from err
    except OSError as err:  # without a reason of the system's: more or fewer bytes came than the Hub has
        raise _unreachable(field, name, err.strerror or "it did not arrive whole", instead) from err
    if watch:
        watch.tell_end(label)
    for path in folder.rglob("*"):
        file = path.relative_to(folder).as_posix()
        if any(fnmatch(file, pattern) for pattern in patterns):
            _require_intact(path, name=f"{repo}/{file}", field=field)
    if not isinstance(wanted, str):
        return folder
    if not (folder / wanted).is_file():
        if not _is_reachable(repo, revision):  # the folder is an older one, with other files
            raise _unreachable(field, name, "the Hub can't be reached", instead)
        raise WeightsError(f"{field} must be a file on the Hub, got '{name}'. Choose another model.")
    return folder / wanted


def fetch_folder(repo: str, revision: str, *, field: str) -> Path:
    """Fetch one model's diffusers folder from the Hub; its pickle only if there is nothing else.

    Raises:
        WeightsError: As `fetch`.
    """
    folder = fetch(repo, [FOLDER_CONFIG, FOLDER_WEIGHTS[0]], revision, field=field)
    if weights_in(folder).is_file():
        return folder
    return fetch(repo, [FOLDER_CONFIG, FOLDER_WEIGHTS[1]], revision, field=field)


def following(work: Callable[[], _T]) -> Generator[Progress, None, _T]:
    """Do work that may download in a thread of its own, and tell how far its downloads are.

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
        future = thread.submit(watch.over, work)
        future.add_done_callback(lambda _: watch.told.put(None))
        try:
            yield from iter(watch.told.get, None)
        finally:
            watch.is_closed = True
    return future.result()


class _Watch:
    """What the thread that downloads and the one that tells of it share."""

    def __init__(self) -> None:
        self.told: SimpleQueue[Progress | None] = SimpleQueue()
        self.is_closed = False
        self._last: tuple[str, int, int] | None = None

    def over(self, work: Callable[[], _T]) -> _T:
        _WATCH.set(self)  # the thread's own; it ends with the work
        return work()

    def tell(self, name: str, done: int, total: int) -> None:
        if (name, done, total) != self._last:  # the Hub has two bars, what was received and what was written
            self._last = (name, done, total)
            note = f"Downloading {name}: {done / _MEGABYTE:,.0f} of {total / _MEGABYTE:,.0f} MB"
            self.told.put(Progress(Stage.LOAD, done, total, note=note))

    def tell_end(self, name: str) -> None:
        """Say that reading has begun, if there was something to download."""
        if self._last and self._last[0] == name:
            self._last = None
            self.told.put(Progress(Stage.LOAD, 0, 1, note=f"Reading {name}"))


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


class _Bar(tqdm):
    """The Hub library's hook for progress: a bar that is told of instead of drawn."""

    monitor_interval = 0  # no thread that watches over it

    def __init__(self, watch: _Watch, name: str, **options: Any) -> None:
        self._watch = watch
        self._name = name
        super().__init__(**options, file=io.StringIO(), mininterval=INTERVAL_S, miniters=1)

    def update(self, n: float | None = 1) -> bool | None:
        if self._watch.is_closed:
            raise CancelledError("The download was stopped.")
        return super().update(n)

    def display(self, *args: Any, **options: Any) -> None:
        del args, options
        if self.unit == "B" and self.total:  # another one counts files; without a total all was there
            self._watch.tell(self._name, int(self.n), int(self.total))


_Bar.set_lock(threading.RLock())  # the default one is for bars of several processes, and starts another


def _require_intact(path: Path, *, name: str, field: str) -> None:
    """Refuse, and remove, a file in the Hub's cache that is not what its name there says."""
    if not path.is_symlink():
        return
    blob = path.parent / path.readlink()
    if not _SHA256.fullmatch(blob.name) or not blob.is_file() or sha256_of(blob) == blob.name:
        return
    _log.warning("%s was downloaded damaged and is removed.", name)
    for part in (blob.resolve(), blob, path):
        part.unlink(missing_ok=True)
    raise WeightsError(
        f"{field} must be what its publisher has on the Hub, got '{name}' with another sha256. "
        "What arrived was removed; try again or choose another model."
    )


def _ask_for_commit(repo: str, wanted: str | Sequence[str], revision: str) -> None:
    """Ask the Hub for a file at a fixed commit that is not in its cache; raises what the Hub library raises.

    For a branch the library asks by itself. Of a commit it lists the files at once, and offline it goes on trying to
    for 23 s.
    """
    if not isinstance(wanted, str) or not _COMMIT.fullmatch(revision) or constants.HF_HUB_OFFLINE:
        return
    if not isinstance(try_to_load_from_cache(repo, wanted, revision=revision), str):
        HfApi().model_info(repo, revision=revision, timeout=_ASKING_S)


def _is_reachable(repo: str, revision: str) -> bool:
    try:
        HfApi().model_info(repo, revision=revision, timeout=_ASKING_S)
    except HTTPError:
        return False
    return True


def _unreachable(field: str, name: str, reason: str, instead: str) -> WeightsError:
    return WeightsError(f"{field} must be downloadable, got '{name}': {reason}. {instead}, or connect to the internet.")
