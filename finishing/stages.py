"""Protocol of finishing stages, and the sink that runs them."""

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
    """Transformation of one clip's frames, in the order they are played.

    It may hold back a few frames, never a number that grows with the clip.
    """

    def take(self, frame: Picture) -> Iterator[Picture]:
        """Yield the frames that come out when this one goes in."""
        ...

    def end(self) -> Iterator[Picture]:
        """Yield the frames held back behind the last one."""
        ...


class StageOfTask(NamedTuple):
    """Stage with the name of its task."""

    task: str
    stage: Stage


@runtime_checkable
class Completes(Protocol):
    """Sink that may take long behind its last frame."""

    def completing(self) -> Iterator[tuple[int, int, str]]:
        """Finish the work, yielding step, number of steps and a description."""
        ...


class StagedSink:
    """Sink that passes frames through stages into an inner sink.

    Args:
        inner: The sink behind the stages.
        stages: In their order.
        total: How many frames will arrive.
        measure: Counts the time of each stage.
    """

    def __init__(
        self, inner: "FrameSink", stages: Sequence[StageOfTask], *, total: int = 0, measure: Measure = unmeasured
    ) -> None:
        self._inner = inner
        self._stages = stages
        self._total = total
        self._measure = measure
        self._has_ended = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the inner sink."""
        return self._inner.files

    @property
    def num_frames(self) -> int:
        """Frames that arrived in the inner sink."""
        return self._inner.num_frames

    def write(self, frames: npt.NDArray[np.uint8]) -> None:
        """Process the next frames, uint8 [n, H, W, 3], one by one."""
        for _ in self.writing(frames):
            pass

    def writing(self, frames: npt.NDArray[np.uint8]) -> Iterator[Progress]:
        """Process frames as `write`, yielding progress for each."""
        yield from self._pass(frames, self._stages)

    def ending(self) -> Iterator[Progress]:
        """Flush the stages and complete the inner sink, yielding progress."""
        if self._has_ended:
            return
        for number, (task, stage) in enumerate(self._stages, start=1):
            yield from self._pass(self._measured(task, stage.end()), self._stages[number:])
        if isinstance(self._inner, Completes):
            for step, total, note in self._inner.completing():
                yield Progress(At.WRITE, step, total, note=note)
        self._has_ended = True

    def _pass(self, frames: Iterable[Picture], stages: Sequence[StageOfTask]) -> Iterator[Progress]:
        for task, stage in stages:
            frames = self._apply_stage(task, stage, frames)
        for frame in frames:
            self._inner.write(frame[None])
            yield Progress(At.DECODE, self.num_frames, self._total)

    def _apply_stage(self, task: str, stage: Stage, frames: Iterable[Picture]) -> Iterator[Picture]:
        for frame in frames:
            yield from self._measured(task, stage.take(frame))

    def _measured(self, task: str, frames: Iterator[Picture]) -> Iterator[Picture]:
        """Yield frames as they come, measuring the time of each."""
        while True:
            with self._measure(task):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


@contextmanager
def staged(
    opened: AbstractContextManager["FrameSink"],
    stages: Sequence[StageOfTask],
    *,
    total: int = 0,
    measure: Measure = unmeasured,
) -> Iterator[StagedSink]:
    """Open a sink behind stages.

    Leaving the context completes the files; an exception removes them.

    Args:
        opened: The sink, unopened.
        stages, total, measure: As `StagedSink` takes them.
    """
    with opened as inner:
        sink = StagedSink(inner, stages, total=total, measure=measure)
        yield sink
        for _ in sink.ending():
            pass
