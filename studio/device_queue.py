"""One at a time: whoever wants the device waits in line, whichever door they came in by.

Gradio's queue can't be that line: it serves events, and an event ends with its page. What waits here is the run itself,
which keeps its place while the page is loaded again, and every face waits in the same line.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from pipelines.plan.events import Progress, Stage
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest

_LOOK_AGAIN_S = 0.25

_Told = TypeVar("_Told")


class OneDevice:
    """A device, and the line of those who wait for it, in the order in which they came."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    def alone(
        self, make: Callable[[GenerationRequest, Path], Generator[_Told, None, None]]
    ) -> Callable[[GenerationRequest, Path], Generator[Any, None, None]]:
        """The same engine, which runs while no other one of this device does.

        While it waits it tells with every look how many are ahead, so that it can be cancelled there, too. Its
        generator must be closed or run to its end: until then the device is taken.
        """

        def made(request: GenerationRequest, folder: Path) -> Generator[_Told | Progress, None, None]:
            ticket = object()
            with self._moved:
                self._line.append(ticket)
            try:
                while others := self._ahead(ticket):
                    is_one = others == 1
                    code, words = ("one", "1 clip is ahead") if is_one else ("several", "{count} clips are ahead")
                    note = Note(f"progress.ahead_{code}", words, count=others)
                    yield Progress(Stage.WAIT, 0, 1, note=note)
                yield from make(request, folder)
            finally:
                with self._moved:
                    self._line.remove(ticket)
                    self._moved.notify_all()

        return made

    def length(self) -> tuple[int, int]:
        """How many clips wait, and how many are made: one or none. Takes no lock."""
        count = len(self._line)
        return max(count - 1, 0), min(count, 1)

    def _ahead(self, ticket: object) -> int:
        with self._moved:
            self._moved.wait_for(lambda: self._line[0] is ticket, timeout=_LOOK_AGAIN_S)
            return self._line.index(ticket)
