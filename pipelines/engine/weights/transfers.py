"""Resumable transfers into the Hub's cache, across processes.

The Hub library downloads into a file of its own each time, which goes with whatever ends it, and sleeps where the Hub
is busy. Here what has arrived stays in the cache until all of it is there. The layout is the library's own: contents in
`blobs`, named by sha256 or git's sha1, and links to them in `snapshots`, by commit and name.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
from filelock import Timeout
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.file_download import are_symlinks_supported, repo_folder_name
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import (  # type: ignore[attr-defined] # they are documented
    WeakFileLock,
    build_hf_headers,
    hf_raise_for_status,
)

from pipelines.engine.weights.hub_answers import BrokenOffError, OtherSizeError
from pipelines.engine.weights.hub_internals import TreeCacheEntry, write_tree_cache

_SILENCE_S = 20.0  # a connection that brings nothing for so long has broken off
_LOOK_AGAIN_S = 0.5

Tell = Callable[[int], None]
"""Is told how many bytes of a file are there; may raise to stop the transfer."""


@dataclass(frozen=True)
class HubFile:
    """A file, as the Hub lists it.

    Args:
        repo: "owner/name".
        commit: The commit it is of.
        name: Its path in the repository.
        digest: Of its content: the sha256 of a large file, git's sha1 of another.
        size: Bytes.
    """

    repo: str
    commit: str
    name: str
    digest: str
    size: int

    @classmethod
    def listed(cls, repo: str, commit: str, entry: RepoSibling) -> "HubFile":
        """Build the file from an entry; ask mirrors for missing details."""
        digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
        size = entry.size
        if digest is None or size is None:
            metadata = get_hf_file_metadata(hf_hub_url(repo, entry.rfilename, revision=commit), timeout=_SILENCE_S)
            digest, size = metadata.etag, metadata.size
        if not digest or size is None:
            raise OtherSizeError
        return cls(repo, commit, entry.rfilename, digest, size)

    @property
    def path(self) -> Path:
        """Path by commit and name."""
        return cache_of(self.repo) / "snapshots" / self.commit / self.name

    @property
    def part(self) -> Path:
        """Path of an incomplete download, kept to resume."""
        return cache_of(self.repo) / "blobs" / f"{self.digest}.incomplete"


def cache_of(repo: str) -> Path:
    """Return a repository's folder in the Hub's cache."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")


def is_safe_name(name: str) -> bool:
    """Tell whether a Hub file's name stays in its folder, anywhere."""
    return all(part.strip(".") and not set(part) & set("\\:") for part in name.split("/"))


def note_commit(repo: str, revision: str, commit: str, entries: Iterable[RepoSibling]) -> None:
    """Record a branch's commit and files, for when the Hub is offline."""
    listed = {
        entry.rfilename: TreeCacheEntry(
            entry.size, entry.blob_id, *((entry.lfs.sha256, entry.lfs.size) if entry.lfs else ())
        )
        for entry in entries
        if entry.size is not None and entry.blob_id is not None
    }
    write_tree_cache(str(cache_of(repo)), commit, listed)
    ref = cache_of(repo) / "refs" / revision
    with suppress(OSError):  # a cache that is only read
        if revision != commit and not (ref.is_file() and ref.read_text("ascii") == commit):
            ref.parent.mkdir(parents=True, exist_ok=True)
            part = ref.with_name(f"{ref.name}.{os.getpid()}")
            part.write_text(commit, "ascii")
            part.replace(ref)


def transfer(file: HubFile, tell: Tell) -> None:
    """Download a file into the Hub's cache, unless it is there.

    Args:
        tell: Called with every piece, and while another process brings the file.

    Raises:
        BrokenOffError: The connection broke off after something came; another call goes on from there.
        OtherSizeError: Not as many bytes came as the Hub has; they are removed.
        Exception: What the Hub library raises for an answer, or `tell`.
    """
    with _alone(file, tell):
        if file.path.is_file():
            return
        blob = file.part.with_suffix("")
        for folder in (blob.parent, file.path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not blob.is_file():
            _complete(file, tell)
            file.part.replace(blob)
        file.path.unlink(missing_ok=True)  # a link whose content was removed
        if are_symlinks_supported(str(constants.HF_HUB_CACHE)):
            file.path.symlink_to(os.path.relpath(blob, file.path.parent))
        else:
            blob.replace(file.path)


def _complete(file: HubFile, tell: Tell) -> None:
    there = _size_of(file.part)
    if there > file.size:  # of another file
        file.part.unlink()
        there = 0
    tell(there)
    if there < file.size or not file.size:
        _receive(file, there, tell)
    if _size_of(file.part) != file.size:
        file.part.unlink()
        raise OtherSizeError


def _receive(file: HubFile, start: int, tell: Tell) -> None:
    url = hf_hub_url(file.repo, file.name, revision=file.commit)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={start}-"} if start else {}
    there = start
    try:
        with get_session().stream("GET", url, headers=headers, timeout=_SILENCE_S) as response:
            hf_raise_for_status(response)
            if start and response.status_code != httpx2.codes.PARTIAL_CONTENT:
                there = 0  # whoever serves it knows no ranges and begins anew
            with file.part.open("r+b" if there else "wb") as part:
                part.seek(there)
                for piece in response.iter_bytes():  # of no set size: what has come is not lost where it breaks off
                    part.write(piece)
                    there += len(piece)
                    if there > file.size:
                        break
                    tell(there)
    except httpx2.TransportError as err:
        if there > start:
            raise BrokenOffError from err
        raise


@contextmanager
def _alone(file: HubFile, tell: Tell) -> Iterator[None]:
    """Hold the Hub library's lock of a file, waiting for other holders."""
    lock = Path(constants.HF_HUB_CACHE) / ".locks" / cache_of(file.repo).name / f"{file.digest}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(WeakFileLock(lock, timeout=_LOOK_AGAIN_S))
                break
            except Timeout:
                tell(_size_of(file.part))
        yield


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
