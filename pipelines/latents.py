"""The noise a clip starts from."""

import torch

LATENT_CHANNELS = 4
VAE_SCALE_FACTOR = 8


def seeded_generator(seed: int) -> torch.Generator:
    """A CPU generator, so that a seed gives the same noise whatever the device."""
    return torch.Generator("cpu").manual_seed(seed)


def initial_noise(generator: torch.Generator, *, num_frames: int, height: int, width: int) -> torch.Tensor:
    """Unit noise of a whole clip, float32 [1, 4, F, h, w], drawn at once as diffusers does."""
    shape = (1, LATENT_CHANNELS, num_frames, height // VAE_SCALE_FACTOR, width // VAE_SCALE_FACTOR)
    return torch.randn(shape, generator=generator)
