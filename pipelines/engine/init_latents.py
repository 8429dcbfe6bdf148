"""Initial latents: noise, or noised pictures or source, and known regions.

Pictures are blended into the noise frame by frame (`image_falloff`), a source clip is taken as it is; then both are
noised for the step that `strength` begins at, as image-to-image does (SDEdit, arXiv:2108.01073). What must stay, the
ends of the clip or all outside a mask, is put back after every step, noised as far as the clip is by then (RePaint's
known region, arXiv:2201.09865).
"""

from collections.abc import Generator
from typing import NamedTuple

import torch
from diffusers import SchedulerMixin

from pipelines.engine.base_models.vae_files import AnyVae
from pipelines.engine.denoise import DenoiseState, first_state
from pipelines.engine.encode import encode_frames, encode_in_chunks
from pipelines.engine.hires import enlarge_latents
from pipelines.engine.inpaint import KnownRegion
from pipelines.engine.latents import clip_noise, seeded_generator
from pipelines.engine.masks import latent_masks
from pipelines.plan.clip_inputs import ClipInputs, FrameClip
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Progress
from pipelines.plan.faults import Fault
from pipelines.plan.image_falloff import hold_weights
from pipelines.plan.notes import Note
from pipelines.plan.plan import first_step, second_step
from pipelines.plan.request import GenerationRequest

_READING = Note("progress.beginning", "Reading the source clip")


class InitLatents(NamedTuple):
    """State before a clip's first step, and the region to re-impose."""

    state: DenoiseState
    known_region: KnownRegion | None = None


def prepare_latents(
    request: GenerationRequest, inputs: ClipInputs, vae: AnyVae, scheduler: SchedulerMixin
) -> Generator[Progress, None, InitLatents]:
    """Draw the clip's noise and blend in its pictures or source.

    Closing the generator stops it between a few frames of the source.

    Yields:
        How much of a source clip is encoded.

    Raises:
        InvalidRequestError: An input has too few frames, or no step is left.
    """
    check_inputs(request, inputs)
    generator = seeded_generator(request.seed)
    noise = clip_noise(request, generator)
    start = first_step(request, len(scheduler.timesteps))
    if not request.starts_from_pictures and not request.mask:
        return InitLatents(first_state(noise, generator, scheduler))
    if request.first_frame:
        under, held = _blend_pictures(request, inputs, vae, noise)
        noise = clip_noise(request, generator, iteration=1)
    else:
        under = held = yield from _encode_source(request, inputs, vae)
    known_region = _known_region(request, inputs, held, noise)
    if request.starts_from_pictures:
        latents = scheduler.add_noise(under, noise, scheduler.timesteps[start : start + 1])
    else:
        latents = noise * scheduler.init_noise_sigma
    return _start_at(start, latents, generator, scheduler, known_region)


def prepare_hires_latents(
    request: GenerationRequest,
    inputs: ClipInputs,
    vae: AnyVae,
    scheduler: SchedulerMixin,
    before: DenoiseState,
) -> Generator[Progress, None, InitLatents]:
    """Enlarge a finished clip and noise it for the second pass.

    Args:
        request: The second pass, as `passes_of` has it.
        before: The first pass after its last step; its generator goes on.

    Yields:
        How much is enlarged, and how much of a source clip is encoded.
    """
    generator = torch.Generator("cpu")
    generator.set_state(before.generator_state)
    under = yield from enlarge_latents(request, vae, before.latents)
    noise = clip_noise(request, generator, iteration=2)  # 0 and 1 are a beginning's own
    known_region = None
    if request.mask:
        known_region = _known_region(request, inputs, (yield from _encode_source(request, inputs, vae)), noise)
    elif request.first_frame and request.exact_ends:
        known_region = _known_region(request, inputs, _encode_ends(request, inputs, vae), noise)
    start = second_step(request, len(scheduler.timesteps))
    latents = scheduler.add_noise(under, noise, scheduler.timesteps[start : start + 1])
    return _start_at(start, latents, generator, scheduler, known_region)


def _start_at(
    start: int, latents: torch.Tensor, generator: torch.Generator, scheduler: SchedulerMixin, region: KnownRegion | None
) -> InitLatents:
    if region:
        region.put_back(latents, scheduler, start)
    return InitLatents(DenoiseState(start, latents, generator.get_state(), begun=start), region)


def check_inputs(request: GenerationRequest, inputs: ClipInputs) -> None:
    """Refuse what can't be used, before anything is computed.

    Raises:
        InvalidRequestError: An input is missing, or has neither one frame nor as many as the clip.
    """
    pictures = {"first_frame": inputs.first_frame, "last_frame": inputs.last_frame}
    clips = {"source_video": inputs.source, "mask": inputs.mask}
    for name, clip in {**pictures, **clips}.items():
        if getattr(request, name) and clip is None:
            raise InvalidRequestError(
                Fault(
                    code="inputs.only_hash",
                    field=name,
                    rule="be there",
                    got="only its hash",
                    fix="Choose the file again",
                )
            )
        if clip is not None and name in clips and 1 != clip.num_frames < request.num_frames:
            raise InvalidRequestError(
                Fault(
                    code="inputs.too_few_frames",
                    field=name,
                    rule="have 1 frame or at least {num_frames:name} ({limit})",
                    got=clip.num_frames,
                    fix="Lower {num_frames:label}, or choose a longer clip",
                    limit=request.num_frames,
                )
            )


def _encode_source(
    request: GenerationRequest, inputs: ClipInputs, vae: AnyVae
) -> Generator[Progress, None, torch.Tensor]:
    """Encode the source, float32 [1, 4, F, h, w]."""
    assert inputs.source is not None
    if inputs.source.num_frames == 1:
        return _picture(request, inputs.source, vae).expand(-1, -1, request.num_frames, -1, -1)
    return (yield from encode_in_chunks(vae, request, inputs.source, range(request.num_frames), note=_READING))


def _picture(request: GenerationRequest, picture: FrameClip, vae: AnyVae) -> torch.Tensor:
    return encode_frames(vae, request, picture, [0])


def _blend_pictures(
    request: GenerationRequest, inputs: ClipInputs, vae: AnyVae, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend the pictures into the noise.

    Returns:
        The blend, float32 [1, 4, F, h, w], and the latents of the clip's ends, [1, 4, 1 or 2, h, w].
    """
    ends = _encode_ends(request, inputs, vae)
    weights = torch.tensor(hold_weights(request))
    a, b = (part[:, None, None] for part in weights.unbind(1))
    blended = noise * (1 - a - b) + ends[:, :, :1] * a
    if inputs.last_frame:
        blended += ends[:, :, 1:] * b
    return blended, ends


def _encode_ends(request: GenerationRequest, inputs: ClipInputs, vae: AnyVae) -> torch.Tensor:
    """Encode the end pictures, float32 [1, 4, 1 or 2, h, w]."""
    pictures = [picture for picture in (inputs.first_frame, inputs.last_frame) if picture]
    return torch.cat([_picture(request, picture, vae) for picture in pictures], dim=2)


def _known_region(
    request: GenerationRequest, inputs: ClipInputs, held: torch.Tensor, noise: torch.Tensor
) -> KnownRegion | None:
    if request.mask:
        assert inputs.mask is not None
        return KnownRegion(range(request.num_frames), held, noise, latent_masks(request, inputs.mask))
    if request.first_frame and request.exact_ends:
        frames = [0, request.num_frames - 1][: held.shape[2]]
        return KnownRegion(frames, held, noise[:, :, frames], torch.zeros(1, 1, len(frames), *held.shape[3:]))
    return None
