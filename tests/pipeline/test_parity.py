"""One window of ours against diffusers' own AnimateDiffPipeline on the same components."""

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffPipeline

from pipelines.denoise import build_scheduler, denoise, first_state
from pipelines.latents import initial_noise, seeded_generator
from pipelines.models import Components, ModelStore, applied
from pipelines.prompts import encode_prompts
from pipelines.request import GenerationRequest, MotionNorm, Scheduler
from tests.pipeline.sink import run

PROMPT, NEGATIVE = "a red circle moving right on a blue background", "green"


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


def request_for(scheduler: Scheduler, **settings) -> GenerationRequest:
    defaults = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "seed": 5,
        "num_frames": 8,
        "width": 64,
        "height": 64,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "scheduler": scheduler,
        "motion_norm": MotionNorm.DIFFUSERS,
    }
    return GenerationRequest.build(**defaults | settings)


def our_latents(components: Components, request: GenerationRequest) -> torch.Tensor:
    scheduler = build_scheduler(request, components.scheduler_config)
    generator = seeded_generator(request.seed)
    noise = initial_noise(generator, num_frames=request.num_frames, height=request.height, width=request.width)
    text = encode_prompts(
        components.tokenizers,
        components.text_encoders,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
    )
    with applied(components, request):
        *_, last = denoise(
            request,
            unet=components.unet,
            scheduler=scheduler,
            text=text,
            state=first_state(noise, generator, scheduler),
        )
    return last.state.latents


def stock_run(components: Components, request: GenerationRequest, output_type: str):
    pipe = AnimateDiffPipeline(
        vae=components.vae,
        text_encoder=components.text_encoders[0],
        tokenizer=components.tokenizers[0],
        unet=components.unet,
        motion_adapter=None,
        scheduler=build_scheduler(request, components.scheduler_config),
    )
    pipe.set_progress_bar_config(disable=True)
    with applied(components, request):
        return pipe(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            num_frames=request.num_frames,
            height=request.height,
            width=request.width,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type=output_type,
        ).frames


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_one_window_equals_stock_bit_for_bit(store: ModelStore, scheduler: Scheduler, guidance_scale: float):
    components = store.load("demo", "demo")
    request = request_for(scheduler, guidance_scale=guidance_scale)
    ours, theirs = our_latents(components, request), stock_run(components, request, "latent")
    assert theirs.abs().max() > 0.1
    assert torch.equal(ours, theirs), f"max |d| = {(ours - theirs).abs().max():.2e}"


def test_decoded_frames_equal_stock(store: ModelStore):
    request = request_for(Scheduler.DDIM)
    theirs = stock_run(store.load("demo", "demo"), request, "np")[0]
    ours, _ = run(request, store=store)
    assert np.array_equal(ours, (theirs * 255).round().astype(np.uint8))


def test_motion_norm_is_a_real_difference(store: ModelStore):
    components = store.load("demo", "demo")
    original = our_latents(components, request_for(Scheduler.DDIM, motion_norm=MotionNorm.ORIGINAL))
    diffusers = our_latents(components, request_for(Scheduler.DDIM))
    assert not torch.allclose(original, diffusers, atol=1e-3)
