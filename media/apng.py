"""APNG writer and reader, lossless; the recipe is a text chunk."""

import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

from media.fed_writer import FedWriter
from media.formats import ClipSpec, DamagedClipError

RECIPE_KEY = "parameters"
"""How the text is called in a PNG; image generators agree on it."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = len(_SIGNATURE) + 25
_MAX_U16 = 0xFFFF


class ApngWriter(FedWriter):
    """Stream frames into an APNG, then put the recipe behind its header."""

    suffix: ClassVar[str] = ".png"  # what programs know; those that cannot animate show the first frame

    def __init__(self, spec: ClipSpec) -> None:
        # Measured on 512 x 512 pictures: level 6, the default, takes twice as long for files 2 % smaller.
        super().__init__(
            spec,
            *("-c:v", "apng", "-pred", "mixed", "-compression_level", "3"),
            *("-pix_fmt", "rgba" if spec.alpha else "rgb24"),
            *("-plays", str(spec.encoding.loop_count), "-fflags", "+bitexact", "-f", "apng", "plain.png"),
        )

    def finish(self) -> Path:
        """Complete the file; copies only."""
        self._feed.finish()
        path = self._spec.folder / "clip.png"
        with (self._spec.folder / "plain.png").open("rb") as plain, path.open("wb") as target:
            target.write(plain.read(_HEADER_BYTES))
            target.write(text_chunk(self._spec.recipe))
            if self._num_frames == 1:  # for ffmpeg that is a plain picture, which has no duration
                target.write(_only_frame(self._spec))
            shutil.copyfileobj(plain, target)
        return path


def text_chunk(text: str) -> bytes:
    """Build the PNG chunk that holds a recipe, in UTF-8."""
    return _chunk(b"iTXt", RECIPE_KEY.encode() + b"\0\0\0\0\0" + text.encode())


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield each chunk's kind and size, up to IEND, before its content.

    Raises:
        DamagedClipError: The file is cut off.
    """
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            raise DamagedClipError("cut off")
        size, kind = int.from_bytes(header[:4]), header[4:]
        yield kind, size
        at += 12 + size


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _only_frame(spec: ClipSpec) -> bytes:
    """Build the chunks that make a picture an animation of one frame."""
    lasts = (1 / spec.fps).limit_denominator(max(1, min(_MAX_U16, int(_MAX_U16 * spec.fps))))
    frame = struct.pack(">IIIIIHHBB", 0, spec.width, spec.height, 0, 0, *lasts.as_integer_ratio(), 0, 0)
    return _chunk(b"acTL", struct.pack(">II", 1, spec.encoding.loop_count)) + _chunk(b"fcTL", frame)
