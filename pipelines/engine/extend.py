"""Extend a clip: its frames unchanged, and new ones that continue them.

The old request is run again, and of its last frames the latents before every step are kept. Then windows of
three known quarters and a new one go on behind the end. A motion module makes the frames of a window belong
together, so the new ones continue the known ones; as these are given, the clip there was does not change.

Latents are kept of `known_frames` frames a step, however long the clip is: 20 MB for 25 steps of 512×512 pixels. They
are part of the state, so that an extension goes on between any two steps, as other runs do.

Source: the known part is put back at every step as in RePaint, arXiv:2201.09865, here from its own way through
the steps instead of noise added to the result.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypedDict

import torch
from diffusers import SchedulerMixin, UNetMotionModel

from pipelines.engine.denoise import DenoiseState, DenoiseStep, denoise, denoise_behind, first_state
from pipelines.engine.inpaint import KnownRegion
from pipelines.engine.latents import later_noise
from pipelines.engine.prompt_states import TextStates
from pipelines.engine.steering.conditions import NO_CONDITIONS, Conditions
from pipelines.plan.context import Block, plan_extension
from pipelines.plan.request import GenerationRequest


class _Models(TypedDict):
    """All that a call of the UNet takes beside the clip."""

    unet: UNetMotionModel
    scheduler: SchedulerMixin
    text: TextStates
    conditions: Conditions


def denoise_extended(
    request: GenerationRequest,
    *,
    unet: UNetMotionModel,
    scheduler: SchedulerMixin,
    text: TextStates,
    state: DenoiseState,
    windows_a_call: int = 1,
    known_region: KnownRegion | None = None,
    conditions: Conditions = NO_CONDITIONS,
) -> Generator[DenoiseStep, None, None]:
    """Denoise a clip and its extensions; without any this is `denoise`.

    Args:
        text: That of the first clip. Keys of a prompt are those of the first clip, too: counted from its end,
            as fractions of it. New frames show what its last frame shows.
        state: That of the first clip, or any that came of this.
        known_region: As `denoise` takes it; a clip that has it can't be extended.
        conditions: As `denoise` takes them, for the whole clip.

    Yields:
        As `denoise`. The latents of the state after a step are those of the first clip, then those of a window's new
        frames; after the last step of all they are those of the whole clip.
    """
    models: _Models = {"unet": unet, "scheduler": scheduler, "text": text, "conditions": conditions}
    if not request.extended_from:  # handed on, not driven from here, where the first state would be held all the time
        return denoise(request, **models, state=state, windows_a_call=windows_a_call, known_region=known_region)
    return _denoise_on(request, models, state, windows_a_call)


def _denoise_on(
    request: GenerationRequest, models: _Models, state: DenoiseState, windows_a_call: int
) -> Generator[DenoiseStep, None, None]:
    first, blocks = request.first_clip, plan_extension(request)
    steps = len(models["scheduler"].timesteps)
    if not state.block:
        trajectory = state.made or (_tail(state.latents, request),)
        with closing(denoise(first, **models, state=state, windows_a_call=windows_a_call)) as first_steps:
            for step in first_steps:
                if step.state:
                    trajectory = (*trajectory, _tail(step.state.latents, request))
                    state = replace(step.state, made=trajectory)
                    step = replace(step, state=state)
                yield step
    while (number := state.block + (state.step == steps)) <= len(blocks):
        block = blocks[number - 1]
        if number > state.block:
            state = _next_window_state(request, blocks, state, models["scheduler"])
        known_latents, trajectory, before = state.known, state.made, state.before
        later_steps = denoise_behind(
            first, window=block.window, known_latents=known_latents[:-1], state=state, **models
        )
        with closing(later_steps):
            for step in later_steps:
                if step.state:
                    trajectory = (*trajectory, step.state.latents)
                    state = replace(step.state, block=number, known=known_latents, made=trajectory, before=before)
                    if (state.step, number) == (steps, len(blocks)):
                        clip = _clip_so_far(state, block, request)
                        state = replace(state, latents=clip, known=(), made=(), before=None)
                    step = replace(step, state=state)
                yield replace(step, block=number)


def _next_window_state(
    request: GenerationRequest, blocks: Sequence[Block], before: DenoiseState, scheduler: SchedulerMixin
) -> DenoiseState:
    """Build the next window's first state; the clip's generator goes on.

    Args:
        before: The first clip, or a window, after its last step.
    """
    first = request.first_clip
    generator = torch.Generator("cpu")
    generator.set_state(before.generator_state)
    scheduler.set_timesteps(first.num_inference_steps)
    noise = later_noise(first, generator, blocks[before.block].window[first.known_frames :])
    state = first_state(noise, generator, scheduler)
    known_latents, through = before.made, before.latents
    if before.block:
        block = blocks[before.block - 1]
        pairs = zip(before.known, before.made, strict=True)
        known_latents = tuple(_tail(torch.cat([old, _trim(new, block, request)], dim=2), request) for old, new in pairs)
        through = _clip_so_far(before, block, request)
    return replace(state, block=before.block + 1, known=known_latents, made=(state.latents,), before=through)


def _tail(latents: torch.Tensor, request: GenerationRequest) -> torch.Tensor:
    """Copy the frames that the next window sees, freeing the rest."""
    return latents[:, :, -request.known_frames :].clone()


def _trim(latents: torch.Tensor, block: Block, request: GenerationRequest) -> torch.Tensor:
    """Cut a window's new frames to those within the clip."""
    return latents[:, :, : block.end - block.window[request.known_frames]]


def _clip_so_far(state: DenoiseState, block: Block, request: GenerationRequest) -> torch.Tensor:
    """Join the clip up to the end of a finished window."""
    assert state.before is not None
    return torch.cat([state.before, _trim(state.latents, block, request)], dim=2)
