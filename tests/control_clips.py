"""Clips in memory for tests of what follows them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from controlnet.control_cache import ControlClip
from pipelines.plan.events import Progress
from pipelines.plan.image_fit import Frames


@dataclass
class ArrayClip:
    """Frames in memory as a `FrameClip`, which notes what was read of it."""

    pictures: Frames
    fps: Fraction | None = None
    reads: list[int] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return len(self.pictures)

    @property
    def width(self) -> int:
        return self.pictures.shape[2]

    @property
    def height(self) -> int:
        return self.pictures.shape[1]

    def frames(self, indices: Sequence[int]) -> Frames:
        self.reads += indices
        return self.pictures[list(indices)]


def noise_clip(num_frames: int, *, width: int = 64, height: int = 64, seed: int = 0) -> ArrayClip:
    """A clip of noise."""
    return ArrayClip(np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), np.uint8))


def made(events: Generator[Progress, None, ControlClip]) -> tuple[list[Progress], Frames]:
    """What was told, and all frames of what came of it."""
    told = []
    while True:
        try:
            told.append(next(events))
        except StopIteration as end:
            return told, end.value.frames(range(end.value.num_frames))
