"""Normalise depth over the whole clip in two passes over maps.

The raw maps lie on disk. One range for all frames: they do not flicker.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from controlnet.preprocessor import Spread
from pipelines.plan.image_fit import Frames

Maps = npt.NDArray[np.float32]
_BINS = 1 << 16
_CHUNK = 8  # maps looked at together
_ROUNDING = 1e-4  # of a value: less is what networks compute differently from one frame to the next, and no depth
_TINY = 1e-12


def clip_range(maps: Maps, spread: Spread) -> tuple[float, float]:
    """Find the values of a clip that become black and white.

    Percentiles are exact to a 65,536th of the clip's whole range; only a few maps are in memory at a time.

    Args:
        maps: float32 [frames, h, w], finite; may be a memory map.
        spread: Which percentiles, and of what.

    Returns:
        Black and white, the second above the first by at least `spread.least` and more than rounding.

    Example:
        >>> maps = np.linspace(0, 10, 1001, dtype=np.float32).reshape(1, 1, 1001)
        >>> [round(value, 2) for value in clip_range(maps, Spread(low=2, high=98))]
        [0.2, 9.8]
    """
    chunks = [
        float(bound) for chunk in _counted_values(maps, spread) if chunk.size for bound in (chunk.min(), chunk.max())
    ]
    if not chunks:
        return 0.0, max(spread.least, _TINY)
    least, most = min(chunks), max(chunks)
    narrowest = max(spread.least, _ROUNDING * max(abs(least), abs(most)), _TINY)
    counts = np.zeros(_BINS, np.int64)
    span = max(most - least, _TINY)
    for chunk in _counted_values(maps, spread):
        places = ((chunk.astype(np.float64) - least) * ((_BINS - 1) / span)).astype(np.int64)
        counts += np.bincount(places, minlength=_BINS)
    shares = np.cumsum(counts) / counts.sum() * 100

    def percentile(share: float) -> float:
        return least + float(np.searchsorted(shares, share)) / (_BINS - 1) * span

    black = 0.0 if spread.low is None else percentile(spread.low)
    return black, max(percentile(spread.high), black + narrowest)


def as_grey_frames(maps: Maps, black: float, white: float, *, is_inverted: bool) -> Frames:
    """Render maps as grey frames, clipped to black and white.

    A clip without differences gets one shade.

    Returns:
        uint8 [n, h, w, 3].
    """
    shares = np.clip((maps - black) / (white - black), 0, 1)
    grey = np.rint((1 - shares if is_inverted else shares) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _counted_values(maps: Maps, spread: Spread) -> Iterator[Maps]:
    for start in range(0, len(maps), _CHUNK):
        chunk = np.asarray(maps[start : start + _CHUNK])
        yield chunk.ravel() if spread.above is None else chunk[chunk > spread.above]
