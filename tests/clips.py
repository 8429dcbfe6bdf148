"""Clips for tests: frames in memory that remember which of them were read at a time."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

from pipelines.plan.image_fit import Frames


class ArrayClip:
    """A clip of given frames, uint8 [F, H, W, 3].

    Attributes:
        array: The frames.
        reads: The places asked for, one entry for each time.
    """

    fps = Fraction(8)

    def __init__(self, frames: Frames) -> None:
        self.array = frames
        self.reads: list[list[int]] = []

    @property
    def num_frames(self) -> int:
        return len(self.array)

    @property
    def height(self) -> int:
        return self.array.shape[1]

    @property
    def width(self) -> int:
        return self.array.shape[2]

    @property
    def pictures(self) -> list[Image.Image]:
        """As stock pipelines take them."""
        return [Image.fromarray(frame) for frame in self.array]

    def frames(self, indices: Sequence[int]) -> Frames:
        self.reads.append(list(indices))
        return self.array[list(indices)]


def noise_clip(num_frames: int, seed: int = 0, *, width: int = 64, height: int = 64) -> ArrayClip:
    """Frames of coloured noise, all different."""
    return ArrayClip(np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), np.uint8))
