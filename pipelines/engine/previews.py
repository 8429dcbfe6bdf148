"""How much work a clip is, and what may be spent on showing it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.decode import PREVIEW_CELLS, preview_frames
from pipelines.engine.denoise import ESTIMATED_FRAMES
from pipelines.plan.context import count_windows
from pipelines.plan.passes import count_all_windows
from pipelines.plan.planner.costs import CELL, frame_flops, window_flops
from pipelines.plan.request import GenerationRequest

#: Previews may take this share of the time; a slow model has one every step, a fast one now and then.
PREVIEW_SHARE = 0.05
#: Clips of more frames always have moving previews, if they have to come less often for it.
STILL_UP_TO = 16


@dataclass
class Previews:
    """The clip on the way, as long as it costs next to nothing to show; the first time at once."""

    vae: AnyVae
    moves: bool = True
    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def next(self, estimate: torch.Tensor | None) -> np.ndarray | None:
        """Small frames of an estimate [1, 4, n, h, w], or nothing where that would cost too much, or there is none."""
        begun = time.monotonic()
        if estimate is None or self.spent > PREVIEW_SHARE * (begun - self.started):
            return None
        middle = estimate.shape[2] // 2
        frames = preview_frames(self.vae, estimate if self.moves else estimate[:, :, middle : middle + 1])
        self.spent += time.monotonic() - begun
        return frames


def is_moving(request: GenerationRequest) -> bool:
    """Whether previews of a clip move: if it is long, or if that costs no more of a step than previews may.

    One of the embedded model at 16 frames of 128×128 pixels does not: eight frames are 0.84 of the work of a step, and
    there would be 3 previews in 25 steps instead of 17.
    """
    drawn = min(ESTIMATED_FRAMES, PREVIEW_CELLS * CELL / (request.width * request.height))
    step = count_windows(request, 1) * window_flops(request).total
    return request.num_frames > STILL_UP_TO or drawn * frame_flops(request) <= PREVIEW_SHARE * step


@dataclass
class Work:
    """Planned and finished windows. The total comes from the plan itself; `remaining.py` makes seconds of them."""

    windows_total: int
    windows_done: int = 0

    @classmethod
    def plan(cls, passes: Sequence[GenerationRequest], *, steps: int, before: Sequence[int]) -> Self:
        """What is left to do.

        Args:
            before: For each pass the windows that are done of it, or that it leaves out.
        """
        windows = (
            one.iterations * count_all_windows(one, steps) - done for one, done in zip(passes, before, strict=True)
        )
        return cls(sum(windows))
