"""GIF writer: one palette per clip, exact timing, recipe as comment.

A good palette needs all frames before the first can be written. ffmpeg's one-pass recipe therefore keeps the
clip in memory; a palette per frame streams, but flickers. So frames go to a lossless file on disk while the
palette is gathered, and a second pass writes the GIF: memory stays the same for any length.
"""

from itertools import product
from pathlib import Path
from typing import ClassVar

from media.fed_writer import FedWriter
from media.ffmpeg import raw_video, run_ffmpeg
from media.formats import ClipSpec, start_in_ticks
from media.gif_comment import copy_with_comment
from media.gifsicle import optimize
from media.stored_frames import without_loss
from pipelines.plan.choices import GifOptimize

MAX_GIF_FPS = 50
"""Browsers show a frame that should last less than 2 hundredths of a second for 10."""

_PALETTE_SIDE = 16
# Colours are counted in steps of 4 of 255, so that a long, noisy clip has 262,144 of them, not 16 million.
_COUNT_COLOURS = "lutrgb=r=round(val/4)*4:g=round(val/4)*4:b=round(val/4)*4,palettegen=stats_mode=full:max_colors="
_USE_PALETTE = "paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle"


class GifWriter(FedWriter):
    """Stream frames to disk, collect a palette, then write the GIF."""

    suffix: ClassVar[str] = ".gif"

    def __init__(self, spec: ClipSpec) -> None:
        store = (*without_loss(alpha=spec.alpha), "-f", "nut", "frames.nut")
        count = f"[0:v]split[all][count];[count]{_COUNT_COLOURS}{spec.encoding.gif_colours}[palette]"
        palette = ("-map", "[palette]", "-f", "rawvideo", "-pix_fmt", "bgra", "palette.raw")
        if not spec.encoding.gif_palette:
            (spec.folder / "palette.raw").write_bytes(usual_palette())
        super().__init__(
            spec,
            *(("-filter_complex", count, *palette, "-map", "[all]", *store) if spec.encoding.gif_palette else store),
        )

    def finish(self) -> Path:
        """Make the GIF; takes about as long again as all the writes."""
        self._feed.finish()
        folder, encoding = self._spec.folder, self._spec.encoding
        coloured, path = folder / "coloured.gif", folder / "clip.gif"
        self._colour(coloured)
        if encoding.gif_optimize is not GifOptimize.OFF:
            smaller = folder / "optimized.gif"
            optimize(coloured, smaller, encoding.gif_optimize, encoding.gif_lossiness)
            coloured = smaller
        with coloured.open("rb") as plain, path.open("wb") as target:
            copy_with_comment(plain, target, self._spec.recipe)
        return path

    def _colour(self, target: Path) -> None:
        """Write the frames with the palette, in whole hundredths of a second."""
        spec, fps, scale = self._spec, self._spec.fps, self._spec.encoding.gif_scale
        last = start_in_ticks(self._num_frames, fps, 100) - start_in_ticks(self._num_frames - 1, fps, 100)
        in_cs = f"settb=1/100,setpts=floor(N*{100 * fps.denominator}/{fps.numerator}+0.5)"
        width, height = (max(1, round(side * scale)) for side in (spec.width, spec.height))
        sized = "null" if scale == 1 else f"scale={width}:{height}:flags=lanczos"
        palette = raw_video("bgra", _PALETTE_SIDE, _PALETTE_SIDE, fps)
        run_ffmpeg(
            *("-y", "-i", "frames.nut", *palette, "-i", "palette.raw"),
            *("-filter_complex", f"[0:v]{sized}[sized];[sized][1:v]{_USE_PALETTE},{in_cs}"),
            *("-fps_mode", "passthrough", "-enc_time_base", "1/100", "-final_delay", str(last)),
            *("-loop", str(_times_again(spec.encoding.loop_count)), "-f", "gif", target.name),
            folder=spec.folder,
        )


def usual_palette() -> bytes:
    """Build a palette for any clip, BGRA.

    Six shades of red and blue, seven of green, three greys, and one transparent.
    """
    greens = [round(level * 255 / 6) for level in range(7)]
    shades = range(0, 256, 51)
    colours = [bytes((blue, green, red, 255)) for red, green, blue in product(shades, greens, shades)]
    greys = [bytes((level, level, level, 255)) for level in (64, 128, 192)]
    return b"".join([*colours, *greys, bytes(4)])


def _times_again(plays: int) -> int:
    """Convert plays to GIF's number of repeats.

    ffmpeg's -1 leaves the number out, which means once.
    """
    return {0: 0, 1: -1}.get(plays, plays - 1)
