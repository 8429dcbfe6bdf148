"""Clips that begin at pictures or a source clip: blended, noised, put back, as far as stock does it equal to stock."""

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffVideoToVideoPipeline

from pipelines.engine.denoise import build_scheduler, denoise
from pipelines.engine.encode import encode_frames, run_to_end
from pipelines.engine.generate import generate
from pipelines.engine.init_latents import prepare_latents
from pipelines.engine.latents import initial_noise, seeded_generator
from pipelines.engine.models import Components, ModelStore, applied
from pipelines.plan.choices import MotionNorm, Scheduler
from pipelines.plan.clip_inputs import ClipInputs
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Progress
from pipelines.plan.plan import first_step
from pipelines.plan.request import GenerationRequest
from scripts.train_demo.world import Scene, render
from tests.clips import ArrayClip
from tests.pipeline.sink import KeptFrames, run
from tests.pipeline.stock import encode

FIRST, LAST, SOURCE, MASK = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
SCENE = Scene("star", "red", "cyan", "large", "right")
SIDE = 64


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(scope="module")
def components(store) -> Components:
    return store.load("demo", "demo")


@pytest.fixture
def clip() -> ArrayClip:
    return ArrayClip(render(SCENE, height=SIDE, width=SIDE))


@pytest.fixture
def ends(clip) -> ClipInputs:
    return ClipInputs(first_frame=ArrayClip(clip.array[:1]), last_frame=ArrayClip(clip.array[-1:]))


def request_for(**settings) -> GenerationRequest:
    defaults = {
        "prompt": "a red star moving right on a cyan background",
        "seed": 5,
        "num_frames": 8,
        "width": SIDE,
        "height": SIDE,
        "num_inference_steps": 5,
        "guidance_scale": 3.0,
        "base_model": "demo",
        "motion_module": "demo",
    }
    return GenerationRequest.build(**defaults | settings)


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_a_source_clip_is_remade_as_stock_does(components, clip, scheduler):
    request = request_for(
        scheduler=scheduler, source_video=SOURCE, strength=0.6, motion_norm=MotionNorm.DIFFUSERS, num_inference_steps=6
    )
    ours_scheduler = build_scheduler(request, components.scheduler_config)
    start = run_to_end(prepare_latents(request, ClipInputs(source=clip), components.vae, ours_scheduler))
    assert start.state.step == 3
    text = encode(components, request.prompt, "")
    with applied(components, request):
        *_, last = denoise(
            request,
            unet=components.unet,
            scheduler=ours_scheduler,
            text=text,
            state=start.state,
            known_region=start.known_region,
        )
    generator = torch.Generator()
    generator.set_state(start.state.generator_state)
    pipe = AnimateDiffVideoToVideoPipeline(
        vae=components.vae,
        text_encoder=components.text_encoders[0],
        tokenizer=components.tokenizers[0],
        unet=components.unet,
        motion_adapter=None,
        scheduler=build_scheduler(request, components.scheduler_config),
    )
    pipe.set_progress_bar_config(disable=True)
    with applied(components, request):
        theirs = pipe(
            latents=start.state.latents,
            prompt=request.prompt,
            height=SIDE,
            width=SIDE,
            strength=0.6,
            num_inference_steps=6,
            guidance_scale=3.0,
            generator=generator,
            output_type="latent",
        ).frames
    assert torch.equal(last.state.latents, theirs)


def test_the_noised_source_is_what_the_sampler_makes_of_it(components, clip):
    request = request_for(source_video=SOURCE, strength=0.6)
    scheduler = build_scheduler(request, components.scheduler_config)
    latents = run_to_end(prepare_latents(request, ClipInputs(source=clip), components.vae, scheduler)).state
    clean = encode_frames(components.vae, request, clip, range(8))
    noise = initial_noise(seeded_generator(5), num_frames=8, height=SIDE, width=SIDE)
    assert torch.equal(latents.latents, scheduler.add_noise(clean, noise, scheduler.timesteps[2:3]))


def test_reading_a_source_tells_how_far_it_is_and_can_be_stopped(store, clip, monkeypatch):
    monkeypatch.setattr("pipelines.engine.encode.CELLS_A_CHUNK", 2 * 64)  # two frames at a time
    request = request_for(source_video=SOURCE)
    _, events = run(request, inputs=ClipInputs(source=clip), store=store)
    events_of_reading = [
        event for event in events if isinstance(event, Progress) and event.note == "Reading the source clip"
    ]
    assert [(event.step, event.total) for event in events_of_reading] == [(2, 8), (4, 8), (6, 8), (8, 8)]
    clip.reads.clear()
    stopped = generate(request, open_writer=KeptFrames().opener(), inputs=ClipInputs(source=clip), store=store)
    for event in stopped:
        if event.note == "Reading the source clip":
            stopped.close()
    assert clip.reads == [[0, 1]]


def test_encoding_is_the_same_whatever_the_chunks(components, clip, monkeypatch):
    request = request_for()
    whole = encode_frames(components.vae, request, clip, range(7))
    monkeypatch.setattr("pipelines.engine.encode.CELLS_A_CHUNK", 130)
    assert torch.allclose(encode_frames(components.vae, request, clip, range(7)), whole, atol=1e-5)
    assert whole.std() == pytest.approx(1, abs=0.4)  # the model's own scale


