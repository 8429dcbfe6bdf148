"""What all finishing has in common: frames go in one by one, and other frames come out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipelines.generate import FrameSink  # brings torch, which most stages do without

Picture = npt.NDArray[np.uint8]
"""One RGB frame, uint8 [H, W, 3]."""


class Stage(Protocol):
    """One thing done to the frames of one clip, which come in the order they are played.

    It may hold back a few frames, never a number that grows with the clip.
    """

    def take(self, frame: Picture) -> Iterator[Picture]:
        """What comes out when the next frame goes in."""
        ...

    def end(self) -> Iterator[Picture]:
        """What still comes out behind the last frame."""
        ...


class StagedSink:
    """A sink whose frames pass stages on their way into another."""

    def __init__(self, inner: "FrameSink", stages: Sequence[Stage]) -> None:
        self._inner = inner
        self._stages = stages

    @property
    def files(self) -> tuple[Path, ...]:
        """The inner sink's."""
        return self._inner.files

    @property
    def num_frames(self) -> int:
        """Frames that arrived in the inner sink."""
        return self._inner.num_frames

    def write(self, frames: npt.NDArray[np.uint8]) -> None:
        """Take the next frames, uint8 [n, H, W, 3], and hand on what becomes of them, one by one."""
        self._pass(frames, self._stages)

    def end(self) -> None:
        """Hand on what the stages have held back."""
        for number, stage in enumerate(self._stages, start=1):
            self._pass(stage.end(), self._stages[number:])

    def _pass(self, frames: Iterable[Picture], stages: Sequence[Stage]) -> None:
        for stage in stages:
            frames = _taken(stage, frames)
        for frame in frames:
            self._inner.write(frame[None])


@contextmanager
def staged(opened: AbstractContextManager["FrameSink"], stages: Sequence[Stage]) -> Iterator["FrameSink"]:
    """Open a sink behind stages: left cleanly it ends them and completes the files, by an exception it removes them."""
    with opened as inner:
        sink = StagedSink(inner, stages)
        yield sink
        sink.end()


def _taken(stage: Stage, frames: Iterable[Picture]) -> Iterator[Picture]:
    for frame in frames:
        yield from stage.take(frame)
