"""One at a time: whoever wants the device waits in line, whichever door they came in by.

Gradio's queue does so for the page and its endpoints; other routes of the same process are not in it.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from pipelines.events import Progress, Stage
from pipelines.request import GenerationRequest

WAITING = "Waiting until another clip is finished"
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

        While it waits it tells so with every look, so that it can be cancelled there, too. Its generator must be
        closed or run to its end: until then the device is taken.
        """

        def made(request: GenerationRequest, folder: Path) -> Generator[_Told | Progress, None, None]:
            ticket = object()
            with self._moved:
                self._line.append(ticket)
            try:
                while not self._is_first(ticket):
                    yield Progress(Stage.PREPROCESS, 0, 1, note=WAITING)
                yield from make(request, folder)
            finally:
                with self._moved:
                    self._line.remove(ticket)
                    self._moved.notify_all()

        return made

    def _is_first(self, ticket: object) -> bool:
        with self._moved:
            return self._moved.wait_for(lambda: self._line[0] is ticket, timeout=_LOOK_AGAIN_S)
