"""Frame interpolation by optical flow; needs no weights.

Dense inverse search (Kroeger et al. 2016, arXiv:1603.03590) finds where every pixel of one frame lies in the other,
from both sides. What both sides agree on is trusted: trusted pixels carry their motion to where they are at the
new time, and there both frames are fetched back along it. A pixel that only one frame shows, because something
covers it in the other, comes from that one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from finishing.stages import Picture

Field = npt.NDArray[np.float32]
"""Of every pixel: float32 [H, W], or with what it moves by in x and y, pixels, [H, W, 2]."""

SEARCH_SIDE = 256
"""Shorter side that motion is looked for in at least, pixels: smaller pictures are enlarged for it."""
AGREEMENT = 1.0
"""How far forth and back may miss before a pixel is trusted by 1/e, pixels."""
LIKENESS = 20.0
"""How much a pixel's colour may change on its way before it is trusted by 1/e, of 255."""
DOUBT = 1e-3
"""What a pixel that is not trusted at all still counts for, where there is no other."""


def draw_between(before: Picture, after: Picture, count: int) -> Iterator[Picture]:
    """Draw frames at even steps between two.

    Args:
        before, after: RGB uint8 [H, W, 3] of one size.
        count: How many, >= 1.

    Yields:
        uint8 [H, W, 3], from the nearest to `before` on.
    """
    grey = _greys(before, after)
    forth, back = _motion(*grey), _motion(*grey[::-1])
    sides = _Side.of(before, after, forth, back), _Side.of(after, before, back, forth)
    for number in range(count):
        yield _draw(*sides, (number + 1) / (count + 1))


@dataclass(frozen=True, slots=True)
class _Side:
    """Frame in float32 RGB, with its motion and how reliable that is."""

    picture: Field
    motion: Field
    trust: Field

    @classmethod
    def of(cls, picture: Picture, other: Picture, motion: Field, back: Field) -> "_Side":
        colours = picture.astype(np.float32)
        miss = np.square(motion + _fetch(back, motion)).sum(axis=2) / AGREEMENT**2
        change = np.abs(colours - _fetch(other.astype(np.float32), motion)).mean(axis=2) / LIKENESS
        return cls(colours, motion, np.exp(-miss - change) + DOUBT)


def _draw(first: _Side, last: _Side, time: float) -> Picture:
    """Blend the frame at a time from 0 (`first`) to 1 (`last`)."""
    seen_first, carried_first = _carry(first, time)
    seen_last, carried_last = _carry(last, 1 - time)
    motion = _fill(carried_first - carried_last, seen_first + seen_last)
    of_first, of_last = (1 - time) * seen_first + 1e-12, time * seen_last + 1e-12
    share = (of_last / (of_first + of_last))[..., None]
    blended = (1 - share) * _fetch(first.picture, -time * motion) + share * _fetch(last.picture, (1 - time) * motion)
    return np.clip(np.round(blended), 0, 255).astype(np.uint8)


def _carry(side: _Side, share: float) -> tuple[Field, Field]:
    """Splat every pixel over four pixels, moved by a share of motion.

    Returns:
        The trust that arrived at every pixel, and the motion that it brought, times that trust.
    """
    high, wide = side.trust.shape
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    to_x, to_y = x + share * side.motion[..., 0], y + share * side.motion[..., 1]
    left, top = np.floor(to_x), np.floor(to_y)
    sums = np.zeros((3, high * wide))
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        at_x, at_y = (left + right).astype(np.int64), (top + down).astype(np.int64)
        weight = side.trust * (1 - np.abs(to_x - at_x)) * (1 - np.abs(to_y - at_y))
        inside = (at_x >= 0) & (at_x < wide) & (at_y >= 0) & (at_y < high)
        place, weight = (at_y * wide + at_x)[inside], weight[inside]
        for total, value in zip(sums, (1, side.motion[inside][:, 0], side.motion[inside][:, 1]), strict=True):
            total += np.bincount(place, weight * value, high * wide)
    seen, *moved = sums.reshape(3, high, wide).astype(np.float32)
    return seen, np.stack(moved, axis=2)


def _fill(weighted: Field, weight: Field) -> Field:
    """Divide weighted motion by its weights, filling holes from coarser levels."""
    stacked = np.dstack([weighted, weight])
    if min(weight.shape) > 2:
        half = cv2.resize(stacked, (-(-weight.shape[1] // 2), -(-weight.shape[0] // 2)), interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(_fill(half[..., :2], half[..., 2]), weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        coarse = np.zeros_like(weighted)
    faint = np.float32(DOUBT / 10)
    return (stacked[..., :2] + faint * coarse) / (stacked[..., 2:] + faint)


def _greys(before: Picture, after: Picture) -> tuple[Picture, Picture]:
    """Reduce both frames to the mixture of colours that varies most.

    Brightness alone may not tell red from blue.
    """
    pixels = np.concatenate([before.reshape(-1, 3), after.reshape(-1, 3)]).astype(np.float32)
    middle = pixels.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((pixels - middle).T))
    values = (pixels - middle) @ axes[:, -1].astype(np.float32)
    low, high = values.min(), values.max()
    grey = ((values - low) * (255 / max(high - low, 1))).astype(np.uint8).reshape(2, *before.shape[:2])
    return grey[0], grey[1]


def _motion(before: Picture, after: Picture) -> Field:
    """Compute how every pixel of `before` moves until `after`, [H, W, 2]."""
    high, wide = before.shape
    scale = max(1.0, SEARCH_SIDE / min(high, wide))
    size = (round(wide * scale), round(high * scale))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    large = [cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC) for grey in (before, after)]
    flow = search.calc(large[0], large[1], None)
    motion = cv2.resize(flow, (wide, high), interpolation=cv2.INTER_AREA)
    return motion * np.array([wide / size[0], high / size[1]], np.float32)


def _fetch(picture: Field, motion: Field) -> Field:
    """Sample the picture, edges extended, at every pixel plus its motion."""
    high, wide = motion.shape[:2]
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    return cv2.remap(
        picture, x + motion[..., 0], y + motion[..., 1], interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
