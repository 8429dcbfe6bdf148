"""Run one generation at a time, first come, first served.

Gradio's queue can't be that line: it serves events, and an event ends with its page. What waits here is the run itself,
which keeps its place while the page is loaded again, and every face waits in the same line.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from pipelines.plan.events import Progress, Stage
from pipelines.plan.notes import Note
from pipelines.plan.request import GenerationRequest

_LOOK_AGAIN_S = 0.25

_Event = TypeVar("_Event")


class DeviceQueue:
    """A device and the first-come, first-served queue before it."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    def exclusive(
        self, make: Callable[[GenerationRequest, Path], Generator[_Event, None, None]]
    ) -> Callable[[GenerationRequest, Path], Generator[_Event | Progress, None, None]]:
        """Wrap an engine so that it runs alone on this device.

        While it waits it reports how many are ahead every quarter of a second, so that it can be cancelled there, too.
        Its generator must be closed or run to its end: until then the device is taken.
        """

        def run(request: GenerationRequest, folder: Path) -> Generator[_Event | Progress, None, None]:
            ticket = object()
            with self._moved:
                self._line.append(ticket)
            try:
                while ahead := self._ahead(ticket):
                    is_one = ahead == 1
                    code, words = ("one", "1 clip is ahead") if is_one else ("several", "{count} clips are ahead")
                    note = Note(f"progress.ahead_{code}", words, count=ahead)
                    yield Progress(Stage.WAIT, 0, 1, note=note)
                yield from make(request, folder)
            finally:
                with self._moved:
                    self._line.remove(ticket)
                    self._moved.notify_all()

        return run

    def length(self) -> tuple[int, int]:
        """Count clips that wait and run (0 or 1), without a lock."""
        count = len(self._line)
        return max(count - 1, 0), min(count, 1)

    def _ahead(self, ticket: object) -> int:
        with self._moved:
            self._moved.wait_for(lambda: self._line[0] is ticket, timeout=_LOOK_AGAIN_S)
            return self._line.index(ticket)
