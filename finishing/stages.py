"""What all finishing has in common: frames go in one by one, and other frames come out."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipelines.plan.events import Progress
from pipelines.plan.events import Stage as At
from pipelines.plan.planner.tasks import Measure, unmeasured

if TYPE_CHECKING:
    from pipelines.engine.generate import FrameSink  # brings torch, which most stages do without

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


class Named(NamedTuple):
    """A stage with the name of its task."""

    task: str
    stage: Stage


@runtime_checkable
class Completes(Protocol):
    """A sink that may take long behind its last frame."""

    def completing(self) -> Iterator[tuple[int, int, str]]:
        """Do what is left, telling steps, their number and what is done."""
        ...


class StagedSink:
    """A sink whose frames pass stages on their way into another, telling of each that arrives.

    Args:
        inner: The other.
        stages: In their order.
        total: How many frames will arrive.
        measure: Counts the time of each stage.
    """

    def __init__(
        self, inner: "FrameSink", stages: Sequence[Named], *, total: int = 0, measure: Measure = unmeasured
    ) -> None:
        self._inner = inner
        self._stages = stages
        self._total = total
        self._measure = measure
        self._has_ended = False

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
        for _ in self.writing(frames):
            pass

    def writing(self, frames: npt.NDArray[np.uint8]) -> Iterator[Progress]:
        """The same, telling of every frame that arrives; between two it can be stopped."""
        yield from self._pass(frames, self._stages)

    def ending(self) -> Iterator[Progress]:
        """Hand on what the stages have held back and complete the inner sink, telling how far that is."""
        if self._has_ended:
            return
        for number, (task, stage) in enumerate(self._stages, start=1):
            yield from self._pass(self._measured(task, stage.end()), self._stages[number:])
        if isinstance(self._inner, Completes):
            for step, total, note in self._inner.completing():
                yield Progress(At.WRITE, step, total, note=note)
        self._has_ended = True

    def _pass(self, frames: Iterable[Picture], stages: Sequence[Named]) -> Iterator[Progress]:
        for task, stage in stages:
            frames = self._taken(task, stage, frames)
        for frame in frames:
            self._inner.write(frame[None])
            yield Progress(At.DECODE, self.num_frames, self._total)

    def _taken(self, task: str, stage: Stage, frames: Iterable[Picture]) -> Iterator[Picture]:
        for frame in frames:
            yield from self._measured(task, stage.take(frame))

    def _measured(self, task: str, frames: Iterator[Picture]) -> Iterator[Picture]:
        """Frames as they come, with the time that each took."""
        while True:
            with self._measure(task):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


@contextmanager
def staged(
    opened: AbstractContextManager["FrameSink"],
    stages: Sequence[Named],
    *,
    total: int = 0,
    measure: Measure = unmeasured,
) -> Iterator[StagedSink]:
    """Open a sink behind stages: left cleanly it ends them and completes the files, by an exception it removes them.

    Args:
        opened: The sink, unopened.
        stages, total, measure: As `StagedSink` takes them.
    """
    with opened as inner:
        sink = StagedSink(inner, stages, total=total, measure=measure)
        yield sink
        for _ in sink.ending():
            pass
