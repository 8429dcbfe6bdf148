"""Pictures and clips of a network in training, for its scores."""

import numpy as np
import torch
from diffusers import AutoencoderKL, SchedulerMixin
from torch import nn

from scripts.train_demo.networks import FramePositions, TrainableMotionModule
from scripts.train_demo.trainer import has_bfloat16
from scripts.train_demo.vae import SIDE
from scripts.train_demo.world import CLIP_FRAMES


@torch.no_grad()
def sample_latents(
    network: nn.Module, states: torch.Tensor, scheduler: SchedulerMixin, *, is_clip: bool, guidance_scale: float = 3.0
) -> torch.Tensor:
    """Sample latents [B, 4, F, h, w] of prompts: clips of CLIP_FRAMES, or single frames by an image UNet.

    Args:
        states: Of B empty prompts, then of the B prompts, [2 B, 77, D].
        scheduler: Its timesteps are set.
    """
    TrainableMotionModule.aside, FramePositions.frames = False, torch.arange(CLIP_FRAMES)
    frames = CLIP_FRAMES if is_clip else 1
    text = states.repeat_interleave(frames, dim=0) if is_clip else states
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(states) // 2, 4, frames, SIDE // 8, SIDE // 8, generator=generator).to(states.device)
    for t in scheduler.timesteps:
        both = torch.cat([x, x])
        with torch.autocast(states.device.type, torch.bfloat16, enabled=has_bfloat16()):
            found = network(both if is_clip else both[:, :, 0], t, text).sample.float()
        negative, positive = (found if is_clip else found[:, :, None]).chunk(2)
        x = scheduler.step(negative + guidance_scale * (positive - negative), t, x).prev_sample
    return x


@torch.no_grad()
def decode_clips(vae: AutoencoderKL, latents: torch.Tensor) -> np.ndarray:
    """Decode latents [B, 4, F, h, w] to frames, uint8 [B, F, H, W, 3]."""
    flat = latents.transpose(1, 2).flatten(0, 1).cpu() / vae.config.scaling_factor
    pixels = torch.cat([vae.decode(part).sample for part in flat.split(16)])
    pixels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).unflatten(0, (len(latents), latents.shape[2])).numpy()
