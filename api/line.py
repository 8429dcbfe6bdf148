"""The line before the device: whatever makes a clip, for whichever face, waits here for its turn.

Gradio's queue can't be that line: it serves events, and an event ends with its page. What waits here is the run itself,
which keeps its place while the page is loaded again, and every face waits in the same line.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from pipelines.events import Progress, Stage
from pipelines.request import GenerationRequest

TOLD_EVERY_S = 1.0
"""Those who wait are asked so often whether they still do."""

_Made = TypeVar("_Made")
_Make = Callable[[GenerationRequest, Path], Generator[_Made, None, None]]


class Line:
    """Who may use the device: one at a time, in the order they came. Safe between threads."""

    def __init__(self) -> None:
        self._places: list[object] = []
        self._moved = threading.Condition()

    @contextmanager
    def joined(self) -> Iterator[Callable[[float], int]]:
        """Stand in the line until the block is left.

        Yields:
            A function that waits to move up, at most so many seconds, and says how many are ahead.
        """
        place = object()
        with self._moved:
            self._places.append(place)

        def ahead(seconds: float) -> int:
            with self._moved:
                before = self._places.index(place)
                self._moved.wait_for(lambda: before == 0 or self._places.index(place) < before, seconds)
                return self._places.index(place)

        try:
            yield ahead
        finally:
            with self._moved:
                self._places.remove(place)
                self._moved.notify_all()


def in_line(make: _Make[_Made], line: Line) -> _Make[_Made | Progress]:
    """An engine that waits for its turn before each clip, telling its place; a batch lets others go between two clips.

    Args:
        make: Makes something of a request in a folder.
        line: Shared by all that use the device.
    """

    def waits(request: GenerationRequest, folder: Path) -> Generator[_Made | Progress, None, None]:
        with line.joined() as ahead:
            seconds = 0.0
            while others := ahead(seconds):
                yield Progress(Stage.WAIT, 0, 1, note="1 clip is ahead" if others == 1 else f"{others} clips are ahead")
                seconds = TOLD_EVERY_S
            with closing(make(request, folder)) as events:
                yield from events

    return waits
