"""The engine on the embedded model: events, lengths, seeds, resume, cancel, refusals."""

import io
from collections import Counter
from types import ModuleType
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from pipelines.engine import denoise
from pipelines.engine import generate as engine
from pipelines.engine.denoise import DenoiseState
from pipelines.engine.generate import generate
from pipelines.engine.models import ModelStore
from pipelines.plan import plan
from pipelines.plan.choices import ContextSchedule, MotionNorm, Scheduler
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.prompt import parsed, travel
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import KeptFrames, run

SMALL = {
    "prompt": "a red circle moving right on a blue background",
    "seed": 3,
    "num_frames": 6,
    "width": 64,
    "height": 64,
    "num_inference_steps": 3,
    "guidance_scale": 3.0,
}


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


def small(**settings) -> GenerationRequest:
    return GenerationRequest.build(**SMALL | settings)


def test_a_clip_has_the_asked_frames_and_size(store: ModelStore):
    frames, events = run(small(width=96, height=72), store=store)
    assert frames.shape == (6, 72, 96, 3)
    assert frames.dtype == np.uint8
    assert isinstance(events[-1], Clip)
    assert GenerationRequest.from_json(events[-1].recipe) == small(width=96, height=72)


def test_progress_counts_up_to_the_planned_total(store: ModelStore):
    _, events = run(small(num_frames=20, context_length=8), store=store)
    denoising = [e for e in events if isinstance(e, Progress) and e.stage is Stage.DENOISE and e.share is None]
    assert [e.step for e in denoising] == list(range(1, denoising[-1].total + 1))
    assert len(denoising) > 2 * SMALL["num_inference_steps"]
    assert any(e.preview is not None and e.preview.shape == (8, 64, 64, 3) for e in denoising)
    decoding = [e for e in events if isinstance(e, Progress) and e.stage is Stage.DECODE]
    assert (decoding[-1].step, decoding[-1].total) == (20, 20)


