"""TXT writer: the recipe alone, to keep or to edit."""

from pathlib import Path
from typing import ClassVar

from media.ffmpeg import Frames
from media.formats import ClipSpec, DamagedClipError

_MAX_TEXT_BYTES = 4 << 20


class TextWriter:
    """Write the recipe, letter by letter; frames pass by."""

    suffix: ClassVar[str] = ".txt"

    def __init__(self, spec: ClipSpec) -> None:
        self._path = spec.folder / "recipe.txt"
        self._path.write_bytes(spec.recipe.encode())

    def write(self, frames: Frames) -> None:
        """Ignore the frames."""

    def finish(self) -> Path:
        """Return the file, which was complete from the beginning."""
        return self._path

    def abort(self) -> None:
        """Do nothing; no resource is held."""


def read_text_recipe(path: Path) -> str:
    """Read the whole text.

    Raises:
        DamagedClipError: It is longer than any recipe, or not UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_TEXT_BYTES + 1)
    if len(data) > _MAX_TEXT_BYTES:
        raise DamagedClipError(f"more than {_MAX_TEXT_BYTES:,} bytes")
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as err:
        raise DamagedClipError("not UTF-8") from err
