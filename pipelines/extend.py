"""Extend a clip: its frames as they were, and new ones that follow from them.

The old request is run again, and of its last frames the latents before every step are kept. Then windows of
three known quarters and a new one go on behind the end. A motion module makes the frames of a window belong
together, so the new ones continue the known ones; as these are given, the clip there was does not change.

Latents are kept of `known_frames` frames a step, however long the clip is: 20 MB for 25 steps of 512×512 pixels.

Source: the known part is put back at every step as in RePaint, arXiv:2201.09865, here from its own way through
the steps instead of noise added to the result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import SchedulerMixin, UNetMotionModel

from pipelines.conditions import NO_CONDITIONS, Conditions
from pipelines.context import Block, plan_extension
from pipelines.denoise import DenoiseState, DenoiseStep, denoise, denoise_behind, first_state
from pipelines.kept import Kept
from pipelines.latents import later_noise
from pipelines.prompts import TextStates
from pipelines.request import GenerationRequest


def denoise_extended(
    request: GenerationRequest,
    *,
    unet: UNetMotionModel,
    scheduler: SchedulerMixin,
    text: TextStates,
    state: DenoiseState,
    windows_a_call: int = 1,
    kept: Kept | None = None,
    conditions: Conditions = NO_CONDITIONS,
) -> Iterator[DenoiseStep]:
    """Make a clip and its extensions, if it has any; else this is `denoise`.

    Args:
        text: That of the first clip. Keys of a prompt are those of the first clip, too: counted from its end,
            as fractions of it. New frames show what its last frame shows.
        state: That of the first clip. No state of an extension can be gone on from.
        kept: As `denoise` takes it; a clip that has it can't be extended.
        conditions: As `denoise` takes them, for the whole clip.

    Yields:
        As `denoise`. The state after a step is that of the first clip, then that of a window's new frames;
        after the last step of all it is that of the whole clip.
    """
    models = {"unet": unet, "scheduler": scheduler, "text": text, "conditions": conditions}
    if not request.extended_from:  # handed on, not driven from here, where the first state would be held all the time
        return denoise(request, **models, state=state, windows_a_call=windows_a_call, kept=kept)
    return _denoise_on(request, models, state, windows_a_call)


def _denoise_on(
    request: GenerationRequest, models: dict[str, Any], state: DenoiseState, windows_a_call: int
) -> Iterator[DenoiseStep]:
    first = request.first_clip
    known = [_last(state.latents, request)]
    for step in denoise(first, **models, state=state, windows_a_call=windows_a_call):
        if step.state:
            state = step.state
            known.append(_last(state.latents, request))
        yield step
    finished = [state.latents]
    blocks = plan_extension(request)
    for number, block in enumerate(blocks, start=1):
        state = _begun(first, block, state, models["scheduler"])
        made = [state.latents]
        steps = denoise_behind(first, window=block.window, known=known[:-1], state=state, **models)
        for step in steps:
            state = step.state or state
            made.append(state.latents)
            if len(made) == len(known):
                finished.append(_kept(state.latents, block, request))
                if number == len(blocks):
                    state = replace(state, latents=torch.cat(finished, dim=2))
            yield replace(step, state=state, block=number)
        known = _known_next(known, [_kept(latents, block, request) for latents in made], request)


def _begun(first: GenerationRequest, block: Block, before: DenoiseState, scheduler: SchedulerMixin) -> DenoiseState:
    """The state of a window's new frames before their first step; the clip's generator goes on."""
    generator = torch.Generator("cpu")
    generator.set_state(before.generator_state)
    scheduler.set_timesteps(first.num_inference_steps)
    noise = later_noise(first, generator, block.window[first.known_frames :])
    return first_state(noise, generator, scheduler)


def _last(latents: torch.Tensor, request: GenerationRequest) -> torch.Tensor:
    """What the next window is given, as a copy, so that the rest need not be kept."""
    return latents[:, :, -request.known_frames :].clone()


def _kept(latents: torch.Tensor, block: Block, request: GenerationRequest) -> torch.Tensor:
    """Of a window's new frames, those within the clip."""
    return latents[:, :, : block.end - block.window[request.known_frames]]


def _known_next(
    known: Sequence[torch.Tensor], made: Sequence[torch.Tensor], request: GenerationRequest
) -> list[torch.Tensor]:
    """The last frames before every step, once a window's are among them."""
    return [_last(torch.cat(pair, dim=2), request) for pair in zip(known, made, strict=True)]
