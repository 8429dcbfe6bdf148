"""The same request through our loop and through a stock pipeline, for tests that compare the two."""

from typing import Any

import torch

from pipelines.engine.denoise import build_scheduler, denoise, first_state
from pipelines.engine.latents import initial_noise, seeded_generator
from pipelines.engine.models import Components, applied
from pipelines.engine.prompt_states import TextStates, encode_prompts
from pipelines.engine.steering.conditions import NO_CONDITIONS, Conditions
from pipelines.plan.prompt.travel import PromptTravel
from pipelines.plan.request import GenerationRequest


def encode(
    components: Components,
    prompt: str | PromptTravel,
    negative_prompt: str | PromptTravel = "green",
    clip_skip: int = 0,
) -> TextStates:
    """Text states as `generate` makes them."""
    return encode_prompts(
        components.tokenizers,
        components.text_encoders,
        prompt=prompt,
        negative_prompt=negative_prompt,
        clip_skip=clip_skip,
        zero_empty_negative=components.zero_empty_negative,
    )


def our_latents(
    components: Components, request: GenerationRequest, conditions: Conditions = NO_CONDITIONS
) -> torch.Tensor:
    """The clip after our last step, float32 [1, 4, F, h, w]."""
    scheduler = build_scheduler(request, components.scheduler_config)
    generator = seeded_generator(request.seed)
    noise = initial_noise(generator, num_frames=request.num_frames, height=request.height, width=request.width)
    text = encode(components, request.prompt, request.negative_prompt)
    start = first_state(noise, generator, scheduler)
    with applied(components, request):
        *_, last = denoise(
            request, unet=components.unet, scheduler=scheduler, text=text, state=start, conditions=conditions
        )
    return last.state.latents


def stock_run(
    pipe: Any, components: Components, request: GenerationRequest, output_type: str, **options: object
) -> Any:
    """What a stock pipeline over these components makes of a request."""
    pipe.set_progress_bar_config(disable=True)
    with applied(components, request):
        return pipe(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt or None,  # what stock calls empty
            num_frames=request.num_frames,
            height=request.height,
            width=request.width,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type=output_type,
            **options,
        ).frames
