"""Read the texts that generators put inside untrusted pictures."""

import html
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL.ExifTags import IFD, Base
from PIL.Image import Exif

from media.apng import png_chunks
from media.formats import DamagedClipError
from media.letters import decode_comment, decode_tag, decode_text
from media.pictures import opened_picture

MAX_TEXT_BYTES = 8 << 20
"""Longest text that is read."""

_PNG = b"\x89PNG\r\n\x1a\n"
_RAW_PROFILE = b"Raw profile type "
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_WINDOWS_TAGS = (0x9C9B, 0x9C9C, 0x9C9F, 0x9C9E)  # title, comment, subject, keywords, in UTF-16
# ComfyUI's WebP have a graph in the camera's name.
_PLAIN_TAGS = (Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.Artist, Base.DocumentName)
_XMP_TEXT = re.compile(
    r"<(?P<tag>[\w:]{1,40})(?:\s[^>]{0,400})?>(?:<!\[CDATA\[(?P<data>(?:(?!<!\[CDATA\[|\]\]>).)*+)\]\]>"
    # Each try ends where the next one begins: a packet of such beginnings would else be read as often as it has them.
    r"|(?P<text>[^<]{8,}))</(?P=tag)>"
    r"""|\b(?:\w{1,20}:)?\w{1,40}=(?:"(?P<double>[^"]{8,})"|'(?P<single>[^']{8,})')""",
    re.DOTALL,
)
_DAMAGE = (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error)


def iter_picture_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a picture: chunks, comments, EXIF, XMP.

    Raises:
        BadInputError: It is no whole picture.
    """
    with path.open("rb") as file:
        if file.read(len(_PNG)) == _PNG:
            with suppress(DamagedClipError):  # Pillow says what is wrong with it
                yield from _png_texts(file)
    with opened_picture(path) as picture:
        comments = [picture.info.get(key) for key in ("comment", "xmp")] if picture.format != "PNG" else []
        for value in comments:
            if isinstance(value, (bytes, str)) and len(value) <= MAX_TEXT_BYTES:
                yield from _with_xmp(decode_tag(value) if isinstance(value, bytes) else value)
        yield from exif_texts(picture.getexif())


def exif_texts(exif: Exif) -> Iterator[str]:
    """Yield the texts of an EXIF: the user's comment, then the others."""
    values: list[object] = []
    with suppress(*_DAMAGE):
        for value in (exif.get_ifd(IFD.Exif).get(Base.UserComment), exif.get(Base.UserComment)):
            values.append(decode_comment(value) if isinstance(value, bytes) else value)
    with suppress(*_DAMAGE):
        for tag in _WINDOWS_TAGS:
            value = exif.get(tag)
            value = bytes(value) if isinstance(value, (tuple, list)) else value
            values.append(value.decode("utf-16-le", errors="replace") if isinstance(value, bytes) else value)
    with suppress(*_DAMAGE):
        for tag in _PLAIN_TAGS:
            value = exif.get(tag)
            values.append(decode_tag(value) if isinstance(value, bytes) else _mended(value))
    for text in values:
        if isinstance(text, str) and text.strip("\0 "):
            yield text.rstrip("\0")


def xmp_texts(text: str) -> Iterator[str]:
    """Yield the texts of an XMP packet that say something in words."""
    for match in _XMP_TEXT.finditer(text):
        if match["data"] is not None:
            yield match["data"]
        elif not (match["double"] or match["single"] or "").startswith("http"):  # a name space
            yield html.unescape(match["text"] or match["double"] or match["single"])


def _with_xmp(text: str) -> Iterator[str]:
    if "<x:xmpmeta" in text[:2000] or "<rdf:RDF" in text[:2000]:
        yield from xmp_texts(text)
    elif text:
        yield text


def _mended(value: object) -> object:
    """Repair UTF-8 that Pillow read as Latin-1."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _png_texts(file: BinaryIO) -> Iterator[str]:
    """Yield PNG texts, the generators' `parameters` first."""
    other_texts: list[str] = []
    for kind, size in png_chunks(file):
        if kind not in _TEXTS or size > MAX_TEXT_BYTES:
            continue
        key, _, value = file.read(size).partition(b"\0")
        text = _png_text(kind, value)
        if text is None:
            continue
        if key == b"parameters":
            yield text
        elif key.startswith(_RAW_PROFILE):
            other_texts += _raw_profile_texts(text)
        else:
            other_texts += _with_xmp(text)
    yield from other_texts


def _raw_profile_texts(text: str) -> list[str]:
    """Parse an EXIF or XMP that ImageMagick wrote as hexadecimal."""
    _, _, digits = text.strip().partition("\n")[2].partition("\n")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        return []
    if data.startswith(b"Exif\0\0"):
        exif = Exif()
        with suppress(*_DAMAGE):
            exif.load(data)
        return list(exif_texts(exif))
    return list(_with_xmp(decode_tag(data.rpartition(b"\0")[2])))


def _png_text(kind: bytes, value: bytes) -> str | None:
    """Decode a chunk's text.

    UTF-8 wherever it can be that, since many write it where Latin-1 belongs.
    """
    if kind == b"iTXt":
        is_packed, value = value[:1] == b"\1", value[2:].split(b"\0", 2)[-1]
    else:
        is_packed = kind == b"zTXt"
        value = value[1:] if is_packed else value
    if is_packed:
        unpack = zlib.decompressobj()
        try:
            value = unpack.decompress(value, MAX_TEXT_BYTES)
        except zlib.error:
            return None
        if unpack.unconsumed_tail:
            return None
    text, _ = decode_text(value)
    return value.decode("latin-1") if text is None else text
