"""Draft makes the request small, and its result can be made in full."""

import pytest

from pipelines.plan.draft import draft_of
from pipelines.plan.request import GenerationRequest
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import updates


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(step_s=0)


def event_named(page, name: str):
    (found,) = (event for event in page.fns.values() if event.name == name)
    return found


def clip_shown(page, event, *values) -> dict:
    return next(shown for shown in updates(page, event, *values) if "recipe" in shown)


def sent(event, **values) -> list:
    return list(({control.elem_id: control.value for control in event.inputs} | values).values())


def test_a_draft_is_made_and_then_its_clip_of_the_same_seed(engine):
    page = page_of(engine.make_clip)
    draft = event_named(page, "draft")
    assert [control.elem_id for control in draft.inputs] == [
        control.elem_id for control in event_named(page, "generate").inputs
    ]
    size = {"base_model": "demo", "width": 256, "height": 256, "num_inference_steps": 20}
    shown = clip_shown(page, draft, *sent(draft, prompt="a star", **size))
    (made,) = engine.requests
    assert (made.draft, made.width, made.num_inference_steps) == (2, 128, 8)
    assert shown["full"]["visible"]
    full = event_named(page, "in_full")
    assert [control.elem_id for control in full.inputs] == ["full_recipe", "visitor"]
    shown = clip_shown(page, full, shown["full_recipe"], "")
    request = engine.requests[-1]
    assert (request.draft, request.width, request.num_inference_steps) == (1, 256, 20)
    assert (request.seed, request.prompt) == (made.seed, "a star")
    assert draft_of(request) == made
    assert not shown["full"]["visible"]


def test_a_draft_has_the_buttons_wait_as_any_clip_has(engine):
    page = page_of(engine.make_clip)
    waits = [one for one in page.fns.values() if one.name == "<lambda>" and not one.inputs]
    started = [
        {control.elem_id: value for control, value in one.fn().items()}
        for one in waits
        if "draft_button" in {out.elem_id for out in one.outputs}
    ]
    assert len(started) == 6  # generate, draft, in full, extend twice, grid
    assert not any(told["draft_button"]["interactive"] for told in started)
    generate = event_named(page, "generate")
    done = clip_shown(page, generate, *sent(generate, prompt="x", num_inference_steps=1))
    assert done["draft_button"]["interactive"]
    assert not done["full"]["visible"]


def test_a_recipe_for_the_full_clip_that_is_none_is_refused_in_words(engine):
    page = page_of(engine.make_clip)
    with pytest.raises(Exception, match="recipe must be JSON"):
        updates(page, event_named(page, "in_full"), "", "")
    assert engine.requests == []
    assert GenerationRequest.build(seed=0).draft == 1
