"""Frame interpolation: how many frames where, and none across cuts."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from finishing.stages import Picture

Draw = Callable[[Picture, Picture, int], Iterator[Picture]]
"""Draws so many frames at even steps between two, in the order of time."""

CUT = 40.0
"""Change between two frames that is a cut, mean over colours of 255 and over the cells of a grid.

Measured on 400 scenes of the procedural world of 16 frames: two frames of one scene that follow each other change by
at most 16, with every second one left out by at most 30; two scenes differ by more than 40 in 19 of 20 pairs.
"""
_GRID = 16  # cells a side: what moves within a cell is no change


class BetweenStage:
    """Insert frames between every two, in loops around the end, too.

    Args:
        draw: What draws them.
        count: How many between two, >= 1.
        loops: Whether the first frame follows the last.
        held: How often the last frame is repeated where nothing follows it.
    """

    def __init__(self, draw: Draw, count: int, *, loops: bool, held: int = 0) -> None:
        self._draw = draw
        self._count = count
        self._loops = loops
        self._held = held
        self._first: Picture | None = None
        self._last: Picture | None = None

    def take(self, frame: Picture) -> Iterator[Picture]:
        """Yield the frames before it, then the frame."""
        if self._last is not None:
            yield from self._between(self._last, frame)
        elif self._loops:
            self._first = frame
        self._last = frame
        yield frame

    def end(self) -> Iterator[Picture]:
        """Yield what follows the last frame.

        In a loop these are the frames that lead back to the first; else the last frame, held as long as every other.
        """
        if self._last is None:
            return
        if self._first is not None:
            yield from self._between(self._last, self._first)
        for _ in range(self._held):
            yield self._last

    def _between(self, before: Picture, after: Picture) -> Iterator[Picture]:
        if not is_cut(before, after):
            yield from self._draw(before, after, self._count)
            return
        for number in range(self._count):
            yield before if 2 * (number + 1) <= self._count + 1 else after


def is_cut(before: Picture, after: Picture) -> bool:
    """Detect a cut: the frames differ too much for motion."""
    cells = [
        cv2.resize(frame, (_GRID, _GRID), interpolation=cv2.INTER_AREA).astype(np.float32) for frame in (before, after)
    ]
    return float(np.abs(cells[0] - cells[1]).mean()) > CUT
