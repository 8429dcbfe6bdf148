"""How much work a clip is, how much of it is done, and what may be spent on showing it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from pipelines.context import count_windows
from pipelines.decode import preview_frame
from pipelines.extend import count_all_windows
from pipelines.request import GenerationRequest
from pipelines.vae_files import AnyVae

#: What decoding a frame costs beside one guided UNet pass over it: 40.2 against 35.5 TFLOP at 16×512×512.
DECODE_COST = 1.13
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
    """Planned and finished work. The totals come from the plan itself.

    One unit is a frame through the UNet in the first pass's size.
    """

    windows_total: int
    units_total: float
    pixels: int
    units_a_decode: float
    started: float
    windows_done: int = 0
    units_done: float = 0.0

    @classmethod
    def plan(cls, passes: Sequence[GenerationRequest], *, steps: int, before: Sequence[tuple[int, int]]) -> Self:
        """What is left to do.

        Args:
            before: For each pass the iterations and the steps that are done of it, or that it leaves out.
        """
        last, pixels = passes[-1], passes[0].width * passes[0].height
        units_a_decode = DECODE_COST * last.width * last.height / pixels
        work = cls(0, 0.0, pixels, units_a_decode, time.monotonic())
        for one, (iteration, step) in zip(passes, before, strict=True):
            windows = (one.iterations - iteration) * count_all_windows(one, steps)
            windows -= count_windows(one.first_clip, step)
            work.windows_total += windows
            work.units_total += windows * work._units_a_window(one)
        work.units_total += units_a_decode * (last.num_frames + len(last.frames_played_back))
        return work

    def _units_a_window(self, one: GenerationRequest) -> float:
        return min(one.context_length, one.num_frames) * one.width * one.height / self.pixels

    def windows_through(self, one: GenerationRequest, count: int) -> None:
        """Count windows of a pass."""
        self.windows_done += count
        self.units_done += count * self._units_a_window(one)

    def frames_decoded(self, count: int) -> None:
        """Count decoded frames."""
        self.units_done += self.units_a_decode * count

    def eta_s(self) -> float | None:
        """Seconds left at the pace so far; None before anything is done."""
        if not self.units_done:
            return None
        return (time.monotonic() - self.started) / self.units_done * max(0.0, self.units_total - self.units_done)
