"""The noise a clip starts from."""

import torch
from torch.nn.functional import avg_pool3d

from pipelines.plan.choices import NoiseLayout
from pipelines.plan.request import GenerationRequest
from pipelines.plan.request_fields.clip import MAX_NUM_FRAMES

LATENT_CHANNELS = 4
VAE_SCALE_FACTOR = 8


def seeded_generator(seed: int) -> torch.Generator:
    """Seed a CPU generator, for the same noise on every device."""
    return torch.Generator("cpu").manual_seed(seed)


def initial_noise(generator: torch.Generator, *, num_frames: int, height: int, width: int) -> torch.Tensor:
    """Draw a clip's unit noise at once, [1, 4, F, h, w]."""
    shape = (1, LATENT_CHANNELS, num_frames, height // VAE_SCALE_FACTOR, width // VAE_SCALE_FACTOR)
    return torch.randn(shape, generator=generator)


def clip_noise(request: GenerationRequest, generator: torch.Generator, *, iteration: int = 0) -> torch.Tensor:
    """Draw a clip's unit noise in the request's layout.

    It is float32 [1, 4, F, h, w]. The frames of the first window are those of one draw of a clip that long, but for
    `frame_seeds` and `constant`. In every layout but `one_draw` a longer clip begins with the noise of a shorter one,
    if that fills a window.

    Args:
        generator: The clip's own, which goes on to draw the noise of the steps; at first seeded with the seed.
        iteration: Number of clips made before, below 5, so that the seeds of frames are new ones.
    """
    if request.noise_layout is NoiseLayout.FRAME_SEEDS:
        return _frame_by_frame(request, generator, request.seed + iteration * MAX_NUM_FRAMES)
    if request.noise_layout is NoiseLayout.ONE_DRAW:
        return _draw(request, generator, request.num_frames)
    num_drawn = 1 if request.noise_layout is NoiseLayout.CONSTANT else min(request.num_frames, request.context_length)
    noise = _draw(request, generator, num_drawn)
    return noise[:, :, _order(request, generator)]


def later_noise(request: GenerationRequest, generator: torch.Generator, frames: range) -> torch.Tensor:
    """Draw unit noise behind a clip's end, [1, 4, n, h, w].

    Args:
        request: The clip's.
        generator: The clip's own, which draws what the layout does not take from elsewhere.
        frames: They may be any behind the clip's end.
    """
    if request.noise_layout is NoiseLayout.ONE_DRAW:
        return _draw(request, generator, len(frames))
    if request.noise_layout is NoiseLayout.FRAME_SEEDS:
        return torch.cat([_draw(request, seeded_generator(request.seed + frame), 1) for frame in frames], dim=2)
    longer = request.model_copy(update={"num_frames": frames.stop})
    window = request.model_copy(update={"num_frames": min(request.num_frames, request.context_length)})
    again = seeded_generator(request.seed)
    noise = _draw(window, again, 1 if request.noise_layout is NoiseLayout.CONSTANT else window.num_frames)
    order = _order(longer, again)[frames.start :]
    return noise[:, :, [frame % noise.shape[2] for frame in order]]


def _draw(request: GenerationRequest, generator: torch.Generator, num_frames: int) -> torch.Tensor:
    """Draw unit noise; a draft's is averaged from the larger clip's.

    The mean of k × k independent unit normals has the deviation 1/k, so k times it is unit noise again, exactly.
    """
    k = request.draft
    noise = initial_noise(generator, num_frames=num_frames, height=k * request.height, width=k * request.width)
    return noise if k == 1 else avg_pool3d(noise, (1, k, k)).mul_(k)


def _frame_by_frame(request: GenerationRequest, generator: torch.Generator, first_seed: int) -> torch.Tensor:
    """Draw frame i from the seed `first_seed + i`, as stills are.

    AUTOMATIC1111's batches do so. The clip's own generator draws the first, or else it would draw that frame's noise
    again for the first step.
    """
    first = _draw(request, generator, 1)
    noise = first.new_empty(*first.shape[:2], request.num_frames, *first.shape[3:])
    noise[:, :, :1] = first
    for frame in range(1, request.num_frames):
        noise[:, :, frame : frame + 1] = _draw(request, seeded_generator(first_seed + frame), 1)
    return noise


def _order(request: GenerationRequest, generator: torch.Generator) -> list[int]:
    """Map each frame of the clip to a drawn frame of noise.

    Shuffled as in FreeNoise (arXiv:2310.15169): behind the first window, every stretch of as many frames as
    a window moves on holds the noise of the stretch one window before, in a drawn order. So every window that
    begins on such a stretch sees the same noise, each frame of it once. A stretch is drawn whole, and the clip's
    end cuts it off.
    """
    num_frames, length = request.num_frames, request.context_length
    if request.noise_layout is NoiseLayout.CONSTANT:
        return [0] * num_frames
    if request.noise_layout is NoiseLayout.REPEAT:
        return [frame % length for frame in range(num_frames)]
    hop = length - request.effective_overlap
    order = list(range(length))
    while len(order) < num_frames:
        before = order[len(order) - length :][:hop]
        order += [before[place] for place in torch.randperm(hop, generator=generator).tolist()]
    return order[:num_frames]
