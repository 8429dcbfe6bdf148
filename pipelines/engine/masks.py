"""Masks of a source clip: white may change, black stays exactly."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from pipelines.engine.encode import read_fitted
from pipelines.engine.latents import VAE_SCALE_FACTOR
from pipelines.plan.clip_inputs import ClipInputs, FrameClip
from pipelines.plan.request import GenerationRequest

_STRETCH = 32  # frames looked at together


def soft_masks(request: GenerationRequest, mask: FrameClip, indices: Sequence[int]) -> torch.Tensor:
    """Compute each pixel's blend weight, float32 [n, H, W], 0 for black.

    The edge rises over `mask_feather` pixels inside the white area, so that nothing outside it is touched.

    Args:
        mask: In any size; it is fitted as the source is, and read as grey.
        indices: Frames of the clip.
    """
    hard = torch.from_numpy(read_fitted(request, mask, indices).mean(axis=3, dtype=np.float32)) / 255
    if not (half := -(-request.mask_feather // 2)):
        return hard
    window = 2 * half + 1
    # Shrunk and blurred by half of it: the ramp ends where the white does. Beyond the picture is no edge.
    black = functional.pad(1 - hard[:, None], (half,) * 4, mode="replicate")
    shrunk = 1 - functional.max_pool2d(black, window, stride=1)
    ramp = functional.avg_pool2d(shrunk, window, stride=1, padding=half, count_include_pad=False)[:, 0]
    return torch.minimum(hard, ramp)


def latent_masks(request: GenerationRequest, mask: FrameClip) -> torch.Tensor:
    """Mask the latent cells that may change, [1, 1, F, h, w]."""
    cells = request.height // VAE_SCALE_FACTOR, request.width // VAE_SCALE_FACTOR
    masks = torch.empty((1, 1, request.num_frames, *cells))
    for start in range(0, request.num_frames, _STRETCH):
        frames = range(start, min(start + _STRETCH, request.num_frames))
        soft = soft_masks(request, mask, frames)[:, None]
        masks[0, 0, frames.start : frames.stop] = (functional.max_pool2d(soft, VAE_SCALE_FACTOR) > 0)[:, 0]
    return masks


def composite(request: GenerationRequest, frames: np.ndarray, inputs: ClipInputs, first: int) -> np.ndarray:
    """Composite decoded frames inside the mask over the exact source outside.

    Args:
        frames: uint8 [n, H, W, 3], the clip's from number `first` on.

    Returns:
        uint8 [n, H, W, 3].
    """
    if inputs.mask is None or inputs.source is None:
        return frames
    indices = range(first, first + len(frames))
    behind = read_fitted(request, inputs.source, indices).astype(np.float32)
    soft = soft_masks(request, inputs.mask, indices).numpy()[..., None]
    return np.round(behind + soft * (frames - behind)).astype(np.uint8)
