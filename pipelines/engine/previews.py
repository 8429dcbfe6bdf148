"""Previews within a time budget, and the count of work."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.decode import PREVIEW_CELLS, preview_frames
from pipelines.engine.denoise import ESTIMATED_FRAMES
from pipelines.plan.context import count_windows
from pipelines.plan.planner.costs import CELL, frame_flops, window_flops
from pipelines.plan.request import GenerationRequest

#: Previews may take this share of the time; a slow model has one every step, a fast one now and then.
PREVIEW_SHARE = 0.05
#: Clips of more frames always have moving previews, if they have to come less often for it.
STILL_UP_TO = 16


@dataclass
class Previews:
    """Previews of the running clip within a budget; the first immediately."""

    vae: AnyVae
    moves: bool = True
    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def next(self, estimate: torch.Tensor | None) -> np.ndarray | None:
        """Decode an estimate [1, 4, n, h, w] small, if affordable."""
        start = time.monotonic()
        if estimate is None or self.spent > PREVIEW_SHARE * (start - self.started):
            return None
        middle = estimate.shape[2] // 2
        frames = preview_frames(self.vae, estimate if self.moves else estimate[:, :, middle : middle + 1])
        self.spent += time.monotonic() - start
        return frames


def is_moving(request: GenerationRequest) -> bool:
    """Tell whether previews move: for long clips, or where cheap enough.

    One of the embedded model at 16 frames of 128×128 pixels does not: eight frames are 0.84 of the work of a step, and
    there would be 3 previews in 25 steps instead of 17.
    """
    preview_count = min(ESTIMATED_FRAMES, PREVIEW_CELLS * CELL / (request.width * request.height))
    step = count_windows(request, 1)[0] * window_flops(request)
    return request.num_frames > STILL_UP_TO or preview_count * frame_flops(request) <= PREVIEW_SHARE * step


@dataclass
class Work:
    """Planned and finished windows; the stopwatch turns them into seconds."""

    windows_total: int
    windows_done: int = 0
