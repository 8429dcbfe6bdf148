"""Cache of finished control clips in a folder of bounded size."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from controlnet.clip_range import Maps
from pipelines.plan.image_fit import Frames

_GIGABYTE = 1 << 30
_ABANDONED_S = 24 * 3600  # a file still unfinished after a day was left by a process that was killed


class ControlClip:
    """Finished control clip in a file: a `FrameClip`.

    The file stays readable for as long as this lives, even where the cache has removed it meanwhile.
    """

    def __init__(self, path: Path, fps: Fraction | None) -> None:
        self._frames: Frames = np.load(path, mmap_mode="r")
        self.fps = fps

    @property
    def num_frames(self) -> int:
        """Its frames."""
        return len(self._frames)

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self._frames.shape[2])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self._frames.shape[1])

    def frames(self, indices: Sequence[int]) -> Frames:
        """Read the frames at these places, uint8 [n, height, width, 3]."""
        return np.stack([self._frames[index] for index in indices])


class RawMaps:
    """Raw float32 maps of one size, appended to a file, then read."""

    def __init__(self, path: Path, file: BinaryIO, *, height: int, width: int) -> None:
        self._path = path
        self._file = file
        self._size = height, width

    def append(self, maps: np.ndarray) -> None:
        """Add maps [n, h, w]."""
        self._file.write(np.ascontiguousarray(maps, dtype=np.float32).data)

    def maps(self) -> Maps:
        """All of them as a memory map, float32 [n, h, w]."""
        self._file.flush()
        return np.memmap(self._path, np.float32, mode="r").reshape(-1, *self._size)


@dataclass(frozen=True, slots=True)
class ControlCache:
    """Folder of control clips, named by a hash of their inputs.

    Args:
        folder: Where they lie; made when it is needed.
        limit: Bytes they may take; past it those used longest ago are removed.
    """

    folder: Path
    limit: int = 4 * _GIGABYTE

    def open(self, key: str, fps: Fraction | None) -> ControlClip | None:
        """Open and mark as used the clip of this key, or None."""
        path = self._path(key)
        try:
            clip = ControlClip(path, fps)
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # removed meanwhile, or not ours: it can be read all the same
            os.utime(path)
        return clip

    @contextlib.contextmanager
    def adding(self, key: str, shape: tuple[int, int, int, int]) -> Iterator[BinaryIO]:
        """Write a clip's frames in order, uint8.

        The clip exists once the block has ended without an error; otherwise nothing is left.
        """
        with self._scratch() as (path, file):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            yield file
            file.close()
            try:
                path.replace(self._path(key))
            except PermissionError:  # Windows replaces nothing that is being read; what is there is the same
                if not self._path(key).is_file():
                    raise

    @contextlib.contextmanager
    def raw_maps(self, *, height: int, width: int) -> Iterator[RawMaps]:
        """Open a file for any number of maps, removed after the block."""
        with self._scratch() as (path, file):
            yield RawMaps(path, file, height=height, width=width)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[tuple[Path, BinaryIO]]:
        """Open a temporary file in the folder, removed unless it was renamed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Written by `write`: over a memory map, a full disk would end the process.
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            path = Path(file.name)
            try:
                yield path, cast(BinaryIO, file)
            finally:
                file.close()
                _remove(path)

    def trim(self) -> None:
        """Trim the least recently used clips, always keeping the newest."""
        files = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process trims, too
                files.append((path.stat(), path))
        now = time.time()
        finished = []
        for stat, path in files:
            if path.suffix == ".npy":
                finished.append((stat.st_mtime_ns, stat.st_size, path))
            elif now - stat.st_mtime > _ABANDONED_S:
                _remove(path)
        finished.sort(reverse=True, key=lambda entry: entry[0])
        total_size = 0
        for place, (_, size, path) in enumerate(finished):
            total_size += size
            if place and total_size > self.limit:
                _remove(path)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"


def _remove(path: Path) -> None:
    """Delete a file.

    On Windows one that is being read stays until the next trim.
    """
    with contextlib.suppress(PermissionError):
        path.unlink(missing_ok=True)
