"""How much work a clip is, and what may be spent on showing it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from pipelines.context import count_windows
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
    """Planned and finished windows. The total comes from the plan itself; `remaining.py` makes seconds of them."""

    windows_total: int
    windows_done: int = 0

    @classmethod
    def plan(cls, passes: Sequence[GenerationRequest], *, steps: int, before: Sequence[tuple[int, int]]) -> Self:
        """What is left to do.

        Args:
            before: For each pass the iterations and the steps that are done of it, or that it leaves out.
        """
        total = 0
        for one, (iteration, step) in zip(passes, before, strict=True):
            total += (one.iterations - iteration) * count_all_windows(one, steps) - count_windows(one.first_clip, step)
        return cls(total)
