"""Comments of GIF files, by the GIF89a block layout."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from media.letters import decode_tag

_HEADER_BYTES = 13
_FLAGS_AT = 10
_HAS_COLOUR_TABLE = 0x80
_EXTENSION, _IMAGE, _COMMENT = b"\x21", b"\x2c", b"\xfe"
_IMAGE_BYTES = 9
_LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01"
_LOOP_BYTES = 19
_MAX_SUB_BLOCK = 255
_MAX_COMMENT_BYTES = 4 << 20


def copy_with_comment(source: BinaryIO, target: BinaryIO, comment: str) -> None:
    """Copy a GIF undecoded, adding a comment before the first frame.

    It goes behind the loop count, which some players look for right after the colour table.
    """
    target.write(_read_header(source))
    loop = source.read(_LOOP_BYTES)
    behind = loop.startswith(_LOOP)
    block = _comment_block(comment)
    target.write(loop + block if behind else block + loop)
    shutil.copyfileobj(source, target)


def iter_gif_comments(path: Path) -> Iterator[str]:
    """Yield the comments of a GIF, up to any damage.

    Comments that fill their blocks are parts of one that was too long for its writer.
    """
    pending = b""
    with path.open("rb") as file:
        _read_header(file)
        for data in _comments(file):
            pending += data
            if not data or len(data) % _MAX_SUB_BLOCK:
                yield decode_tag(pending)
                pending = b""
    if pending:
        yield decode_tag(pending)


def _comments(file: BinaryIO) -> Iterator[bytes]:
    while (kind := file.read(1)) in (_EXTENSION, _IMAGE):
        if kind == _IMAGE:
            flags = file.read(_IMAGE_BYTES)[-1:] or b"\0"
            table = 3 * (2 << (flags[0] & 7)) if flags[0] & _HAS_COLOUR_TABLE else 0
            file.seek(table + 1, os.SEEK_CUR)
            if not _skip_sub_blocks(file):
                return
        elif file.read(1) == _COMMENT:
            data = _read_sub_blocks(file)
            if data is None:
                return
            yield data
        elif not _skip_sub_blocks(file):
            return


def _skip_sub_blocks(file: BinaryIO) -> bool:
    while size := file.read(1):
        if size == b"\0":
            return True
        file.seek(size[0], os.SEEK_CUR)
    return False


def _read_header(file: BinaryIO) -> bytes:
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header[_FLAGS_AT] & _HAS_COLOUR_TABLE:
        return header
    num_colours = 2 << (header[_FLAGS_AT] & 7)
    return header + file.read(3 * num_colours)


def _comment_block(comment: str) -> bytes:
    data = comment.encode()
    parts = [data[i : i + _MAX_SUB_BLOCK] for i in range(0, len(data), _MAX_SUB_BLOCK)]
    return _EXTENSION + _COMMENT + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _read_sub_blocks(file: BinaryIO) -> bytes | None:
    data = bytearray()
    while size := file.read(1):
        if size == b"\0":
            return bytes(data)
        data += file.read(size[0])
        if len(data) > _MAX_COMMENT_BYTES:
            return None
    return None
