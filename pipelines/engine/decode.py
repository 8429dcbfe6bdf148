"""Decode latents: a stream of frames for the encoder, and small previews."""

from collections.abc import Iterator

import numpy as np
import torch

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.number_range import in_range, require_finite_latents

#: Latent cells decoded at once: 4 frames of 128×128 pixels, or one frame of 512×512, so that the decoder stays below
#: the UNet's memory. With four times as many the heap broke into pieces that were not given back: at 2,048 frames
#: of 128×128 the peak grew by 7.0 % beyond the clip's latents, with these by 1.7 %.
CELLS_A_CHUNK = 1024
#: Latent cells of a preview, all its frames together: eight frames of 128×128 pixels. A window of 16 frames of 512×512
#: pixels is 28 times the work of drawing them, so that there can be one at every step.
PREVIEW_CELLS = 2048


def decode_frames(vae: AnyVae, latents: torch.Tensor) -> Iterator[np.ndarray]:
    """Decode a clip in chunks of constant size.

    Args:
        latents: float32 [1, 4, F, h, w], any device.

    Yields:
        uint8 [n, H, W, 3].
    """
    for frames in split_chunks(latents):
        yield decode_chunk(vae, latents, frames)


def split_chunks(latents: torch.Tensor) -> list[range]:
    """Split a clip's latents [1, 4, F, h, w] into frame chunks."""
    size = max(1, CELLS_A_CHUNK // (latents.shape[-1] * latents.shape[-2]))
    num_frames = latents.shape[2]
    return [range(start, min(start + size, num_frames)) for start in range(0, num_frames, size)]


def decode_chunk(vae: AnyVae, latents: torch.Tensor, frames: range) -> np.ndarray:
    """Decode one of these chunks, uint8 [n, H, W, 3]."""
    return _decode(vae, latents[0, :, frames.start : frames.stop].transpose(0, 1))


def preview_frames(vae: AnyVae, estimate: torch.Tensor) -> np.ndarray:
    """Decode a preview, uint8 [n, h, w, 3]; large ones smaller.

    Args:
        estimate: Estimate of their clean latents, float32 [1, 4, n, h, w].
    """
    cells = estimate.shape[-1] * estimate.shape[-2]
    most = min(CELLS_A_CHUNK, PREVIEW_CELLS // estimate.shape[2])
    if cells > most:
        smaller = (most / cells) ** 0.5
        estimate = torch.nn.functional.interpolate(estimate, scale_factor=(1, smaller, smaller), mode="area")
    return np.concatenate(list(decode_frames(vae, estimate)))


@torch.no_grad()
def _decode(vae: AnyVae, latents: torch.Tensor) -> np.ndarray:
    require_finite_latents(latents)
    scaled = 1 / vae.config.scaling_factor * latents  # in this order, as stock
    pictures = in_range(vae, lambda: vae.decode(scaled.to(vae.device, vae.dtype)).sample.float())
    pixels = ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
