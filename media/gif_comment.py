"""Comments of GIF files, by the GIF89a layout: header, colour table, then blocks."""

import shutil
from pathlib import Path
from typing import BinaryIO

_HEADER_BYTES = 13
_FLAGS_AT = 10
_HAS_COLOUR_TABLE = 0x80
_EXTENSION = 0x21
_COMMENT = 0xFE
_LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01"
_LOOP_BYTES = 19
_MAX_SUB_BLOCK = 255
_MAX_COMMENT_BYTES = 4 << 20


def copy_with_comment(source: BinaryIO, target: BinaryIO, comment: str) -> None:
    """Copy a GIF that has no comment and put one before its first frame, without decoding anything.

    It goes behind the loop count, which some players look for right after the colour table.
    """
    target.write(_read_header(source))
    loop = source.read(_LOOP_BYTES)
    behind = loop.startswith(_LOOP)
    block = _comment_block(comment)
    target.write(loop + block if behind else block + loop)
    shutil.copyfileobj(source, target)


def read_gif_comment(path: Path) -> str | None:
    """The comment before the first frame of a GIF, None when it has none or the file is damaged."""
    with path.open("rb") as file:
        _read_header(file)
        while file.read(1) == bytes([_EXTENSION]):
            is_comment = file.read(1) == bytes([_COMMENT])
            data = _read_sub_blocks(file)
            if data is None:
                return None
            if is_comment:
                return data.decode(errors="replace")
    return None


def _read_header(file: BinaryIO) -> bytes:
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header[_FLAGS_AT] & _HAS_COLOUR_TABLE:
        return header
    num_colours = 2 << (header[_FLAGS_AT] & 7)
    return header + file.read(3 * num_colours)


def _comment_block(comment: str) -> bytes:
    data = comment.encode()
    parts = [data[i : i + _MAX_SUB_BLOCK] for i in range(0, len(data), _MAX_SUB_BLOCK)]
    return bytes([_EXTENSION, _COMMENT]) + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _read_sub_blocks(file: BinaryIO) -> bytes | None:
    data = bytearray()
    while size := file.read(1):
        if size == b"\0":
            return bytes(data)
        data += file.read(size[0])
        if len(data) > _MAX_COMMENT_BYTES:
            return None
    return None
