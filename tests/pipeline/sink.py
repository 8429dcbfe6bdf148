"""Run the engine and keep its frames."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipelines.engine.generate import OpenWriter, generate
from pipelines.plan.events import Event
from pipelines.plan.request import GenerationRequest


class KeptFrames:
    """A sink that keeps frames in memory and remembers how it was left."""

    def __init__(self) -> None:
        self.files: tuple[Path, ...] = ()
        self.parts: list[np.ndarray] = []
        self.recipe = ""
        self.left_with: type[BaseException] | None = None

    @property
    def num_frames(self) -> int:
        return sum(map(len, self.parts))

    @property
    def frames(self) -> np.ndarray:
        return np.concatenate(self.parts)

    def write(self, frames: np.ndarray) -> None:
        self.parts.append(frames)

    def opener(self) -> OpenWriter:
        @contextmanager
        def open_writer(_: GenerationRequest, recipe: str) -> Iterator[KeptFrames]:
            self.recipe = recipe
            try:
                yield self
            except BaseException as err:
                self.left_with = type(err)
                raise

        return open_writer


def run(request: GenerationRequest, **options: object) -> tuple[np.ndarray, list[Event]]:
    """Frames uint8 [F, H, W, 3] and every event."""
    sink = KeptFrames()
    generate_: Callable[..., Iterator[Event]] = generate
    events = list(generate_(request, open_writer=sink.opener(), **options))
    return sink.frames, events
