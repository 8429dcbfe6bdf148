"""SHA-256 of files, computed once per file and cached."""

import hashlib
import logging
import os
import threading
from functools import lru_cache
from pathlib import Path

from pipelines.plan.cache import cache_folder

_log = logging.getLogger(__name__)
_CHUNK = 1 << 22
_LENGTH = 64  # hex digits of a sha256
_WORTH_KEEPING = 1 << 26  # bytes; less is read in a moment


def sha256_of(path: Path) -> str:
    """Return the content's sha256 in hex, cached by path, size and time.

    That of a large file is kept in the app's cache, so that gigabytes are not read again at every start.
    """
    real = path.resolve()
    stat = real.stat()
    return _sha256(real, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    large = size >= _WORTH_KEEPING
    version = hashlib.sha256(b"%b\0%d\0%d" % (os.fsencode(path), size, mtime_ns)).hexdigest()
    note = cache_folder() / "digests" / version
    cached = _read_digest(note) if large else None
    if cached:
        return cached
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if large:
        _write_digest(note, digest.hexdigest())
    return digest.hexdigest()


def _read_digest(note: Path) -> str | None:
    try:
        text = note.read_text("ascii")
    except (OSError, ValueError):
        return None
    return text if len(text) == _LENGTH else None


def _write_digest(note: Path, digest: str) -> None:
    """Write the digest atomically; on failure the file is only read again."""
    part = note.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(digest, "ascii")
        part.replace(note)
    except OSError as err:
        _log.warning("The sha256 of a file could not be kept (%s); it is read again at the next start.", err)
