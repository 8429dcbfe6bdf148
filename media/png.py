"""PNG sequence in a zip: lossless frames, timing and recipe."""

import json
import zipfile
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import ClassVar

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from media.apng import RECIPE_KEY
from media.ffmpeg import Frames
from media.formats import ClipSpec, DamagedClipError

_CLIP, _RECIPE = "clip.json", "recipe.json"
_MAX_TEXT_BYTES = 4 << 20
# Measured on 512 x 512 pictures: level 6, the default, takes twice as long for files a tenth smaller.
_COMPRESS_LEVEL = 3


class PngWriter:
    """Put `00000.png`, `00001.png`, ... into a zip, one at a time."""

    suffix: ClassVar[str] = ".zip"

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._num_frames = 0
        self._path = spec.folder / "frames.zip"
        self._zip = zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED)
        self._add(_RECIPE, spec.recipe.encode())

    def write(self, frames: Frames) -> None:
        """Write frames, uint8 [n, H, W, channels]; the first carries the recipe."""
        for frame in frames:
            text = PngInfo()
            if self._num_frames == 0:
                text.add_itxt(RECIPE_KEY, self._spec.recipe)
            png = BytesIO()
            Image.fromarray(frame).save(png, "PNG", pnginfo=text, compress_level=_COMPRESS_LEVEL)
            self._add(f"{self._num_frames:05}.png", png.getvalue())
            self._num_frames += 1

    def finish(self) -> Path:
        """Add `clip.json`, complete only now, and the zip's index."""
        spec = self._spec
        about = {
            "fps": str(spec.fps),
            "width": spec.width,
            "height": spec.height,
            "num_frames": self._num_frames,
        }
        self._add(_CLIP, json.dumps(about).encode())
        self._zip.close()
        return self._path

    def abort(self) -> None:
        """Close the file, which may be half written."""
        with suppress(OSError, ValueError):
            self._zip.close()

    def _add(self, name: str, data: bytes) -> None:
        # ZipInfo's fixed date, so that the same clip gives the same bytes.
        self._zip.writestr(zipfile.ZipInfo(name), data)


def read_png_recipe(path: Path) -> str | None:
    """Read the recipe of a zip of frames; None without one.

    Raises:
        DamagedClipError: It cannot be read as a zip.
    """
    with _open_zip(path) as file:
        return (
            _read_member(file, _RECIPE, _MAX_TEXT_BYTES).decode(errors="replace")
            if _RECIPE in file.namelist()
            else None
        )


def unpack_frames(path: Path, folder: Path) -> None:
    """Unpack a zip of this app into a folder."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as err:
        raise DamagedClipError("its index cannot be read") from err


def _read_member(file: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """Read one member, not trusting its claimed size."""
    try:
        with file.open(name) as member:
            data = member.read(max_bytes + 1)
    except (KeyError, RuntimeError, OSError, zipfile.BadZipFile, zlib.error) as err:
        raise DamagedClipError(f"{name} cannot be read") from err
    if len(data) > max_bytes:
        raise DamagedClipError(f"{name} is larger than {max_bytes:,} bytes")
    return data
