"""Untrusted picture sequences in zips, never unpacked to disk.

A sequence that this app makes itself, out of single files, is such a zip too: a **bundle**.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable
from fractions import Fraction
from io import BytesIO
from pathlib import Path, PurePosixPath

from media.ffmpeg import Frames
from media.input_files import CHOOSE_ANOTHER, BadInputError, natural_order
from media.pictures import MAX_PICTURE_BYTES, opened_picture, size_as_seen, to_rgb
from media.timing import Timing
from pipelines.plan.faults import Fault

MAX_PICTURES = 65_535
"""What a zip without the extensions of ZIP64 can hold."""

MAX_UNPACKED_BYTES = 8 << 30

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

MAX_BUNDLE_BYTES = 2 << 30

_MAX_INDEX_BYTES = 16 << 20
_END, _ZIP64_END = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _MAX_COMMENT, _ZIP64_END_BYTES = 22, 0xFFFF, 20
_MAX_FACTS_BYTES = 1 << 16
_DAMAGE = (zipfile.BadZipFile, OSError, ValueError, LookupError, RuntimeError, EOFError, zlib.error, struct.error)


class PictureZip:
    """Pictures of a zip in natural name order; a context manager.

    Folders inside count as part of the name. Left out are other kinds of files, hidden ones, and what macOS adds.

    Attributes:
        names: Of the pictures, in order; at least one.

    Raises:
        BadInputError: It is no whole zip, has no pictures, too many, or more than its files may have.
    """

    def __init__(self, path: Path) -> None:
        _check_index(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as err:
            raise _damage_error() from err
        try:
            self.names = self._checked_names()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "PictureZip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def read(self, name: str) -> bytes:
        """Read one picture's file, not trusting its claimed size.

        Raises:
            BadInputError: It is damaged, too large or locked with a password.
        """
        try:
            with self._zip.open(name) as member:
                data = member.read(MAX_PICTURE_BYTES + 1)
        except _DAMAGE as err:
            raise _damage_error() from err
        if len(data) > MAX_PICTURE_BYTES:
            raise BadInputError(
                Fault(
                    code="zip.picture_too_large",
                    rule="have pictures of at most {limit} MiB",
                    got="more",
                    fix="Make it smaller",
                    limit=MAX_PICTURE_BYTES >> 20,
                )
            )
        return data

    def fps(self) -> Fraction | None:
        """Read the frame rate, if this app wrote the zip."""
        try:
            with self._zip.open("clip.json") as member:
                fps = Fraction(str(json.loads(member.read(_MAX_FACTS_BYTES))["fps"]))
        except (*_DAMAGE, TypeError, ArithmeticError):
            return None
        return fps if fps > 0 else None

    def _checked_names(self) -> list[str]:
        files = [member for member in self._zip.infolist() if not member.is_dir()]
        if any(".." in PurePosixPath(member.filename.replace("\\", "/")).parts for member in files):
            raise BadInputError(
                Fault(
                    code="zip.names_lead_out",
                    rule="hold plain names",
                    got="a zip with names that lead out of it",
                    fix="Pack the pictures anew",
                )
            )
        pictures = [member for member in files if is_picture_name(member.filename)]
        if not 0 < len(pictures) <= MAX_PICTURES:
            raise BadInputError(
                Fault(
                    code="zip.wrong_count",
                    rule="hold 1 to {limit:,} pictures",
                    got=len(pictures),
                    fix="Pack pictures, such as PNGs",
                    limit=MAX_PICTURES,
                    seen="{got:,}",
                )
            )
        unpacked = sum(member.file_size for member in pictures)
        if unpacked > MAX_UNPACKED_BYTES:
            raise BadInputError(
                Fault(
                    code="zip.unpacks_too_large",
                    rule="unpack to at most {limit} GiB",
                    got=unpacked / 2**30,
                    fix="Pack fewer or smaller pictures",
                    limit=MAX_UNPACKED_BYTES >> 30,
                    seen="{got:.1f} GiB",
                )
            )
        return sorted((member.filename for member in pictures), key=natural_order)


class PictureZipReader:
    """Zip of pictures, read as a clip; attributes as `PictureReader`."""

    def __init__(self, path: Path) -> None:
        self.complaint = ""
        self._path = path
        with PictureZip(path) as pictures:
            self._names = pictures.names
            fps = pictures.fps()
            with opened_picture(BytesIO(pictures.read(self._names[0]))) as first:
                self.width, self.height = size_as_seen(first)
        self.num_pictures = len(self._names)
        self.timing = Timing(fps, True, self.num_pictures) if fps else None

    def iter_frames(
        self,
        places: range,
        size: tuple[int, int],  # noqa: ARG002 - they keep theirs
    ) -> Generator[Frames, None, None]:
        """Yield the pictures at these places.

        Raises:
            BadInputError: One is damaged, or has not the size of the first.
        """
        with PictureZip(self._path) as pictures:
            for place in places:
                with opened_picture(BytesIO(pictures.read(self._names[place]))) as picture:
                    if (picture_size := size_as_seen(picture)) != (self.width, self.height):
                        raise BadInputError(
                            Fault(
                                code="zip.sizes_differ",
                                rule="have frames of one size",
                                got=f"{picture_size[0]} × {picture_size[1]}",
                                fix="Resize them",
                                values={"first": f"{self.width} × {self.height}", "frame": place},
                                seen="{first} and, as frame {frame}, {got}",
                            )
                        )
                    yield to_rgb(picture)


def is_picture_name(name: str) -> bool:
    """Tell by its name whether a member is a visible picture.

    Example:
        >>> [is_picture_name(name) for name in ("a/1.PNG", "a/._1.png", "__MACOSX/1.png", "notes.txt")]
        [True, False, False, False]
    """
    path = PurePosixPath(name.replace("\\", "/"))
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in PICTURE_SUFFIXES


def write_bundle(target: Path, pictures: Iterable[bytes]) -> int:
    """Pack picture files into a zip unchanged, in this order.

    The same files give the same bytes.

    Returns:
        How many there were.

    Raises:
        BadInputError: Too many, too large, or one is no picture.
    """
    count = total = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=False) as bundle:
        for data in pictures:
            with opened_picture(BytesIO(data)) as picture:
                # Phones put previews behind a JPEG, which Pillow calls MPO.
                kind = "jpeg" if picture.format == "MPO" else str(picture.format).lower()
            total += len(data)
            if count == MAX_PICTURES or total > MAX_BUNDLE_BYTES:
                raise BadInputError(
                    Fault(
                        code="sequence.too_large",
                        rule="be at most {limit:,} pictures of together {size} GiB",
                        got="more",
                        fix="Use fewer or smaller ones",
                        limit=MAX_PICTURES,
                        values={"size": MAX_BUNDLE_BYTES >> 30},
                    )
                )
            bundle.writestr(zipfile.ZipInfo(f"{count:05}.{kind}"), data)
            count += 1
    return count


def _check_index(path: Path) -> None:
    """Refuse a zip whose index alone would fill the memory.

    Python reads all of it before anyone can count.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END_BYTES - _MAX_COMMENT - _ZIP64_END_BYTES))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + _END_BYTES:
        raise _damage_error()
    (index_bytes,) = struct.unpack_from("<I", tail, end + 12)
    if index_bytes > _MAX_INDEX_BYTES or tail[max(0, end - _ZIP64_END_BYTES) : end].startswith(_ZIP64_END):
        raise BadInputError(
            Fault(
                code="zip.too_many_files",
                rule="hold at most {limit:,} files",
                got="a zip that may hold more",
                fix="Pack fewer pictures",
                limit=MAX_PICTURES,
            )
        )


def _damage_error() -> BadInputError:
    return BadInputError(
        Fault(
            code="zip.damaged_or_locked",
            rule="be a whole zip of pictures",
            got="one that is damaged or locked",
            fix=CHOOSE_ANOTHER,
        )
    )
