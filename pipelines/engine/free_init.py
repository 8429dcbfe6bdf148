"""FreeInit: regenerate a clip from noise with its low frequencies (arXiv:2312.07537).

The noise a sampler starts from at its noisiest step was never quite pure in training: the coarsest frequencies
of the clip show through. Giving it those of a finished clip makes the next one steadier.
"""

import torch

from pipelines.engine.latents import clip_noise, seeded_generator
from pipelines.plan.choices import FreeInitFilter
from pipelines.plan.request import GenerationRequest


def renew_noise(
    request: GenerationRequest,
    clean: torch.Tensor,
    generator: torch.Generator,
    *,
    iteration: int,
    alphas_cumprod: torch.Tensor,
) -> torch.Tensor:
    """Build the next iteration's unit noise, float32 [1, 4, F, h, w].

    The clip is noised with the noise that the first iteration started from; its low frequencies are kept, and
    the high ones come from fresh noise in the request's layout, as in the paper. One channel is transformed at a
    time: at its peak it takes four clips' memory beside the clip, measured at 1,000 frames of 64×64 cells.

    Args:
        clean: The latents of the finished clip, float32 [1, 4, F, h, w]; they are not changed.
        generator: The clip's own; draws the fresh noise.
        iteration: Number of clips made before, from 1.
        alphas_cumprod: The sampler's ᾱ by training timestep; that of the last one is used, whatever the sampler.

    Source: equations 5 to 8 of arXiv:2312.07537.
    """
    pass_filter = low_pass(request, *clean.shape[2:])
    alpha = alphas_cumprod[-1].item()
    noised = clip_noise(request, seeded_generator(request.seed)).mul_((1 - alpha) ** 0.5).add_(clean, alpha=alpha**0.5)
    mixed = clip_noise(request, generator, iteration=iteration)
    # The low part of one and the high part of the other is the other and the low part of their difference.
    difference = noised.sub_(mixed)
    for channel in range(clean.shape[1]):
        spectrum = torch.fft.rfftn(difference[0, channel]).mul_(pass_filter)
        mixed[0, channel] += torch.fft.irfftn(spectrum, s=clean.shape[2:])
    return mixed


def low_pass(request: GenerationRequest, num_frames: int, height: int, width: int) -> torch.Tensor:
    """Build FreeInit's low-pass filter, from 0 to 1.

    It is float32 [F, h, w // 2 + 1], laid out as by `torch.fft.rfftn`. Frequencies are counted in halves of the
    sampling rate, so that 1 is the highest, and d is how far one lies from zero, its temporal part scaled by the ratio
    of the stops. Where a size is odd the published filters are half a frequency off the middle and give complex noise;
    these are symmetric at every size. Of even sizes they are the published ones, but for the box's, which leaves one
    side of the cube out and measures the width by the height.

    Example:
        >>> request = GenerationRequest.build(seed=0, free_init_filter="ideal", free_init_spatial_stop=0)
        >>> float(low_pass(request, 4, 4, 4).max())
        0.0
    """
    spatial, temporal = request.free_init_spatial_stop, request.free_init_temporal_stop
    t, y = (2 * torch.fft.fftfreq(size).abs() for size in (num_frames, height))
    x = 2 * torch.fft.rfftfreq(width)
    t, y = t[:, None, None], y[:, None]
    if spatial == 0 or temporal == 0:
        return torch.zeros(num_frames, height, len(x))
    if request.free_init_filter is FreeInitFilter.BOX:
        return ((t <= temporal) & (y <= spatial) & (x <= spatial)).float()
    squared = (spatial / temporal * t) ** 2 + y**2 + x**2  # d²
    match request.free_init_filter:
        case FreeInitFilter.BUTTERWORTH:
            response = 1 / (1 + (squared / spatial**2) ** request.free_init_order)
        case FreeInitFilter.GAUSSIAN:
            response = torch.exp(-squared / (2 * spatial**2))
        case _:
            response = squared <= 2 * spatial  # not spatial², as published
    return response.float()
