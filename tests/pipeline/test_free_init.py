"""FreeInit: its filters against the published formulas, its noise, and clips made in several rounds."""

import io

import numpy as np
import pytest
import torch
from diffusers.pipelines.free_init_utils import FreeInitMixin

from pipelines.engine.denoise import DenoiseState
from pipelines.engine.free_init import low_pass, renew_noise
from pipelines.engine.latents import clip_noise, seeded_generator
from pipelines.engine.models import ModelStore
from pipelines.plan.choices import FreeInitFilter, NoiseLayout, Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Event, Progress, Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import run
from tests.pipeline.stock import our_latents, stock_run
from tests.pipeline.test_parity import request_for, stock_pipe

ALPHAS = torch.linspace(0.999, 0.0047, 1000)
SMOOTH_AND_IDEAL = ("butterworth", "gaussian", "ideal")


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


def request(**settings) -> GenerationRequest:
    return GenerationRequest.build(**{"seed": 3, "num_frames": 6, "width": 64, "height": 64} | settings)


def clip(**settings) -> GenerationRequest:
    values = {"prompt": "a red circle", "num_inference_steps": 2, "guidance_scale": 3.0, "free_init_iterations": 2}
    return request(**values | settings)


def denoising(events: list[Event]) -> list[Progress]:
    return [
        event
        for event in events
        if isinstance(event, Progress) and event.stage is Stage.DENOISE and event.share is None
    ]


def whole(half: torch.Tensor, width: int) -> np.ndarray:
    """The filter over all frequencies, by the symmetry of a real clip's spectrum, zero in the middle."""
    frames, height, _ = half.shape
    full = np.zeros((frames, height, width))
    for t, y, x in np.ndindex(full.shape):
        at = (t, y, x) if x < half.shape[2] else (-t % frames, -y % height, width - x)
        full[t, y, x] = half[at]
    return np.fft.fftshift(full)


def published(name: str, shape: tuple[int, int, int], spatial: float, temporal: float, order: int) -> np.ndarray:
    """The formulas as they are written, one frequency after the other."""
    frames, height, width = shape
    noise = np.zeros(shape)
    for t, y, x in np.ndindex(shape):
        d = (spatial / temporal * (2 * t / frames - 1)) ** 2 + (2 * y / height - 1) ** 2 + (2 * x / width - 1) ** 2
        noise[t, y, x] = {
            "butterworth": 1 / (1 + (d / spatial**2) ** order),
            "gaussian": np.exp(-d / (2 * spatial**2)),
            "ideal": d <= 2 * spatial,
        }[name]
    return noise


@pytest.mark.parametrize("name", SMOOTH_AND_IDEAL)
@pytest.mark.parametrize(("spatial", "temporal", "order"), [(0.25, 0.25, 4), (0.5, 0.125, 1), (0.9, 1.0, 7)])
def test_filters_of_even_sizes_are_the_published_ones(name: str, spatial: float, temporal: float, order: int):
    clip_request = request(
        free_init_filter=name,
        free_init_spatial_stop=spatial,
        free_init_temporal_stop=temporal,
        free_init_order=order,
    )
    expected = published(name, (16, 8, 12), spatial, temporal, order)
    assert 0 < expected.mean() < 1
    np.testing.assert_allclose(whole(low_pass(clip_request, 16, 8, 12), 12), expected, atol=1e-6)


@pytest.mark.parametrize("name", FreeInitFilter)
@pytest.mark.parametrize("shape", [(16, 8, 12), (7, 9, 5), (1, 8, 8), (10, 8, 9)])
def test_filters_are_symmetric_so_that_noise_stays_real(name: str, shape: tuple[int, int, int]):
    stored = low_pass(request(free_init_filter=name, free_init_spatial_stop=0.5), *shape)
    full = np.fft.ifftshift(whole(stored, shape[2]))
    for axis in range(3):
        np.testing.assert_allclose(full, np.roll(np.flip(full, axis), 1, axis), atol=1e-6)
    real = np.random.default_rng(0).normal(size=shape)
    back = np.fft.ifftn(np.fft.fftn(real) * full)
    assert abs(back.imag).max() < 1e-6
    spectrum = torch.fft.rfftn(torch.from_numpy(real)) * stored
    np.testing.assert_allclose(torch.fft.irfftn(spectrum, s=shape), back.real, atol=1e-6)
    assert stored[0, 0, 0] == 1


def test_a_box_keeps_time_height_and_width_each_by_itself():
    stored = low_pass(request(free_init_filter="box", free_init_temporal_stop=0.5), 16, 8, 24)
    assert stored.sum(dim=(1, 2)).nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 12, 13, 14, 15]
    assert stored.sum(dim=(0, 2)).nonzero().flatten().tolist() == [0, 1, 7]
    assert stored.sum(dim=(0, 1)).nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert stored.sum() == 9 * 3 * 4


@pytest.mark.parametrize("name", FreeInitFilter)
@pytest.mark.parametrize("stop", ["free_init_spatial_stop", "free_init_temporal_stop"])
def test_a_stop_of_zero_leaves_pure_noise(name: str, stop: str):
    clip_request = request(free_init_filter=name, **{stop: 0})
    assert not low_pass(clip_request, 6, 8, 8).any()
    clean = torch.ones(1, 4, 6, 8, 8)
    noise = renew_noise(clip_request, clean, seeded_generator(9), iteration=1, alphas_cumprod=ALPHAS)
    assert torch.equal(noise, clip_noise(clip_request, seeded_generator(9), iteration=1))


