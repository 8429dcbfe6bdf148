"""GIF: one palette for the whole clip, exact timing, endless loop, the recipe as its comment.

A good palette needs all frames before the first can be written. ffmpeg's one-pass recipe therefore keeps the
clip in memory; a palette per frame streams, but flickers. So frames go to a lossless file on disk while the
palette is gathered, and a second pass writes the GIF: memory stays the same for any length.
"""

from fractions import Fraction
from math import floor
from pathlib import Path
from typing import ClassVar

from media.ffmpeg import FrameFeed, Frames, raw_video, run_ffmpeg
from media.formats import ClipSpec
from media.gif_comment import copy_with_comment

MAX_GIF_FPS = 50
"""Browsers show a frame that should last less than 2 hundredths of a second for 10."""

_PALETTE_SIDE = 16
# Colours are counted in steps of 4 of 255, so that a long, noisy clip has 262,144 of them, not 16 million.
_COUNT_COLOURS = "lutrgb=r=round(val/4)*4:g=round(val/4)*4:b=round(val/4)*4,palettegen=stats_mode=full"
_USE_PALETTE = "paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle"
_LOSSLESS = ("-c:v", "libx264rgb", "-qp", "0", "-preset", "ultrafast", "-threads", "2")


class GifWriter:
    """Stream frames to disk and their colours into a palette, then make the GIF."""

    suffix: ClassVar[str] = ".gif"

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._num_frames = 0
        self._feed = FrameFeed(
            spec.folder,
            *("-filter_complex", f"[0:v]split[all][count];[count]{_COUNT_COLOURS}[palette]"),
            *("-map", "[palette]", "-f", "rawvideo", "-pix_fmt", "bgra", "palette.raw"),
            *("-map", "[all]", *_LOSSLESS, "-f", "nut", "frames.nut"),
            width=spec.width,
            height=spec.height,
            fps=spec.fps,
        )

    def write(self, frames: Frames) -> None:
        """Take frames, uint8 [n, H, W, 3]."""
        self._feed.write(frames)
        self._num_frames += len(frames)

    def finish(self) -> Path:
        """Make the GIF; takes about as long again as all the writes."""
        self._feed.finish()
        fps, folder = self._spec.fps, self._spec.folder
        last = _start_cs(self._num_frames, fps) - _start_cs(self._num_frames - 1, fps)
        in_cs = f"settb=1/100,setpts=floor(N*{100 * fps.denominator}/{fps.numerator}+0.5)"
        run_ffmpeg(
            *(
                "-y",
                "-i",
                "frames.nut",
                *raw_video("bgra", _PALETTE_SIDE, _PALETTE_SIDE, fps),
                "-i",
                "palette.raw",
            ),
            *("-filter_complex", f"[0:v][1:v]{_USE_PALETTE},{in_cs}"),
            *("-fps_mode", "passthrough", "-enc_time_base", "1/100", "-loop", "0", "-final_delay", str(last)),
            *("-f", "gif", "plain.gif"),
            folder=folder,
        )
        path = folder / "clip.gif"
        with (folder / "plain.gif").open("rb") as plain, path.open("wb") as target:
            copy_with_comment(plain, target, self._spec.recipe)
        return path

    def abort(self) -> None:
        """End ffmpeg."""
        self._feed.abort()


def _start_cs(frame: int, fps: Fraction) -> int:
    """When a frame starts, in 1/100 s. Rounding starts, not durations, keeps the clip's length."""
    return floor(frame * 100 / fps + Fraction(1, 2))
