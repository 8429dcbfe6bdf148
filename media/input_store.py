"""Content-addressed folder of inputs, which recipes name by hash."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakValueDictionary

from pydantic import TypeAdapter, ValidationError

from media.frame_file import FrameFile
from media.image_and_mask import split_image_and_mask
from media.input_facts import WHOLE, Cut, InputFacts
from media.input_files import BadInputError, InputKind, check_plain_file, natural_order, sniff
from media.inputs import Decoded, decoding, last_value, naming_field, probe_input
from media.named_faults import about
from media.picture_folder import pictures_in, read_picture
from media.picture_zip import PictureZip, write_bundle
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault

MAX_FILE_BYTES = 2 << 30
MAX_STORE_BYTES = 20 << 30

_ADDING, _STALE_S = ".adding-", 24 * 3600
_CHUNK = 1 << 20
_MAX_HASHES = 10_000
_FACTS = ".facts-1"  # another number where they change
_ADAPTER = TypeAdapter(InputFacts)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class InputStore:
    """Store of inputs under the SHA-256 of their bytes.

    Files are copied, not linked, so that nobody can change them any more. They appear complete or not at all, and
    their facts stand beside them. A file that was not changed since is not read again to be hashed.
    When there is no room left, those go that have not been used for longest.

    Args:
        folder: Where they are kept; made if missing. Decoded frames are put there, too, while they are in use.
        max_bytes: Most that all of them take.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_STORE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._hashes: dict[tuple[str, int, int, int], str] = {}
        self._decoded: WeakValueDictionary[tuple[int, str, Cut], FrameFile] = WeakValueDictionary()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_ADDING}*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)

    def add(self, path: Path, *, field: str = "file") -> str:
        """Store a file, whatever it is called.

        Returns:
            Its SHA-256, in hexadecimal.

        Raises:
            InvalidRequestError: It is no plain file, too large, or of a kind that is not read.
        """
        with naming_field(field):
            size = check_plain_file(path)
            if size > MAX_FILE_BYTES:
                raise BadInputError(
                    Fault(
                        code="file.too_large",
                        rule="be at most {limit} GiB",
                        got=size / 2**30,
                        fix="Shorten the clip or make it smaller",
                        limit=MAX_FILE_BYTES >> 30,
                        seen="{got:.1f} GiB",
                    )
                )
            sniff(path)
            return self._keep(path)

    def add_frames(self, paths: Iterable[Path], *, field: str = "file") -> str:
        """Store single pictures as one sequence, in natural name order.

        Returns:
            The SHA-256 of the sequence; the same pictures in the same order have the same.

        Raises:
            InvalidRequestError: There is none, one is no picture, or there are too many.
        """
        with naming_field(field):
            ordered = sorted(paths, key=lambda path: natural_order(path.name))
            if not ordered:
                raise BadInputError(
                    Fault(
                        code="sequence.no_picture",
                        rule="be at least {limit} picture",
                        got="none",
                        fix="Choose pictures",
                        limit=1,
                    )
                )
            return self._keep_bundle(map(read_picture, ordered))

    def add_folder(self, folder: Path, *, field: str = "file") -> str:
        """Store the pictures of a folder, recursively, as one sequence.

        Returns:
            Its SHA-256.

        Raises:
            InvalidRequestError: There is none, one is no picture, or there are too many.
        """
        with naming_field(field):
            return self._keep_bundle(read_picture(folder / name) for name in pictures_in(folder))

    def add_image_and_mask(self, path: Path, *, field: str = "file") -> tuple[str, str]:
        """Split and store a zip or a folder with `image` and `mask`.

        Returns:
            The SHA-256 of the pictures and that of the masks.

        Raises:
            InvalidRequestError: It is no such thing, or has not as many of one as of the other.
        """
        with naming_field(field):
            if path.is_dir():
                parts = split_image_and_mask(pictures_in(path))
                images, masks = (self._keep_bundle(read_picture(path / name) for name in part) for part in parts)
                return images, masks
            if sniff(path) is not InputKind.ZIP:
                raise BadInputError(
                    Fault(
                        code="image_and_mask.no_zip",
                        rule="be a zip with folders image and mask",
                        got="another file",
                        fix="Pack them",
                    )
                )
            with PictureZip(path) as pictures:
                parts = split_image_and_mask(pictures.names)
                images, masks = (self._keep_bundle(map(pictures.read, part)) for part in parts)
                return images, masks

    def probe(self, sha256: str, *, field: str = "file") -> InputFacts:
        """Read the properties of an input.

        Raises:
            InvalidRequestError: It is not here (any more), or cannot be used.
        """
        path = self.path(sha256, field=field)
        stored = path.with_suffix(_FACTS)
        with suppress(OSError, ValidationError):
            return _ADAPTER.validate_json(stored.read_bytes())
        facts = probe_input(path, field=field)
        with suppress(OSError), TemporaryDirectory(prefix=_ADDING, dir=self._folder) as folder:  # it may be full
            part = Path(folder) / "part"
            part.write_bytes(_ADAPTER.dump_json(facts))
            part.replace(stored)
        return facts

    def open(self, sha256: str, cut: Cut = WHOLE, *, field: str = "file") -> FrameFile:
        """Decode an input's frames once.

        Args:
            sha256: As `add` gave it.
            cut: Which frames, and how.
            field: The field of the request that names it.

        Raises:
            InvalidRequestError: As `probe`, or the cut takes no frame or too many.
        """
        return last_value(self.decoding(sha256, cut, field=field))

    def decoding(self, sha256: str, cut: Cut = WHOLE, *, field: str = "file") -> Generator[Decoded, None, FrameFile]:
        """Decode as `open`, yielding progress; closing the generator ends it.

        Frames that are in use already are not decoded again.
        """
        facts, path = self.probe(sha256, field=field), self.path(sha256, field=field)
        key = os.getpid(), sha256, cut  # a process that was forked shares the place in the file with its parent
        frames = self._decoded.get(key)
        if frames is None:
            frames = yield from decoding(path, cut, field=field, folder=self._folder, facts=facts)
            self._decoded[key] = frames
        return frames

    def path(self, sha256: str, *, field: str = "file") -> Path:
        """Look up the path of an input.

        It is to be read at once: the file may go when others come.

        Raises:
            InvalidRequestError: It is no hash, or not here (any more).
        """
        # Checked before a path is made of it: it comes from a recipe, and so from anybody.
        if not _SHA256.fullmatch(sha256):
            raise InvalidRequestError(
                about(
                    Fault(
                        code="input.no_hash",
                        rule="be {limit} hexadecimal digits",
                        got=sha256,
                        fix="Choose the file again",
                        limit=64,
                    ),
                    field,
                )
            )
        if not self._use(sha256):
            raise InvalidRequestError(
                about(
                    Fault(
                        code="input.gone",
                        rule="be a file that is here",
                        got=f"{sha256[:12]}…",
                        fix="Choose the file again",
                        seen="{got}, which is not",
                    ),
                    field,
                )
            )
        return self._folder / sha256

    def _keep_bundle(self, pictures: Iterable[bytes]) -> str:
        with TemporaryDirectory(prefix=_ADDING, dir=self._folder) as folder:
            bundle = Path(folder) / "frames.zip"
            write_bundle(bundle, pictures)
            return self._keep(bundle)

    def _keep(self, path: Path) -> str:
        status = path.stat()
        version = str(path), status.st_size, status.st_mtime_ns, status.st_ino
        sha256 = self._hashes.get(version)
        if sha256 and self._use(sha256):
            return sha256
        sha256 = self._copy(path)
        self._hashes[version] = sha256
        if len(self._hashes) > _MAX_HASHES:
            self._hashes.pop(next(iter(self._hashes)))
        return sha256

    def _copy(self, path: Path) -> str:
        """Copy a file, named by the copy's own bytes.

        The file may change meanwhile.
        """
        digest = hashlib.sha256()
        with TemporaryDirectory(prefix=_ADDING, dir=self._folder) as folder:
            part = Path(folder) / "part"
            with path.open("rb") as file, part.open("wb") as copy:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
            if not self._use(digest.hexdigest()):
                self._make_room(part.stat().st_size)
                part.replace(self._folder / digest.hexdigest())
        return digest.hexdigest()

    def _use(self, sha256: str) -> bool:
        """Note that an input is used; False if it is not here."""
        with suppress(OSError):
            os.utime(self._folder / sha256)
            return True
        return False

    def _make_room(self, num_bytes: int) -> None:
        entries = [(path, path.stat()) for path in self._folder.iterdir() if _SHA256.fullmatch(path.name)]
        total = num_bytes + sum(status.st_size for _, status in entries)
        for path, status in sorted(entries, key=lambda entry: entry[1].st_mtime_ns):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            path.with_suffix(_FACTS).unlink(missing_ok=True)
            total -= status.st_size
