"""Clips in memory, for tests: what the engine gets in place of opened files."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np


class ArrayClip:
    """Frames uint8 [F, H, W, 3] as the engine reads them; it remembers which were asked for."""

    fps: Fraction | None = None

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures
        self.asked: list[int] = []

    @property
    def num_frames(self) -> int:
        return len(self.pictures)

    @property
    def height(self) -> int:
        return self.pictures.shape[1]

    @property
    def width(self) -> int:
        return self.pictures.shape[2]

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        self.asked.extend(indices)
        return self.pictures[list(indices)]
