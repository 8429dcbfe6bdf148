"""Random-access frame store in an unnamed temporary file.

Memory holds only the frames read.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

import numpy as np

from media.ffmpeg import Frames


class FrameFile:
    """Frames of one size in an unnamed temporary file. A `FrameClip`.

    It is read, not mapped: pages of a mapped file count as the process's memory.

    Attributes:
        width, height: Pixels.
        fps: Exact; None if unknown.
        num_frames: Frames so far.
        complaint: What is wrong with the file they came from, though it could be used; empty if nothing.

    Args:
        folder: Where the file is; the system's own place for temporary files if None.
    """

    def __init__(self, *, width: int, height: int, fps: Fraction | None, folder: Path | None = None) -> None:
        self.width, self.height, self.fps = width, height, fps
        self.num_frames = 0
        self.complaint = ""
        self._shape = (height, width, 3)
        self._num_bytes = height * width * 3
        self._lock = Lock()
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this object

    def append(self, frame: Frames) -> None:
        """Add a frame, uint8 [height, width, 3]."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame must be uint8 {list(self._shape)}, got {frame.dtype} {list(frame.shape)}")
        with self._lock:
            self._file.seek(self.num_frames * self._num_bytes)
            self._file.write(np.ascontiguousarray(frame).data)
            self.num_frames += 1

    def frames(self, indices: Sequence[int]) -> Frames:
        """Read the frames at these places, in this order.

        Returns:
            uint8 [n, height, width, 3]; a place named twice is there twice.

        Raises:
            IndexError: There is no such place; those before the first do not count from the end.
        """
        stacked = np.empty((len(indices), *self._shape), np.uint8)
        for row, index in zip(stacked, indices, strict=True):
            if not 0 <= index < self.num_frames:
                raise IndexError(f"frame must be 0 to {self.num_frames - 1}, got {index}")
            with self._lock:
                self._file.seek(index * self._num_bytes)
                self._file.readinto(row.data)
        return stacked

    def close(self) -> None:
        """Close the file at once; harmless twice."""
        self._file.close()
