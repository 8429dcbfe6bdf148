"""WebP container format: RIFF chunks, one per animation frame."""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from media.formats import ClipSpec, DamagedClipError, start_in_ticks
from media.picture_text import exif_texts, xmp_texts
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault

MAX_FILE_BYTES = (1 << 32) - 10
_MAX_TEXT_BYTES = 8 << 20
_HEADER_BYTES = 8
_RIFF_HEADER_BYTES = 12
_ANIMATED, _HAS_EXIF, _HAS_ALPHA = 0x02, 0x08, 0x10
_INSTEAD = 0x02  # a frame replaces what is there, also where it can be seen through
_PICTURE_CHUNKS = (b"ALPH", b"VP8 ", b"VP8L")
_EXIF_POINTER, _USER_COMMENT = 0x8769, 0x9286
_UNICODE = b"UNICODE\0"


def join_pictures(pictures: BinaryIO, target: BinaryIO, spec: ClipSpec) -> None:
    """Make an animation of WebP pictures, one in memory at a time.

    Args:
        pictures: One WebP after the other, all of the clip's size.
        target: Where the animation goes; can be sought.
        spec: Times, size, times played and recipe.

    Raises:
        InvalidRequestError: The file would be larger than a WebP can be.
    """
    flags = _ANIMATED | _HAS_EXIF | (_HAS_ALPHA if spec.alpha else 0)
    size = _u24(spec.width - 1) + _u24(spec.height - 1)
    target.write(b"RIFF\0\0\0\0WEBP" + _chunk(b"VP8X", struct.pack("<I", flags) + size))
    target.write(_chunk(b"ANIM", struct.pack("<IH", 0, spec.encoding.loop_count)))
    for index, picture in enumerate(_pictures(pictures)):
        start, end = (start_in_ticks(place, spec.fps, 1000) for place in (index, index + 1))
        header = _u24(0) + _u24(0) + size + _u24(end - start) + bytes([_INSTEAD])
        target.write(_chunk(b"ANMF", header + picture))
    target.write(_chunk(b"EXIF", _exif(spec.recipe)))
    num_bytes = target.tell()
    if num_bytes > MAX_FILE_BYTES:
        raise InvalidRequestError(
            Fault(
                code="webp.clip_too_large",
                field="formats",
                rule="hold the clip",
                got=OutputFormat.WEBP,
                fix="Turn {webp_lossless:label} off or choose another of the {formats:label}",
                limit=4,
                values={"size": num_bytes / 2**30},
                seen="{got}, which ends at {limit} GiB, for {size:.1f} GiB",
            )
        )
    target.seek(4)
    target.write(struct.pack("<I", num_bytes - _HEADER_BYTES))


def iter_webp_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a WebP's EXIF and XMP.

    Raises:
        DamagedClipError: It is cut off.
    """
    with path.open("rb") as file:
        for kind, size in _chunks_of_file(file):
            if size > _MAX_TEXT_BYTES:
                continue
            if kind == b"EXIF":
                exif = Image.Exif()
                with suppress(OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
                    exif.load(file.read(size))
                yield from exif_texts(exif)
            elif kind == b"XMP ":
                yield from xmp_texts(file.read(size).decode(errors="replace"))


def _pictures(file: BinaryIO) -> Iterator[bytes]:
    """Yield the chunks of each picture, as an animation's frame holds them."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    for _, size in _chunks(file, end):
        start = file.tell()
        picture = b""
        file.seek(start + 4)
        for kind, length in _chunks(file, start + size):
            if kind in _PICTURE_CHUNKS:
                picture += _chunk(kind, file.read(length))
        yield picture


def _chunks_of_file(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    header = file.read(_RIFF_HEADER_BYTES)
    end = int.from_bytes(header[4:8], "little") + _HEADER_BYTES
    if file.seek(0, os.SEEK_END) < end:
        raise DamagedClipError("cut off")
    file.seek(_RIFF_HEADER_BYTES)
    return _chunks(file, end)


def _chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """Yield each chunk's kind and size, with the file at its content."""
    at = file.tell()
    while at < end:
        file.seek(at)
        header = file.read(_HEADER_BYTES)
        size = int.from_bytes(header[4:], "little")
        if len(header) < _HEADER_BYTES or at + _HEADER_BYTES + size > end:
            raise DamagedClipError("a chunk runs over the end")
        yield header[:4], size
        at += _HEADER_BYTES + size + size % 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _u24(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _exif(comment: str) -> bytes:
    """Build a TIFF of one comment.

    Big-endian, because many readers take its UTF-16 for that whatever the header says.
    """
    data = _UNICODE + comment.encode("utf-16-be")
    long, undefined = 4, 7
    # Header; a directory of one entry, which points to the next; that, whose entry points behind itself.
    return b"".join(
        (
            struct.pack(">2sHI", b"MM", 42, 8),
            struct.pack(">HHHIII", 1, _EXIF_POINTER, long, 1, 26, 0),
            struct.pack(">HHHIII", 1, _USER_COMMENT, undefined, len(data), 44, 0),
            data,
        )
    )
