"""Store visitors' clips with recipes, bounded in age and size.

A visitor is whoever knows an id: 128 random bits that the server draws and the visitor's browser keeps. An entry is
a folder, put together under another name and renamed into place, so that several processes may share the gallery and
one that is killed leaves nothing that could be taken for an entry.
"""

import json
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from media.input_files import check_plain_file
from pipelines.plan.errors import UserError
from pipelines.plan.faults import Fault

MAX_ZIP_BYTES = 1 << 30

_ABOUT = "entry.json"
_VISITOR = re.compile(r"[0-9a-f]{32}")
_ENTRY = re.compile(r"[0-9]{20}-[0-9a-f]{8}")  # when, in nanoseconds: names sort by age
_FILE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")
_PENDING = ".pending-"
_STALE_S = 3600
_MOST_TRIES = 20


@dataclass(frozen=True, slots=True)
class GalleryEntry:
    """One clip of a visitor.

    Args:
        id: Its name within the visitor's; later ones sort behind.
        files: Its files, the one to show first.
        recipe: What it was made from, as JSON.
        facts: What else was noted about it.
    """

    id: str
    files: tuple[Path, ...]
    recipe: str
    facts: Mapping[str, object] = field(default_factory=dict)


def new_visitor() -> str:
    """Draw an id that nobody can guess: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def is_visitor(value: object) -> bool:
    """Whether a value is well-formed as a visitor id, safe in paths."""
    return isinstance(value, str) and _VISITOR.fullmatch(value) is not None


class Gallery:
    """Clips of all visitors; the oldest go when over the limits.

    Args:
        folder: Where; made if missing. Visitors' names are in it, so it must not be served.
        max_bytes: Most that all clips take.
        max_age: Longest that a clip is kept, seconds.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age = max_age
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, visitor: str, files: Sequence[Path], recipe: str, facts: Mapping[str, object] | None = None) -> str:
        """Keep copies of a clip's files, then make room.

        Args:
            visitor: Whose they are.
            files: At least one plain file, the one to show first; their names are kept.
            recipe: As JSON.
            facts: Anything else worth noting, as JSON values.

        Returns:
            The entry's id.

        Raises:
            ValueError: No visitor's id, no file, or a name that is none of ours.
            BadInputError: A file is a link, empty or missing.
            OSError: It can't be written.
        """
        names = [path.name for path in files]
        if not names or len(set(names)) < len(names) or not all(map(_FILE.fullmatch, names)) or _ABOUT in names:
            raise ValueError(f"files must have plain names, none twice, got {names}")
        owner = self._of(visitor)
        work = Path(mkdtemp(prefix=_PENDING, dir=self._folder))
        try:
            for path in files:
                check_plain_file(path)
                shutil.copyfile(path, work / path.name, follow_symlinks=False)
            about = {"files": names, "recipe": recipe, "facts": dict(facts or {})}
            (work / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
            entry = f"{time.time_ns():020}-{secrets.token_hex(4)}"
            _move(work, owner / entry)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        self.sweep()
        return entry

    def entries(self, visitor: str) -> list[GalleryEntry]:
        """List a visitor's entries, newest first.

        Raises:
            ValueError: No visitor's id.
        """
        return [entry for path in self._folders(self._of(visitor)) if (entry := _read_entry(path))]

    def delete(self, visitor: str, *entries: str) -> None:
        """Remove entries of a visitor; missing ones are skipped.

        Raises:
            ValueError: No visitor's id, or no entry's.
        """
        owner = self._of(visitor)
        for entry in entries:
            if not _ENTRY.fullmatch(entry):
                raise ValueError(f"entry must be an id that the gallery gave, got {entry[:80]!r}")
            self._remove(owner / entry)
        with suppress(OSError):
            owner.rmdir()  # only if nothing is left

    def zip_of(self, visitor: str, target: Path, *, max_bytes: int = MAX_ZIP_BYTES) -> int:
        """Zip a visitor's clips and recipes, newest first.

        Args:
            visitor: Whose.
            target: The zip, replaced if it exists, at the very end.
            max_bytes: Clips that would make it larger are left out, and all that are older.

        Returns:
            How many clips are in it.

        Raises:
            ValueError: No visitor's id.
            UserError: There is no clip.
        """
        count = total = 0
        with TemporaryDirectory(prefix=_PENDING, dir=target.parent) as folder:
            part = Path(folder) / "clips.zip"
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as pack:  # clips are compressed already
                for entry in self.entries(visitor):
                    with suppress(FileNotFoundError):  # deleted meanwhile, by another page or for its age
                        total += sum(path.stat().st_size for path in entry.files)
                        if total > max_bytes:
                            break
                        for path in entry.files:
                            pack.write(path, f"{count + 1:03}/{path.name}")
                        pack.writestr(f"{count + 1:03}/recipe.json", entry.recipe)
                        count += 1
            if not count:
                rule = "be kept before they are downloaded"
                raise UserError(Fault("gallery.empty", "clips", rule, "none", "Make a clip"))
            part.replace(target)
        return count

    def sweep(self) -> None:
        """Delete the oldest entries over the limits, and abandoned temporary folders."""
        now = time.time()
        for left in self._folder.glob(f"{_PENDING}*"):
            with suppress(OSError):
                if now - left.lstat().st_mtime > _STALE_S:
                    shutil.rmtree(left, ignore_errors=True)
        total = 0
        newest_first = sorted(self._all(), key=lambda path: path.name, reverse=True)
        for place, path in enumerate(newest_first):
            total += _size(path)
            # The clip just made stays even where it is larger than all the room there is.
            if now - int(path.name[:20]) / 1e9 > self._max_age or (total > self._max_bytes and place > 0):
                self._remove(path)
                with suppress(OSError):
                    path.parent.rmdir()

    def _of(self, visitor: str) -> Path:
        if not is_visitor(visitor):
            raise ValueError(f"visitor must be an id that the server gave, got {str(visitor)[:80]!r}")
        return self._folder / visitor

    def _all(self) -> Iterator[Path]:
        for owner in self._folder.iterdir():
            if is_visitor(owner.name) and not owner.is_symlink():
                yield from self._folders(owner)

    @staticmethod
    def _folders(owner: Path) -> list[Path]:
        """List a visitor's entry folders, newest first."""
        try:
            entries = [path for path in owner.iterdir() if _ENTRY.fullmatch(path.name)]
        except OSError:
            return []
        return sorted(entries, key=lambda path: path.name, reverse=True)

    def _remove(self, path: Path) -> None:
        """Rename a folder out of sight at once, then delete it."""
        away = self._folder / f"{_PENDING}{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            path.rename(away)
            shutil.rmtree(away, ignore_errors=True)


def _move(work: Path, target: Path) -> None:
    """Rename into place, retrying if others remove the empty parent."""
    for tries_left in reversed(range(_MOST_TRIES)):
        try:
            target.parent.mkdir(exist_ok=True)
            work.rename(target)
            return
        except (FileNotFoundError, FileExistsError):  # mkdir says the latter of a folder that goes while it looks
            if not tries_left:
                raise


def _read_entry(path: Path) -> GalleryEntry | None:
    """Read an entry; None if damaged or deleted meanwhile."""
    try:
        about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        names, recipe, facts = about["files"], about["recipe"], about["facts"]
        if not names or not all(_FILE.fullmatch(name) for name in names):
            return None
        files = tuple(path / name for name in names)
        for file in files:
            check_plain_file(file)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    return GalleryEntry(path.name, files, str(recipe), facts if isinstance(facts, dict) else {})


def _size(path: Path) -> int:
    with suppress(OSError):
        return sum(file.lstat().st_size for file in path.iterdir())
    return 0