def test_the_blend_is_the_seed_programs(components, ends):
    request = request_for(
        first_frame=FIRST, last_frame=LAST, noise_floor=0, exact_ends=False, strength=1, num_frames=48
    )
    scheduler = build_scheduler(request, components.scheduler_config)
    latents = run_to_end(prepare_latents(request, ends, components.vae, scheduler)).state.latents
    first, last = (
        encode_frames(components.vae, request, picture, [0]) for picture in (ends.first_frame, ends.last_frame)
    )
    generator = seeded_generator(5)
    noise, noising = (initial_noise(generator, num_frames=48, height=SIDE, width=SIDE) for _ in range(2))
    a, b = 1 - 20 / 32, 1 - 27 / 32  # of frame 20 of 48: together below 1, so the rest is noise
    blended = first[:, :, 0] * a + last[:, :, 0] * b + noise[:, :, 20] * (1 - a - b)
    expected = scheduler.add_noise(blended, noising[:, :, 20], scheduler.timesteps[:1])
    assert torch.allclose(latents[:, :, 20], expected, atol=1e-6)


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_exact_ends_are_the_pictures(components, store, ends, scheduler):
    request = request_for(first_frame=FIRST, last_frame=LAST, scheduler=scheduler)
    states = []
    frames, _ = run(request, inputs=ends, store=store, on_state=states.append)
    held = [
        encode_frames(components.vae, request, picture, [0])[:, :, 0] for picture in (ends.first_frame, ends.last_frame)
    ]
    assert torch.equal(states[-1].latents[:, :, 0], held[0])
    assert torch.equal(states[-1].latents[:, :, -1], held[1])
    assert len(frames) == 8
    loose, _ = run(request.model_copy(update={"exact_ends": False}), inputs=ends, store=store)
    assert not np.array_equal(frames, loose)


def test_longer_clips_than_a_window_keep_their_ends(components, store, ends):
    states = []
    request = request_for(first_frame=FIRST, last_frame=LAST, num_frames=21, context_length=8, num_inference_steps=2)
    run(request, inputs=ends, store=store, on_state=states.append)
    last = encode_frames(components.vae, request, ends.last_frame, [0])[:, :, 0]
    assert torch.equal(states[-1].latents[:, :, 20], last)


def test_at_full_strength_nothing_of_the_source_is_read(store, clip):
    request = request_for(source_video=SOURCE, strength=1)
    frames, _ = run(request, inputs=ClipInputs(source=clip), store=store)
    plain, _ = run(request_for(), store=store)
    assert np.array_equal(frames, plain)
    assert clip.reads == []


def test_less_strength_stays_closer_to_the_source(store, clip):
    def distance(strength: float) -> float:
        frames, _ = run(
            request_for(source_video=SOURCE, strength=strength), inputs=ClipInputs(source=clip), store=store
        )
        return float(np.abs(frames.astype(float) - clip.array[:8]).mean())

    near, far = distance(0.2), distance(0.99)
    assert near < far / 2


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_outside_a_mask_every_pixel_stays(store, clip, strength):
    mask = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    mask[:, :, SIDE // 2 :] = 255
    request = request_for(
        source_video=SOURCE, mask=MASK, strength=strength, prompt="a blue circle on a yellow background"
    )
    frames, _ = run(request, inputs=ClipInputs(source=clip, mask=ArrayClip(mask)), store=store)
    assert np.array_equal(frames[:, :, : SIDE // 2], clip.array[:8, :, : SIDE // 2])
    inside = np.abs(frames[:, :, SIDE // 2 + 8 :].astype(float) - clip.array[:8, :, SIDE // 2 + 8 :]).mean()
    assert inside > 10


def test_a_black_mask_gives_the_source_back(store, clip):
    nothing = ArrayClip(np.zeros((8, SIDE, SIDE, 3), np.uint8))
    request = request_for(source_video=SOURCE, mask=MASK)
    frames, _ = run(request, inputs=ClipInputs(source=clip, mask=nothing), store=store)
    assert np.array_equal(frames, clip.array[:8])


def test_a_run_that_was_cut_goes_on_to_the_same_clip(store, ends):
    request = request_for(first_frame=FIRST, last_frame=LAST)
    states = []
    whole, _ = run(request, inputs=ends, store=store, on_state=states.append)
    again, _ = run(request, inputs=ends, store=store, resume_from=states[1])
    assert np.array_equal(whole, again)


@pytest.mark.parametrize(("strength", "begins"), [(1.0, 0), (0.8, 4), (0.5, 10), (0.05, 19)])
def test_strength_leaves_out_steps_as_diffusers_does(strength, begins):
    assert first_step(request_for(source_video=SOURCE, strength=strength, num_inference_steps=20), 20) == begins


def test_no_step_left_is_refused():
    with pytest.raises(InvalidRequestError, match=r"strength must leave at least one of the 5 steps, got 0\.1"):
        first_step(request_for(first_frame=FIRST, strength=0.1), 5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"last_frame": LAST}, "last_frame must come with a first_frame"),
        ({"first_frame": FIRST, "source_video": SOURCE}, "source_video must not come with a first_frame"),
        ({"mask": MASK}, "mask must come with a source_video"),
        ({"first_frame": FIRST, "free_init_iterations": 2}, "free_init_iterations must be 0"),
        (
            {"first_frame": "../etc/passwd"},
            "first_frame must be the SHA-256 of a file, 64 hexadecimal digits, got ../etc/passwd. Choose",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields, words):
    with pytest.raises(InvalidRequestError, match=words):
        request_for(**fields)


def test_an_input_that_is_gone_or_too_short_is_refused_before_models_load(clip):
    with pytest.raises(InvalidRequestError, match="source_video must be there"):
        run(request_for(source_video=SOURCE))
    short = ArrayClip(np.zeros((3, SIDE, SIDE, 3), np.uint8))
    with pytest.raises(InvalidRequestError, match=r"mask must have 1 frame or at least num_frames \(8\), got 3"):
        run(request_for(source_video=SOURCE, mask=MASK), inputs=ClipInputs(source=clip, mask=short))
