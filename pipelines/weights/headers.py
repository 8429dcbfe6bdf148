"""A glance at a weights file without torch: what its header says, for lists and settings.

It decides nothing about safety or fitness: what a file is, is found out for good when it is loaded.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_LIMIT = 1 << 25  # bytes; the header of a full Stable Diffusion XL checkpoint has a tenth of it


class Header(NamedTuple):
    """Names and shapes of a file's tensors, and the notes beside them."""

    shapes: dict[str, tuple[int, ...]]
    notes: dict[str, str]


EMPTY = Header({}, {})


def read_header(path: Path) -> Header:
    """The header of a .safetensors file; an empty one for other files and for those that can't be read."""
    try:
        stat = path.stat()
    except OSError:
        return EMPTY
    return _read(path, stat.st_size, stat.st_mtime_ns) if path.suffix == ".safetensors" else EMPTY


@lru_cache(maxsize=256)
def _read(path: Path, size: int, mtime_ns: int) -> Header:
    del mtime_ns  # part of the key: a changed file is another file
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(_LIMIT, size):
                return EMPTY
            entries = json.loads(file.read(length))
        notes = entries.pop("__metadata__", {})
        return Header({name: tuple(entry["shape"]) for name, entry in entries.items()}, dict(notes))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return EMPTY
