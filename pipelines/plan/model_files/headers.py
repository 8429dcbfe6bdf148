"""Read weights files' headers without torch, for lists and settings.

It decides nothing about safety or fitness: what a file is, is found out for good when it is loaded.
"""

import json
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipelines.plan.model_files.foreign_files import MAPPED

_LIMIT = 1 << 25  # bytes; the header of a full Stable Diffusion XL checkpoint has a tenth of it


class Header(NamedTuple):
    """Names and shapes of a file's tensors, and the notes beside them."""

    shapes: dict[str, tuple[int, ...]]
    notes: dict[str, str]


EMPTY = Header({}, {})


def read_header(path: Path) -> Header:
    """Read names and shapes of .safetensors and PyTorch files, else none."""
    try:
        stat = path.stat()
    except OSError:
        return EMPTY
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, size: int, mtime_ns: int) -> Header:
    del mtime_ns  # part of the key: a changed file is another file
    if path.suffix.lower() not in MAPPED:
        return Header(_pickled_shapes(path), {})
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(_LIMIT, size):
                return EMPTY
            entries = json.loads(file.read(length))
        notes = entries.pop("__metadata__", None) or {}
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in entries.items()}
        return Header(shapes, {name: str(note) for name, note in notes.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return EMPTY


def _pickled_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read shapes off a PyTorch file's instructions without running them.

    Each tensor is its name, what its memory is called, then its place in that memory, shape and strides.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (entry,) = (member for member in archive.infolist() if member.filename.endswith("/data.pkl"))
            instructions = archive.read(entry) if entry.file_size <= _LIMIT else b""
        return dict(_tensors(instructions))
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def _tensors(instructions: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    name = ""
    numbers: list[int] | None = None
    for operation, argument, _ in pickletools.genops(instructions):
        if operation.name == "BINPERSID":
            numbers = []
        elif numbers is None:
            if isinstance(argument, str) and operation.name.endswith("BINUNICODE") and "." in argument:
                name = argument.removeprefix("module.")
        elif isinstance(argument, int) and operation.name.startswith(("BININT", "LONG")):
            numbers.append(argument)
        elif "TUPLE" in operation.name:
            yield name, tuple(numbers[1:])
            numbers = None
