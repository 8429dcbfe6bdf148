"""Events of `generate`; plain values that can be pickled."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np


class Stage(StrEnum):
    """Stages of a generation, in order; `WAIT` is for shared devices."""

    WAIT = "wait"
    PREPROCESS = "preprocess"
    LOAD = "load"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is.

    Args:
        step, total: Done and planned units of this stage; `total` comes from the plan.
        eta_s: Seconds until the clip is in its files, None while unknown. `timed` tells it, not the engine.
        preview: The clip so far, small: a few of its frames from beginning to end, uint8 [n, h, w, 3]; None when there
            is nothing new to see.
        note: What is being done, in words for people; empty when stage and step say all.
        task: Of `planner/tasks.py`, what took the time since the event before; empty for the engine's own work.
        share: How much of the unit after `step` is done, from 0 to 1, where a long one tells of itself while it is at
            work; None between two units.
    """

    stage: Stage
    step: int
    total: int
    eta_s: float | None = None
    preview: np.ndarray | None = None
    note: str = ""
    task: str = ""
    share: float | None = None

    @property
    def units(self) -> float:
        """Units that are done, with what is done of the next."""
        return self.step + (self.share or 0.0)

    @property
    def fraction(self) -> float:
        """How much of the stage is done, from 0 to 1."""
        return min(max(self.units / self.total, 0.0), 1.0) if self.total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Clip:
    """The finished clip.

    Args:
        files: What was written, in the order of the request's formats; the first is the clip to show.
        recipe: The request as JSON.
        num_frames: Frames written.
        seconds: How long the generation took, wall clock.
        warnings: What went otherwise than was asked, in words for people.
    """

    files: tuple[Path, ...]
    recipe: str
    num_frames: int
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """Finished frames that the engine hands over instead of writing them.

    Args:
        frames: uint8 [n, H, W, 3], the next ones in the order they are played.
        recipe: The request as JSON, for the files.
    """

    frames: np.ndarray
    recipe: str


@dataclass(frozen=True, slots=True)
class Paused:
    """The engine's turn ended before the clip; it goes on in another."""


Event = Progress | Clip
