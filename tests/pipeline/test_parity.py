"""One window of ours against diffusers' own AnimateDiffPipeline on the same components."""

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffPipeline

from pipelines.engine.denoise import build_scheduler
from pipelines.engine.models import Components, ModelStore
from pipelines.plan.choices import MotionNorm, Scheduler
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import run
from tests.pipeline.stock import our_latents, stock_run

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


def stock_pipe(components: Components, request: GenerationRequest) -> AnimateDiffPipeline:
    return AnimateDiffPipeline(
        vae=components.vae,
        text_encoder=components.text_encoders[0],
        tokenizer=components.tokenizers[0],
        unet=components.unet,
        motion_adapter=None,
        scheduler=build_scheduler(request, components.scheduler_config),
    )


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_one_window_equals_stock_bit_for_bit(store: ModelStore, scheduler: Scheduler, guidance_scale: float):
    components = store.load("demo", "demo")
    request = request_for(scheduler, guidance_scale=guidance_scale)
    ours, theirs = (
        our_latents(components, request),
        stock_run(stock_pipe(components, request), components, request, "latent"),
    )
    assert theirs.abs().max() > 0.1
    assert torch.equal(ours, theirs), f"max |d| = {(ours - theirs).abs().max():.2e}"


def test_decoded_frames_equal_stock(store: ModelStore):
    request = request_for(Scheduler.DDIM)
    components = store.load("demo", "demo")
    theirs = stock_run(stock_pipe(components, request), components, request, "np")[0]
    ours, _ = run(request, store=store)
    assert np.array_equal(ours, (theirs * 255).round().astype(np.uint8))


def test_motion_norm_is_a_real_difference(store: ModelStore):
    components = store.load("demo", "demo")
    original = our_latents(components, request_for(Scheduler.DDIM, motion_norm=MotionNorm.ORIGINAL))
    diffusers = our_latents(components, request_for(Scheduler.DDIM))
    assert not torch.allclose(original, diffusers, atol=1e-3)
