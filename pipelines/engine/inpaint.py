"""Known region of a clip, unchanged while the rest is generated."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin

_STRETCH = 64  # frames put back together


@dataclass(frozen=True)
class KnownRegion:
    """Latents that must not change; re-imposed after every step (RePaint).

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
        """Re-impose the region in place, noised for the next step."""
        times = scheduler.timesteps[step : step + 1]
        for start in range(0, len(self.frames), _STRETCH):
            part = slice(start, start + _STRETCH)
            frames = list(self.frames[part])
            stays = self.latents[:, :, part]
            if len(times):
                stays = scheduler.add_noise(stays, self.noise[:, :, part], times)
            clip[:, :, frames] = torch.lerp(stays, clip[:, :, frames], self.change[:, :, part])
