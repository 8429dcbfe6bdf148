"""Interface of all format writers, and their settings."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import ClassVar, Protocol

from media.ffmpeg import Frames
from media.input_files import CHOOSE_ANOTHER
from pipelines.plan.choices import GifOptimize, Mp4Preset, Mp4Tune
from pipelines.plan.faults import Fault


class DamagedClipError(RuntimeError):
    """File that is not a whole clip; the text says why."""


def damaged_clip(path: Path) -> Fault:
    """Build the fault that people see for a damaged clip."""
    return Fault(
        code="clip.damaged",
        field="file",
        rule="be a whole, playable clip",
        got=path.name,
        fix=CHOOSE_ANOTHER,
        seen="{got:s}, which is damaged or not one",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Encoding settings, with a request's field names and defaults.

    Args:
        max_bytes: Largest file; 0 sets no limit. Formats without loss keep their size.
        gif_colours: Colours of a GIF's palette, 2 to 256. No field: lowered only to keep below `max_bytes`.
        gif_scale: Size of a GIF's frames as a part of the clip's, above 0 to 1. No field either.
    """

    mp4_crf: int = 18
    mp4_preset: Mp4Preset = Mp4Preset.MEDIUM
    mp4_tune: Mp4Tune = Mp4Tune.NONE
    webm_crf: int = 31
    webp_quality: int = 80
    webp_lossless: bool = False
    gif_palette: bool = True
    gif_optimize: GifOptimize = GifOptimize.OFF
    gif_lossiness: int = 80
    loop_count: int = 0
    max_bytes: int = 0
    gif_colours: int = 256
    gif_scale: Fraction = Fraction(1)


USUAL = Encoding()


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Properties of a clip that are fixed before its first frame.

    Args:
        folder: Private working directory of this writer, on the same disk as the target.
        fps: Exact frame rate.
        width, height: Frame size, pixels.
        recipe: Text that the file carries; any Unicode but NUL.
        encoding: How it is encoded.
        alpha: Whether frames have a fourth channel, 0 where nothing is seen.
    """

    folder: Path
    fps: Fraction
    width: int
    height: int
    recipe: str
    encoding: Encoding = USUAL
    alpha: bool = False

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return 4 if self.alpha else 3


class FormatWriter(Protocol):
    """Writer of one format: `write`, then either `finish` or `abort`.

    Attributes:
        suffix: The ending of the file's name, with its dot.
    """

    suffix: ClassVar[str]

    def __init__(self, spec: ClipSpec) -> None: ...

    def write(self, frames: Frames) -> None:
        """Write frames, uint8 [n, H, W, channels], without keeping them."""

    def finish(self) -> Path:
        """Complete the file and return its path in the working directory."""

    def abort(self) -> None:
        """Release processes and files; harmless at any time, even twice."""


def start_in_ticks(frame: int, fps: Fraction, ticks_per_s: int) -> int:
    """Round a frame's start to a coarse clock.

    Rounding starts, not durations, keeps the clip's length.

    Example:
        >>> [start_in_ticks(frame, Fraction(8), 100) for frame in range(4)]
        [0, 13, 25, 38]
    """
    return floor(frame * ticks_per_s / fps + Fraction(1, 2))
