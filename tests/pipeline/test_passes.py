"""The second pass: the first one's clip enlarged, noised and made anew at its size, with all that steers it."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from pipelines.engine import checkpoint
from pipelines.engine.denoise import DenoiseState, build_scheduler
from pipelines.engine.encode import run_to_end
from pipelines.engine.generate import generate
from pipelines.engine.hires import resize_inputs
from pipelines.engine.init_latents import prepare_hires_latents
from pipelines.engine.latents import clip_noise
from pipelines.engine.models import Components, ModelStore
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.events import Progress, Stage
from pipelines.plan.image_fit import ImageFit, fitted
from pipelines.plan.plan import passes_of
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.world import Scene, render
from tests.clips import ArrayClip, noise_clip
from tests.pipeline.sink import KeptFrames, run

PICTURE, SOURCE, MASK = "1" * 64, "2" * 64, "3" * 64
SMALL = {
    "prompt": "a red star moving right on a cyan background",
    "seed": 5,
    "num_frames": 6,
    "width": 64,
    "height": 64,
    "num_inference_steps": 4,
    "base_model": "demo",
    "motion_module": "demo",
    "hires_scale": 1.5,
}


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def components(store) -> Components:
    return store.load("demo", "demo")


def two_passes(**settings) -> GenerationRequest:
    return GenerationRequest.build(**SMALL | settings)


def prepared(request: GenerationRequest, components: Components) -> tuple[torch.Tensor, torch.Tensor, DenoiseState]:
    """Latents of a first pass, the noise of the second, and where it begins."""
    second = passes_of(request)[1]
    generator = torch.Generator().manual_seed(9)
    latents = torch.randn(1, 4, 6, 8, 8, generator=generator)
    before = DenoiseState(4, latents, generator.get_state())
    scheduler = build_scheduler(second, components.scheduler_config)
    state = run_to_end(prepare_hires_latents(second, ClipInputs(), components.vae, scheduler, before)).state
    return latents, clip_noise(second, generator), state


def test_a_clip_of_one_pass_is_the_request_itself():
    request = two_passes(hires_scale=1)
    assert passes_of(request) == (request,)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_the_second_pass_begins_at_the_enlarged_clip_with_the_noise_of_its_step(components, strength):
    request = two_passes(hires_strength=strength)
    latents, noise, state = prepared(request, components)
    scheduler = build_scheduler(request, components.scheduler_config)
    start = 4 - int(4 * strength)
    enlarged = interpolate(latents[0].transpose(0, 1), (12, 12), mode="bilinear").transpose(0, 1)[None]
    assert (state.step, state.begun) == (start, start)
    assert torch.equal(state.latents, scheduler.add_noise(enlarged, noise, scheduler.timesteps[start : start + 1]))


def test_pixels_are_enlarged_instead_where_that_is_wished(components):
    _, noise, as_latents = prepared(two_passes(), components)
    _, same_noise, as_pixels = prepared(two_passes(hires_method="pixel"), components)
    assert torch.equal(noise, same_noise)
    assert not torch.allclose(as_latents.latents, as_pixels.latents, atol=0.1)


def test_the_frames_are_those_of_the_larger_size_and_show_the_same_clip(store):
    request = two_passes(num_inference_steps=8, width=128, height=128, hires_method="pixel", hires_strength=0.4)
    small, _ = run(request.model_copy(update={"hires_scale": 1.0}), store=store)
    large, events = run(request, store=store)
    assert large.shape == (6, 192, 192, 3)
    shrunk = np.stack([fitted(picture, width=128, height=128, fit=ImageFit.STRETCH) for picture in large])
    change = np.abs(small.astype(int) - shrunk).mean()
    assert change < 12, change
    assert change < np.abs(small.astype(int) - shrunk[:, :, ::-1]).mean() / 3
    steps = [
        event
        for event in events
        if isinstance(event, Progress) and event.stage is Stage.DENOISE and event.share is None
    ]
    assert [event.step for event in steps] == list(range(1, steps[-1].total + 1))
    assert steps[0].note.startswith("Pass 1 of 2, step 1 of 8")
    assert steps[-1].note == "Pass 2 of 2, step 8 of 8"
    assert steps[-1].total == 8 + 3


def test_what_control_units_follow_is_brought_to_the_size_of_each_pass():
    clip = noise_clip(6, width=96, height=96)
    sizes = []
    for pass_request in passes_of(two_passes()):
        followed = resize_inputs(pass_request, ClipInputs(controls=(clip,))).controls[0]
        sizes.append((followed.width, followed.height, followed.frames([2, 0]).shape, followed.num_frames))
    assert sizes == [(64, 64, (2, 64, 64, 3), 6), (96, 96, (2, 96, 96, 3), 6)]


def test_outside_a_mask_the_source_stays_in_its_full_size(store):
    source = noise_clip(6, width=96, height=96)
    mask = np.zeros((1, 96, 96, 3), np.uint8)
    mask[:, 32:64, 32:64] = 255
    inputs = ClipInputs(source=source, mask=ArrayClip(mask))
    frames, _ = run(two_passes(source_video=SOURCE, mask=MASK, mask_feather=0), inputs=inputs, store=store)
    outside = mask[0, ..., 0] == 0
    assert np.array_equal(frames[:, outside], source.array[:, outside])
    assert not np.array_equal(frames[:, ~outside], source.array[:, ~outside])


def test_the_first_frame_is_kept_through_both_passes(store):
    picture = render(Scene("star", "red", "cyan", "large", "right"), height=96, width=96)[:1]
    inputs = ClipInputs(first_frame=ArrayClip(picture))
    frames, _ = run(two_passes(first_frame=PICTURE), inputs=inputs, store=store)
    error = np.square(frames[0].astype(float) - picture[0]).mean()
    assert 10 * np.log10(255**2 / error) > 25


@pytest.mark.parametrize("after", [2, 4, 5])
def test_an_interrupted_run_goes_on_in_the_pass_it_was_in(store, tmp_path, monkeypatch, after):
    monkeypatch.setattr(checkpoint, "SAVE_SHARE", float("inf"))
    request = two_passes()
    whole, _ = run(request, store=store)
    events = generate(request, open_writer=KeptFrames().opener(), store=store, checkpoints=tmp_path)
    for event in events:
        if event.stage is Stage.DENOISE and event.step == after:
            break
    events.close()
    again, message = run(request, store=store, checkpoints=tmp_path)
    assert np.array_equal(again, whole)
    place = "pass 1 of 2, step 2 of 4" if after == 2 else f"pass {1 if after == 4 else 2} of 2, step "
    assert message[-1].warnings[0].startswith(f"Going on from {place}")
    assert not list(tmp_path.glob("*.checkpoint"))
