"""The loop itself: steps in stretches, windows stacked in one call, what it holds and what it never changes."""

import gc

import numpy as np
import pytest
import torch

from pipelines.engine import denoise as loop
from pipelines.engine.denoise import DenoiseState, build_scheduler
from pipelines.engine.models import ModelStore
from pipelines.plan.choices import Scheduler
from pipelines.plan.context import count_windows
from pipelines.plan.events import Progress, Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import run

SHAPE = (1, 4, 7, 9, 9)  # 2,268 values: no multiple of what torch draws at once
LIMIT = 1e-5
CONFIG = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


def request_for(**settings) -> GenerationRequest:
    defaults = {
        "prompt": "a red circle moving right",
        "seed": 5,
        "num_frames": 11,
        "context_length": 4,
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "guidance_scale": 3.0,
    }
    return GenerationRequest.build(**defaults | settings)


def latents_of(request: GenerationRequest, store: ModelStore) -> torch.Tensor:
    states: list[DenoiseState] = []
    run(request, store=store, on_state=states.append)
    return states[-1].latents


@pytest.mark.parametrize("stretch", [160, 2256, 1 << 20])  # of 2,256 a rest of 12 would be too short for a draw
@pytest.mark.parametrize("sampler", Scheduler)
def test_a_step_in_stretches_is_the_schedulers_own_bit_for_bit(sampler: Scheduler, stretch: int, monkeypatch):
    monkeypatch.setattr(loop, "_STRETCH", stretch)
    request = request_for(scheduler=sampler, num_inference_steps=4)
    ours, theirs = build_scheduler(request, CONFIG), build_scheduler(request, CONFIG)
    draws, our_draws, their_draws = (torch.Generator().manual_seed(seed) for seed in (1, 2, 2))
    ours_at = theirs_at = torch.randn(SHAPE, generator=draws)
    for t in theirs.timesteps:
        prediction = torch.randn(SHAPE, generator=draws)
        ours.scale_model_input(ours_at, t)
        theirs.scale_model_input(theirs_at, t)
        whole = theirs.step(prediction, t, theirs_at, generator=their_draws)
        estimate = whole.get("pred_original_sample", whole.get("denoised"))
        estimate = theirs.model_outputs[-1] if estimate is None else estimate
        assert torch.equal(loop._estimate(ours, prediction, t, ours_at), estimate[:, :, loop.spread(SHAPE[2])])
        before = ours_at.clone()
        next_at = loop._scheduler_step(ours, prediction, t, ours_at, our_draws)
        assert torch.equal(ours_at, before)
        ours_at, theirs_at = next_at, whole.prev_sample
        assert torch.equal(ours_at, theirs_at)
        assert torch.equal(our_draws.get_state(), their_draws.get_state())


@pytest.mark.parametrize("sampler", [Scheduler.DDIM, Scheduler.DPMPP_2M])
def test_a_state_once_told_is_never_changed(store: ModelStore, sampler: Scheduler):
    states: list[tuple[DenoiseState, list[torch.Tensor]]] = []

    def tensors(state: DenoiseState) -> list[torch.Tensor]:
        outputs = state.scheduler_memory.get("model_outputs", [])
        return [state.latents, *(output for output in outputs if output is not None)]

    def keep(state: DenoiseState) -> None:
        states.append((state, [tensor.clone() for tensor in tensors(state)]))

    run(request_for(scheduler=sampler, num_inference_steps=4), store=store, on_state=keep)
    assert len({state.latents.data_ptr() for state, _ in states}) == 4
    for state, copies in states:
        assert all(torch.equal(*pair) for pair in zip(tensors(state), copies, strict=True))


def test_a_clip_is_held_twice_at_most(store: ModelStore):
    request = request_for(num_frames=61)  # a size of nothing else
    size = 61 * 4 * 8 * 8
    held: list[int] = []

    def count(*_: object) -> None:
        alive = [
            candidate
            for candidate in gc.get_objects()
            if isinstance(candidate, torch.Tensor) and candidate.numel() == size
        ]
        held.append(len({candidate.untyped_storage().data_ptr() for candidate in alive}))

    unet = store.load("demo", "demo").unet
    hook = unet.register_forward_hook(count)
    gc.freeze()  # what was there before holds no clip, and is a million objects to look through
    try:
        run(request, store=store)
    finally:
        gc.unfreeze()
        hook.remove()
    assert set(held) == {2}  # the latents, and the prediction, which becomes the next


VARIETY = {
    "guided": {},
    "unguided": {"guidance_scale": 1.0},
    "prompts that travel": {"prompt": "0: a red circle\n10: a blue star", "negative_prompt": "2: green\n5: red"},
    "motion that changes": {"motion_scale": "0: 0.5, 10: 2", "motion_effect": "0: 1, 10: 0.3"},
    "windows of two lengths": {"context_schedule": "batched"},
    "the last window wins": {"context_fuse": "last"},
    "inner windows": {"context_length": 6, "inner_length": 3, "motion_scale": "0: 0.5, 10: 2"},
    "as diffusers": {"motion_norm": "diffusers"},
}


@pytest.mark.parametrize("settings", VARIETY.values(), ids=VARIETY)
def test_windows_in_one_call_are_each_as_if_alone(store: ModelStore, settings, monkeypatch):
    request = request_for(**settings)
    if "inner_length" in settings:  # rounding alone is 2.8e-5 there in float32, and nothing in float64
        store = ModelStore("cpu", torch.float64)
    alone = latents_of(request, store)
    monkeypatch.setattr(store, "windows_a_call", 3)
    torch.testing.assert_close(latents_of(request, store), alone, rtol=0, atol=LIMIT)


@pytest.mark.parametrize("name", ["guided", "unguided", "prompts that travel"])
def test_windows_in_one_call_have_their_own_added_conditions(xl_store: ModelStore, name: str, monkeypatch):
    request = request_for(base_model="xl", motion_module="xl-motion", width=96, **VARIETY[name])
    alone = latents_of(request, xl_store)
    monkeypatch.setattr(xl_store, "windows_a_call", 2)
    torch.testing.assert_close(latents_of(request, xl_store), alone, rtol=0, atol=LIMIT)


def test_progress_counts_every_window_of_a_call(store: ModelStore, monkeypatch):
    monkeypatch.setattr(store, "windows_a_call", 3)
    request = request_for()
    _, events = run(request, store=store)
    events_of_steps = [
        event
        for event in events
        if isinstance(event, Progress) and event.stage is Stage.DENOISE and event.share is None
    ]
    assert [event.total for event in events_of_steps] == [sum(count_windows(request, 2))] * len(events_of_steps)
    assert events_of_steps[-1].step == events_of_steps[-1].total
    assert 1 < len(events_of_steps) < events_of_steps[-1].total
    assert np.all(np.diff([event.step for event in events_of_steps]) <= 3)
