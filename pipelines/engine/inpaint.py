"""What of a clip stays as it is while the rest is made."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin

_STRETCH = 64  # frames put back together


@dataclass(frozen=True)
class Kept:
    """What stays as it is: it is put back after every step.

    Args:
        frames: The frames of the clip it belongs to, ascending.
        latents, noise: Of those frames, float32 [1, 4, K, h, w].
        change: 0 where they stay, 1 where the clip may change, float32 [1, 1, K, h, w].
    """

    frames: Sequence[int]
    latents: torch.Tensor
    noise: torch.Tensor
    change: torch.Tensor

    def put_back(self, clip: torch.Tensor, scheduler: SchedulerMixin, step: int) -> None:
        """Put it back into a clip that is about to take a step, in place; after the last step without noise."""
        times = scheduler.timesteps[step : step + 1]
        for start in range(0, len(self.frames), _STRETCH):
            part = slice(start, start + _STRETCH)
            frames = list(self.frames[part])
            stays = self.latents[:, :, part]
            if len(times):
                stays = scheduler.add_noise(stays, self.noise[:, :, part], times)
            clip[:, :, frames] = torch.lerp(stays, clip[:, :, frames], self.change[:, :, part])
