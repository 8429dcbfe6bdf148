"""What every writer is given and must do, whatever it writes."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Protocol

from media.ffmpeg import Frames


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What is known of a clip before its first frame.

    Args:
        folder: Private working directory of this writer, on the same disk as the target.
        fps: Exact frame rate.
        width, height: Frame size, pixels.
        recipe: Text that the file carries; any Unicode but NUL.
    """

    folder: Path
    fps: Fraction
    width: int
    height: int
    recipe: str


class FormatWriter(Protocol):
    """One format. Built with a `ClipSpec`; then `write`s, then either `finish` or `abort`.

    Attributes:
        suffix: The ending of the file's name, with its dot.
    """

    suffix: ClassVar[str]

    def __init__(self, spec: ClipSpec) -> None: ...

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, 3], n >= 1, and keep none of them in memory."""

    def finish(self) -> Path:
        """Complete the file and say where in the working directory it is."""

    def abort(self) -> None:
        """Let go of processes and open files; must be harmless at any time, even twice."""
