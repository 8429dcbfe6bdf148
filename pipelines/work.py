"""How much work a clip is, how much of it is done, and what may be spent on showing it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from pipelines.costs import frame_flops, window_flops
from pipelines.decode import preview_frame
from pipelines.plan import count_all_windows
from pipelines.request import GenerationRequest
from pipelines.vae_files import AnyVae

#: Previews may take this share of the time; a slow model has one every step, a fast one now and then.
PREVIEW_SHARE = 0.05


@dataclass
class Previews:
    """Pictures on the way, as long as they cost next to nothing; the first at once."""

    vae: AnyVae
    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def next(self, estimate: torch.Tensor | None) -> np.ndarray | None:
        """A picture of an estimate [1, 4, h, w], or nothing where that would cost too much, or there is none."""
        begun = time.monotonic()
        if estimate is None or self.spent > PREVIEW_SHARE * (begun - self.started):
            return None
        picture = preview_frame(self.vae, estimate)
        self.spent += time.monotonic() - begun
        return picture


@dataclass
class Work:
    """Planned and finished work, in operations of the networks. The totals come from the plan itself."""

    windows_total: int
    flops_total: float
    frame_flops: float
    started: float
    windows_done: int = 0
    flops_done: float = 0.0

    @classmethod
    def plan(cls, passes: Sequence[GenerationRequest], *, steps: int, before: Sequence[int]) -> Self:
        """What is left to do.

        Args:
            before: For each pass the windows that are done of it, or that it leaves out.
        """
        last = passes[-1]
        work = cls(0, 0.0, frame_flops(last), time.monotonic())
        for one, done in zip(passes, before, strict=True):
            windows = one.iterations * count_all_windows(one, steps) - done
            work.windows_total += windows
            work.flops_total += windows * window_flops(one).total
        work.flops_total += work.frame_flops * (last.num_frames + len(last.frames_played_back))
        return work

    def windows_through(self, one: GenerationRequest, count: int) -> None:
        """Count windows of a pass."""
        self.windows_done += count
        self.flops_done += count * window_flops(one).total

    def frames_decoded(self, count: int) -> None:
        """Count decoded frames."""
        self.flops_done += self.frame_flops * count

    def eta_s(self) -> float | None:
        """Seconds left at the pace so far; None before anything is done."""
        if not self.flops_done:
            return None
        return (time.monotonic() - self.started) / self.flops_done * max(0.0, self.flops_total - self.flops_done)
