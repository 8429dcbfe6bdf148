"""One window of ours against diffusers' own AnimateDiffSDXLPipeline on the same tiny Stable Diffusion XL."""

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffSDXLPipeline

from pipelines.engine.denoise import build_scheduler
from pipelines.engine.models import Components, ModelStore
from pipelines.engine.steering.frame_conditions import frame_conditions
from pipelines.plan.choices import MotionNorm, Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.prompt.travel import plan_travel
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import run
from tests.pipeline.stock import encode, our_latents, stock_run


@pytest.fixture(scope="module")
def components(xl_store: ModelStore) -> Components:
    return xl_store.load("xl", "xl-motion")


def request_for(**settings) -> GenerationRequest:
    defaults = {
        "base_model": "xl",
        "motion_module": "xl-motion",
        "prompt": "a red circle moving right",
        "negative_prompt": "green",
        "seed": 5,
        "num_frames": 6,
        "width": 96,  # not square, so that the two sizes can't be confused
        "height": 64,
        "num_inference_steps": 3,
        "guidance_scale": 3.0,
        "motion_norm": MotionNorm.DIFFUSERS,
    }
    return GenerationRequest.build(**defaults | settings)


def stock_pipe(components: Components, request: GenerationRequest) -> AnimateDiffSDXLPipeline:
    return AnimateDiffSDXLPipeline(
        vae=components.vae,
        text_encoder=components.text_encoders[0],
        text_encoder_2=components.text_encoders[1],
        tokenizer=components.tokenizers[0],
        tokenizer_2=components.tokenizers[1],
        unet=components.unet,
        motion_adapter=None,
        scheduler=build_scheduler(request, components.scheduler_config),
    )


@pytest.mark.parametrize("scheduler", [Scheduler.DDIM, Scheduler.EULER])
@pytest.mark.parametrize(("guidance_scale", "negative_prompt"), [(1.0, ""), (3.0, ""), (3.0, "green")])
def test_one_window_equals_stock_bit_for_bit(components, scheduler, guidance_scale, negative_prompt):
    request = request_for(scheduler=scheduler, guidance_scale=guidance_scale, negative_prompt=negative_prompt)
    ours, theirs = (
        our_latents(components, request),
        stock_run(stock_pipe(components, request), components, request, "latent"),
    )
    assert theirs.abs().max() > 0.1
    assert torch.equal(ours, theirs), f"max |d| = {(ours - theirs).abs().max():.2e}"


def test_decoded_frames_equal_stock(xl_store, components):
    request = request_for()
    theirs = stock_run(stock_pipe(components, request), components, request, "np")[0]
    ours, _ = run(request, store=xl_store)
    assert np.array_equal(ours, (theirs * 255).round().astype(np.uint8))


def test_a_clip_longer_than_the_window_is_made_in_windows(xl_store):
    frames, _ = run(request_for(num_frames=24, context_length=8, motion_norm=MotionNorm.ORIGINAL), store=xl_store)
    assert frames.shape == (24, 64, 96, 3)
    assert frames.reshape(24, -1).std(axis=1).min() > 0


def test_every_condition_of_the_unet_changes_the_clip(components):
    plain = encode(components, "a star")
    frames = {"guided": True, "height": 64, "width": 96}
    added = plain.added_conditions(**frames)
    assert added["text_embeds"].shape == (2, 48)
    assert added["time_ids"].tolist() == [[64, 96, 0, 0, 64, 96]] * 2
    alone = plain.added_conditions(**frames | {"guided": False})
    assert torch.equal(alone["text_embeds"], added["text_embeds"][1:])
    sample, states = torch.ones(1, 4, 2, 8, 12), plain.for_frames((0, 1), guided=False)
    changes = ({}, {"text_embeds": added["text_embeds"][:1]}, {"time_ids": alone["time_ids"] * 2})
    with torch.no_grad():
        expected, *changed = (
            components.unet(sample, 500, states, added_cond_kwargs=alone | other).sample for other in changes
        )
    assert not any(torch.equal(prediction, expected) for prediction in changed)


