"""Search the best quality that fits a maximum file size."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from media.formats import Encoding
from media.gifsicle import gifsicle_path
from pipelines.plan.choices import GifOptimize, OutputFormat

ADJUSTABLE = frozenset({OutputFormat.MP4, OutputFormat.WEBM, OutputFormat.WEBP, OutputFormat.GIF})
"""Formats that can be made smaller at the cost of quality."""

MAX_TRIES = 6
"""Encodes that a search takes at most: half of what is left goes with each."""

Event = TypeVar("Event")

_WORST_MP4_CRF, _WORST_WEBM_CRF = 51, 63
_GIF_LOSSINESS = (20, 40, 80, 120, 200)
_GIF_COLOURS = (128, 64, 32)
_GIF_SCALES = (Fraction(3, 4), Fraction(1, 2), Fraction(3, 8), Fraction(1, 4))


def lower_qualities(kind: OutputFormat, now: Encoding) -> list[Encoding]:
    """List lower-quality encodings, best first.

    At most 63, which bisection decides in six tries.

    A GIF first lets pixels change a little, where gifsicle is there; then it has fewer colours, and in the end
    it becomes smaller.
    """
    levels: list[Encoding] = []
    match kind:
        case OutputFormat.MP4:
            levels = [replace(now, mp4_crf=crf) for crf in range(now.mp4_crf + 1, _WORST_MP4_CRF + 1)]
        case OutputFormat.WEBM:
            levels = [replace(now, webm_crf=crf) for crf in range(now.webm_crf + 1, _WORST_WEBM_CRF + 1)]
        case OutputFormat.WEBP:
            best = 100 if now.webp_lossless else now.webp_quality - 1
            levels = [replace(now, webp_lossless=False, webp_quality=quality) for quality in range(best, 0, -1)]
        case OutputFormat.GIF:
            levels = _smaller_gifs(now)
    every = -(-len(levels) // (2**MAX_TRIES - 1)) or 1
    return levels[::-1][::every][::-1]


def _smaller_gifs(now: Encoding) -> list[Encoding]:
    levels: list[Encoding] = []
    if gifsicle_path():
        lossiness = now.gif_lossiness if now.gif_optimize is GifOptimize.LOSSY else 0
        allowed = [level for level in _GIF_LOSSINESS if level > lossiness]
        levels = [replace(now, gif_optimize=GifOptimize.LOSSY, gif_lossiness=level) for level in allowed]
    for colours in _GIF_COLOURS:
        levels.append(replace((levels or [now])[-1], gif_palette=True, gif_colours=colours))
    return levels + [replace(levels[-1], gif_scale=scale) for scale in _GIF_SCALES]


def best_that_fits(
    levels: Sequence[Encoding], max_bytes: int, encode: Callable[[Encoding], Generator[Event, None, Path]]
) -> Generator[Event, None, tuple[Encoding, Path]]:
    """Find the best level that is small enough, else the last.

    Args:
        levels: Ever smaller files; at least one.
        max_bytes: Largest file that is small enough.
        encode: Writes the file of a level, yielding progress. Files of other levels are deleted.

    Yields:
        As `encode`.
    """
    low, high = 0, len(levels)
    best: tuple[Encoding, Path] | None = None
    while low < high:
        middle = (low + high) // 2
        path = yield from encode(levels[middle])
        fits = path.stat().st_size <= max_bytes
        if fits:
            high = middle
        else:
            low = middle + 1
        if fits or low == len(levels):
            if best:
                best[1].unlink()
            best = levels[middle], path
        else:
            path.unlink()
    assert best is not None
    return best


def size_warning(kind: OutputFormat, first: Encoding, last: Encoding, num_bytes: int) -> str:
    """Describe how a file that was too large ended up.

    Args:
        kind: The format.
        first, last: As wished, and as the file is encoded.
        num_bytes: The file's size now.
    """
    limit = f"{first.max_bytes / 1e6:g} MB"
    if num_bytes <= first.max_bytes:
        return f"The {kind} was written with {_quality(kind, last)} to stay within {limit}."
    got = f"The {kind} has {num_bytes / 1e6:.2f} MB, more than {limit}"
    if kind not in ADJUSTABLE:
        return f"{got}: it loses nothing, so there is no quality to lower. Choose another of the 'Formats'."
    return f"{got}, even with {_quality(kind, last)}. Make the clip smaller or shorter."


def _quality(kind: OutputFormat, encoding: Encoding) -> str:
    """Describe how a file is encoded, in words."""
    match kind:
        case OutputFormat.MP4:
            return f"CRF {encoding.mp4_crf}"
        case OutputFormat.WEBM:
            return f"CRF {encoding.webm_crf}"
        case OutputFormat.WEBP:
            return f"quality {encoding.webp_quality}"
        case _:
            lossy = encoding.gif_optimize is GifOptimize.LOSSY
            scale = float(encoding.gif_scale)
            parts = (
                f"lossiness {encoding.gif_lossiness}" if lossy else "",
                f"{encoding.gif_colours} colours" if encoding.gif_colours < 256 else "",
                f"{scale:.0%} of its size" if scale < 1 else "",
            )
            return ", ".join(filter(None, parts))