def test_a_clip_s_prompts_are_parsed_once_and_it_is_planned_once(store: ModelStore, monkeypatch):
    calls: Counter[str] = Counter()

    def counted(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def call(*args, **options):
            calls[name] += 1
            return function(*args, **options)

        monkeypatch.setattr(module, name, call)

    counted(travel, "read_script")
    counted(parsed, "read_tags")
    counted(engine, "plan_of")
    counted(plan, "count_windows")
    counted(denoise, "plan_windows")
    monkeypatch.setattr(GenerationRequest, "model_validate", Mock(wraps=GenerationRequest.model_validate))
    prompt = f"0: {SMALL['prompt']}\n-1: a green star"
    values = {"num_frames": 3, "num_inference_steps": 2, "guidance_scale": 1.0}
    run(small(prompt=prompt, negative_prompt="0: blur\n2: fog", **values), store=store)
    assert calls == {"read_script": 2, "read_tags": 2, "plan_of": 1, "count_windows": 1, "plan_windows": 2}
    assert GenerationRequest.model_validate.call_count == 1
    calls.clear()
    planned = plan.plan_of(small(hires_scale=1.25, **values))
    list(generate(planned, open_writer=KeptFrames().opener(), store=store))
    assert calls == {"read_script": 2, "read_tags": 2, "count_windows": 1, "plan_windows": 3}


def test_same_seed_same_frames_and_another_seed_others(store: ModelStore):
    first, _ = run(small(), store=store)
    again, _ = run(small(), store=store)
    other, _ = run(small(seed=4), store=store)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_key_is_the_prompt_and_a_second_changes_the_clip(store: ModelStore):
    plain, _ = run(small(), store=store)
    single, _ = run(small(prompt=f"0: {SMALL['prompt']}"), store=store)
    two, _ = run(small(prompt=f"0: {SMALL['prompt']}\n-1: a green star on a white background"), store=store)
    held, _ = run(
        small(prompt=f"0: {SMALL['prompt']}\n-1: a green star on a white background", prompt_hold=1), store=store
    )
    assert np.array_equal(single, plain)
    assert not np.array_equal(two, plain)
    assert not np.array_equal(two, held)


@pytest.mark.parametrize("schedule", ContextSchedule)
def test_a_clip_longer_than_the_window_is_made_in_windows(store: ModelStore, schedule: ContextSchedule):
    frames, _ = run(small(num_frames=21, context_length=8, context_schedule=schedule), store=store)
    assert frames.shape[0] == 21
    assert frames.reshape(21, -1).std(axis=1).min() > 0


@pytest.mark.parametrize("change", [{"closed_loop": "windows"}, {"context_fuse": "flat"}, {"context_fuse": "last"}])
def test_loops_and_weights_of_windows_reach_the_frames(store: ModelStore, change: dict[str, str]):
    # At the second step the ring has moved by half, so that a closed clip's windows run over the end.
    frames, _ = run(small(num_frames=12, context_length=8), store=store)
    changed, _ = run(small(num_frames=12, context_length=8, **change), store=store)
    assert frames.shape == changed.shape
    assert not np.array_equal(frames, changed)


@pytest.mark.parametrize(("num_frames", "written"), [(1, 1), (2, 2), (8, 14)])
def test_a_fully_closed_clip_of_one_window_is_played_back_too(store: ModelStore, num_frames: int, written: int):
    frames, events = run(small(num_frames=num_frames, closed_loop="full"), store=store)
    assert len(frames) == events[-1].num_frames == written
    assert np.array_equal(frames[num_frames:], frames[1 : num_frames - 1][::-1])
    once, _ = run(small(num_frames=num_frames), store=store)
    assert np.array_equal(frames[:num_frames], once)


def test_one_frame_makes_a_still(store: ModelStore):
    frames, _ = run(small(num_frames=1), store=store)
    assert frames.shape[0] == 1


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_any_saved_state_resumes_to_the_identical_clip(store: ModelStore, scheduler: Scheduler):
    request = small(scheduler=scheduler, num_inference_steps=4, num_frames=10, context_length=8)
    saved: list[bytes] = []

    def save(state: DenoiseState) -> None:
        file = io.BytesIO()
        torch.save(state.to_dict(), file)
        saved.append(file.getvalue())

    whole, _ = run(request, store=store, on_state=save)
    assert len(saved) == 4
    for data in saved:
        state = DenoiseState.from_dict(torch.load(io.BytesIO(data), weights_only=True))
        resumed, _ = run(request, store=store, resume_from=state)
        assert np.array_equal(resumed, whole), f"differs when resumed after step {state.step}"


def test_closing_the_generator_stops_it_and_restores_the_model(store: ModelStore):
    components = store.load("demo", "demo")
    before = [type(module) for module in components.unet.modules()]
    sink = KeptFrames()
    events = generate(small(motion_norm=MotionNorm.DIFFUSERS), open_writer=sink.opener(), store=store)
    for event in events:
        if event.stage is Stage.DENOISE:
            break
    events.close()
    assert not sink.parts
    assert [type(module) for module in components.unet.modules()] == before
    assert torch.is_grad_enabled()


def test_closing_while_decoding_leaves_the_sink_by_an_exception(store: ModelStore):
    sink = KeptFrames()
    events = generate(small(), open_writer=sink.opener(), store=store)
    for event in events:
        if event.stage is Stage.DECODE:
            break
    events.close()
    assert sink.left_with is GeneratorExit


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"context_length": 64, "num_frames": 64}, "context_length must be at most the 32 positions"),
        ({"clip_skip": 5}, "clip_skip must be below the text encoder's"),
        ({"scheduler": "lcm", "num_inference_steps": 60}, "num_inference_steps must suit the sampler lcm"),
        ({"base_model": "no-such-model"}, "base_model must"),
        ({"motion_module": "no-such-module"}, "motion_module must"),
        ({"prompt": "(red:99) circle"}, "prompt must have weights from -10 to 10, got 99"),
        ({"prompt": "a b c d e " * 400}, "prompt must have at most 1,200 tokens"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_frame(store: ModelStore, settings: dict, words: str):
    sink = KeptFrames()
    with pytest.raises(InvalidRequestError, match="^" + words.replace("(", r"\(")):
        list(generate(small(**settings), open_writer=sink.opener(), store=store))
    assert not sink.parts
    assert sink.left_with is None


def test_an_empty_prompt_is_allowed(store: ModelStore):
    frames, _ = run(small(prompt=""), store=store)
    assert len(frames) == 6


@pytest.mark.parametrize(
    ("reverse", "expected"),
    [
        ("append", [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]),
        ("drop_head", [0, 1, 2, 3, 4, 3, 2, 1, 0]),
        ("drop_tail", [0, 1, 2, 3, 4, 4, 3, 2, 1]),
        ("drop_both", [0, 1, 2, 3, 4, 3, 2, 1]),
    ],
)
def test_a_boomerang_plays_the_same_frames_back(reverse, expected, store, monkeypatch):
    monkeypatch.setattr(
        "pipelines.engine.decode.CELLS_A_CHUNK", 2 * 64
    )  # chunks of two frames, so that they are cut, too
    values = {"prompt": "a star", "seed": 1, "width": 64, "height": 64, "num_inference_steps": 1}
    forth, _ = run(GenerationRequest.build(num_frames=5, **values), store=store)
    both, events = run(GenerationRequest.build(num_frames=5, reverse=reverse, **values), store=store)
    assert np.array_equal(both, forth[expected])
    assert events[-2].step == events[-2].total == len(expected)


def test_letters_that_nobody_sees_do_not_reach_the_frames(store: ModelStore):
    plain, _ = run(small(prompt="0: a red circle\n4: a star", num_inference_steps=1), store=store)
    spelt, events = run(
        small(prompt="\ufeff０： a red circle\u20284 : a \u200bstar", num_inference_steps=1), store=store
    )
    assert np.array_equal(plain, spelt)
    assert events[-1].warnings == ()


def test_syntax_of_other_programs_is_told_with_the_clip_and_before_its_steps(store: ModelStore):
    _, events = run(
        small(prompt="a [red:blue:0.5] circle", negative_prompt="BREAK", num_inference_steps=1), store=store
    )
    first, second = events[-1].warnings
    assert first.startswith("prompt has '[red:blue:0.5]' (line 1, column 3), which changes words between steps")
    assert second.startswith("negative_prompt has 'BREAK'")
    steps = [event.stage for event in events if isinstance(event, Progress)]
    (message,) = (event for event in events if isinstance(event, Progress) and first in event.note)
    assert events.index(message) < steps.index(Stage.DENOISE)
