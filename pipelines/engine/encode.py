"""Encode pictures to latents, a few frames at a time."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from diffusers import AutoencoderTiny

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.decode import CELLS_A_CHUNK
from pipelines.engine.interruptible import Pace, in_thread
from pipelines.engine.latents import LATENT_CHANNELS, VAE_SCALE_FACTOR
from pipelines.engine.number_range import in_range
from pipelines.plan.clip_inputs import FrameClip
from pipelines.plan.events import Progress, Stage
from pipelines.plan.image_fit import Frames, fitted
from pipelines.plan.request import GenerationRequest

_Result = TypeVar("_Result")


def encode_frames(vae: AnyVae, request: GenerationRequest, clip: FrameClip, indices: Sequence[int]) -> torch.Tensor:
    """Encode a few frames at the result's size, at once."""
    return run_to_end(encode_in_chunks(vae, request, clip, indices))


def encode_in_chunks(
    vae: AnyVae, request: GenerationRequest, clip: FrameClip, indices: Sequence[int], *, note: str = ""
) -> Generator[Progress, None, torch.Tensor]:
    """Encode frames at the result's size, a few at a time.

    The mode of the encoder's distribution is taken, not a draw from it, so that the same picture is the same latents.

    Args:
        indices: Which frames, in this order; of a single picture it is always that one.

    Yields:
        How many are encoded, with the note.

    Returns:
        float32 [1, 4, len(indices), h, w] on the CPU.
    """
    cells = request.height // VAE_SCALE_FACTOR, request.width // VAE_SCALE_FACTOR
    latents = torch.empty((1, LATENT_CHANNELS, len(indices), *cells))
    chunk = max(1, CELLS_A_CHUNK // (cells[0] * cells[1]))
    for start in range(0, len(indices), chunk):
        pictures = read_fitted(request, clip, indices[start : start + chunk])
        encoded = yield from in_thread(
            partial(encode_pictures, vae, pictures), Pace(), Progress(Stage.ENCODE, start, len(indices), note=note)
        )
        latents[0, :, start : start + len(pictures)] = encoded.transpose(0, 1)
        yield Progress(Stage.ENCODE, start + len(pictures), len(indices), note=note)
    return latents


def run_to_end(work: Generator[object, None, _Result]) -> _Result:
    """Run a generator to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _Result = end.value
            return result


def read_fitted(request: GenerationRequest, clip: FrameClip, indices: Sequence[int]) -> Frames:
    """Read frames at the result's size, uint8 [n, H, W, 3]."""
    pictures = clip.frames([0] * len(indices) if clip.num_frames == 1 else indices)
    width, height, fit = request.width, request.height, request.image_fit
    return np.stack([fitted(picture, width=width, height=height, fit=fit) for picture in pictures])


@torch.no_grad()
def encode_pictures(vae: AnyVae, pictures: np.ndarray) -> torch.Tensor:
    """Encode uint8 [n, H, W, 3] to float32 [n, 4, H/8, W/8]."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1

    def encoded() -> torch.Tensor:
        output = vae.encode(pixels.to(vae.device, vae.dtype))
        return output.latents if isinstance(vae, AutoencoderTiny) else output.latent_dist.mode()

    return vae.config.scaling_factor * in_range(vae, encoded).to("cpu", torch.float32)