@pytest.mark.parametrize("name", FreeInitFilter)
def test_what_never_changes_in_a_clip_is_in_the_next_noise(name: str):
    clip_request = request(free_init_filter=name)
    still = torch.full((1, 4, 6, 8, 8), 3.0)
    with_clip, without = (
        renew_noise(clip_request, clean, seeded_generator(9), iteration=1, alphas_cumprod=ALPHAS)
        for clean in (still, torch.zeros_like(still))
    )
    torch.testing.assert_close(with_clip - without, ALPHAS[-1] ** 0.5 * still)
    assert (still == 3.0).all()


@pytest.mark.parametrize("name", SMOOTH_AND_IDEAL)
def test_noise_is_mixed_as_in_diffusers(name: str):
    clip_request = request(free_init_filter=name, num_frames=8)
    clean = torch.randn(1, 4, 8, 8, 8, generator=seeded_generator(1))
    first = clip_noise(clip_request, seeded_generator(clip_request.seed))
    noised = ALPHAS[-1] ** 0.5 * clean + (1 - ALPHAS[-1]) ** 0.5 * first
    fresh = clip_noise(clip_request, seeded_generator(9), iteration=1)
    stock = FreeInitMixin()
    expected = stock._apply_freq_filter(
        noised, fresh, stock._get_free_init_freq_filter(clean.shape, "cpu", name, 4, 0.25, 0.25)
    )
    noise = renew_noise(clip_request, clean, seeded_generator(9), iteration=1, alphas_cumprod=ALPHAS)
    torch.testing.assert_close(noise, expected, atol=1e-5, rtol=0)


def test_a_clip_of_three_rounds_is_that_of_diffusers(store: ModelStore):
    components = store.load("demo", "demo")
    clip_request = request_for(Scheduler.DDIM, free_init_iterations=3, num_inference_steps=2)
    pipe = stock_pipe(components, clip_request)
    pipe.enable_free_init(num_iters=3)
    theirs = stock_run(pipe, components, clip_request, "latent")
    ours = our_latents(components, clip_request)
    assert not torch.allclose(
        ours, our_latents(components, clip_request.model_copy(update={"free_init_iterations": 0}))
    )
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_one_round_is_none(store: ModelStore):
    off, _ = run(clip(free_init_iterations=0), store=store)
    entry, _ = run(clip(free_init_iterations=1), store=store)
    two, _ = run(clip(), store=store)
    assert np.array_equal(off, entry)
    assert not np.array_equal(two, entry)


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_any_state_of_any_round_resumes_to_the_identical_clip(store: ModelStore, scheduler: Scheduler):
    values = {"scheduler": scheduler, "guidance_scale": 1.0, "num_frames": 10, "context_length": 8}
    clip_request = clip(**values, free_init_iterations=3)
    saved: list[bytes] = []

    def save(state: DenoiseState) -> None:
        file = io.BytesIO()
        torch.save(state.to_dict(), file)
        saved.append(file.getvalue())

    whole_clip, events = run(clip_request, store=store, on_state=save)
    states = [DenoiseState.from_dict(torch.load(io.BytesIO(data), weights_only=True)) for data in saved]
    assert [(state.iteration, state.step) for state in states] == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(state.latents.isfinite().all() for state in states)
    for state in states[1:4]:
        resumed, left = run(clip_request, store=store, resume_from=state)
        assert np.array_equal(resumed, whole_clip), f"differs after {state.iteration}, {state.step}"
        assert len(denoising(left)) < len(denoising(events))
        assert [event.step for event in denoising(left)] == list(range(1, denoising(left)[0].total + 1))


def test_rounds_are_counted_in_progress_and_told(store: ModelStore):
    _, events = run(clip(num_frames=12, context_length=8), store=store)
    steps = denoising(events)
    assert [event.step for event in steps] == list(range(1, steps[-1].total + 1))
    assert (steps[0].note, steps[-1].note) == ("Round 1 of 2, step 1 of 2", "Round 2 of 2, step 2 of 2")


@pytest.mark.parametrize("layout", NoiseLayout)
def test_every_layout_of_noise_makes_a_clip_in_two_rounds(store: ModelStore, layout: str):
    plain, _ = run(clip(num_frames=11, context_length=8), store=store)
    frames, _ = run(clip(num_frames=11, context_length=8, noise_layout=layout), store=store)
    assert frames.shape == plain.shape
    assert np.array_equal(frames, plain) == (layout == NoiseLayout.ONE_DRAW)


@pytest.mark.parametrize(
    "values",
    [{"free_init_iterations": 6}, {"free_init_order": 0}, {"free_init_spatial_stop": 1.1}, {"noise_layout": "none"}],
)
def test_a_value_out_of_range_is_refused_by_its_name(values: dict):
    with pytest.raises(InvalidRequestError, match=f"^{next(iter(values))} must"):
        request(**values)