@pytest.mark.parametrize("guided", [False, True])
def test_a_condition_for_every_frame_does_what_the_same_one_for_all_does(components, guided):
    text = encode(components, "a star")
    sample = torch.ones(2 if guided else 1, 4, 3, 8, 12)
    states = text.for_frames(range(3), guided=guided)
    added = text.added_conditions(guided=guided, height=64, width=96)
    rows = {name: value.repeat_interleave(3, dim=0) for name, value in added.items()}
    first = {name: value.clone() for name, value in rows.items()}
    first["text_embeds"][0] += 1
    with torch.no_grad():
        expected = components.unet(sample, 500, states, added_cond_kwargs=added).sample
        with frame_conditions(components.unet, per_frame=True):
            sample_by_frame = components.unet(sample, 500, states, added_cond_kwargs=rows).sample
        with frame_conditions(components.unet, per_frame=True):
            other = components.unet(sample, 500, states, added_cond_kwargs=first).sample
        again = components.unet(sample, 500, states, added_cond_kwargs=added).sample
    torch.testing.assert_close(sample_by_frame, expected)  # another number of rows rounds otherwise
    assert torch.equal(again, expected)
    assert not torch.equal(other[0, :, 0], expected[0, :, 0])


def test_pooled_vectors_travel_too(components):
    text = encode(components, plan_travel("0: a star\n4: a red circle", num_frames=6), "green")
    star, circle = encode(components, "a star"), encode(components, "a red circle")
    added = text.added_conditions(guided=True, height=64, width=96, indices=[4, 2, 0])
    assert added["time_ids"].shape == (6, 6)
    negative, positive = added["text_embeds"].chunk(2)
    assert torch.equal(negative, star.pooled[:1].repeat(3, 1))
    expected = torch.stack([circle.pooled[1], (star.pooled[1] + circle.pooled[1]) / 2, star.pooled[1]])
    torch.testing.assert_close(positive, expected)


def test_a_travel_makes_a_clip_in_windows(xl_store):
    request = {"num_frames": 12, "context_length": 8, "num_inference_steps": 2, "prompt": "a star"}
    plain, _ = run(request_for(**request), store=xl_store)
    one_key, _ = run(request_for(**request | {"prompt": "0: a star"}), store=xl_store)
    travel, _ = run(request_for(**request | {"prompt": "0: a star\n-1: red"}), store=xl_store)
    assert np.array_equal(one_key, plain)
    assert not np.array_equal(travel[11], plain[11])


def test_of_a_negative_travel_only_the_empty_texts_are_zeros(components):
    text = encode(components, "a star", plan_travel("0: <\n4: green", num_frames=6))
    assert text.negative[1].any()
    assert text.pooled[1].any()


def test_both_encoders_read_all_of_a_long_prompt(components):
    long = "a red circle " * 10 + "moving right"  # both beyond one chunk of 77 tokens, and within two
    states = encode(components, long)
    assert states.positive.shape == states.negative.shape == (1, 2 * 77, 32 + 48)
    shorter = encode(components, "a red circle " * 10)
    change = (states.positive - shorter.positive).abs().amax(dim=1)[0]
    assert change[:32].max() > 0
    assert change[32:].max() > 0


def test_a_weight_changes_what_both_encoders_say_but_not_the_pooled_vector(components):
    plain, heavy = encode(components, "a star"), encode(components, "a (star:1.5)")
    for part in (slice(32), slice(32, None)):
        assert not torch.allclose(plain.positive[..., part], heavy.positive[..., part], atol=1e-2)
    assert torch.equal(plain.pooled, heavy.pooled)


def test_an_empty_negative_prompt_is_zeros_and_one_with_words_is_not(components):
    empty = encode(components, "a star", "")
    assert not empty.negative.any()
    assert not empty.pooled[0].any()
    assert empty.pooled[1].any()
    assert encode(components, "a star", "green").negative.any()


def test_clip_skip_counts_from_the_penultimate_layer(components):
    words = [tokenizer("a star", padding="max_length", return_tensors="pt") for tokenizer in components.tokenizers]
    with torch.no_grad():
        layers = [
            encoder(ids.input_ids, output_hidden_states=True).hidden_states
            for ids, encoder in zip(words, components.text_encoders, strict=True)
        ]
    for clip_skip in (0, 1):
        expected = torch.cat([states[-2 - clip_skip] for states in layers], dim=-1)
        assert torch.equal(encode(components, "a star", clip_skip=clip_skip).positive, expected)
    with pytest.raises(InvalidRequestError, match="clip_skip must be below the text encoder's 2 layers in use, got 2"):
        encode(components, "a star", clip_skip=2)
