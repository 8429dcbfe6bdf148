"""A draft is the same request, smaller and in fewer steps, as far as its model can draw that."""

import pytest

from pipelines.plan.catalog import STABLE_DIFFUSION
from pipelines.plan.draft import draft_of
from pipelines.plan.request import GenerationRequest


def drafted(**values) -> GenerationRequest:
    return draft_of(GenerationRequest.build(seed=7, **{"base_model": STABLE_DIFFUSION} | values))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (256, 256, 2)), ((1024, 1024), (256, 256, 4)), ((512, 768), (256, 384, 2)),
     ((520, 512), (520, 512, 1)),
     ((384, 384), (384, 384, 1)), ((1024, 512), (512, 256, 2))],
)  # fmt: skip
def test_it_is_never_smaller_than_half_of_what_the_model_was_made_for(size, expected):
    draft = drafted(width=size[0], height=size[1])
    assert (draft.width, draft.height, draft.draft) == expected
    assert (draft.width * draft.draft, draft.height * draft.draft) == size


def test_the_demo_model_is_drafted_at_its_own_size():
    """At half of it, it draws no shapes."""
    assert drafted(base_model="demo", width=128, height=128).draft == 1
    assert drafted(base_model="demo", width=256, height=256).width == 128


def test_it_takes_few_steps_and_nothing_that_takes_long():
    draft = drafted(hires_scale=2.0, free_init_iterations=3, upscale_by=2.0, interpolation="flow")
    assert (draft.num_inference_steps, draft.hires_scale, draft.iterations, draft.inserted_frames) == (8, 1, 1, 0)
    assert draft.output_size == (256, 256)
    assert drafted(scheduler="lcm").num_inference_steps == 4
    assert drafted(num_inference_steps=3).num_inference_steps == 3


def test_the_rest_stays():
    request = GenerationRequest.build(seed=7, base_model="demo", prompt="a star", num_frames=40, context_overlap=2)
    draft = draft_of(request)
    changed = {name for name, value in request if getattr(draft, name) != value}
    assert changed <= {"draft", "width", "height", "num_inference_steps"}


def test_a_weak_strength_keeps_a_step():
    draft = drafted(source_video="0" * 64, strength=0.05)
    assert int(draft.num_inference_steps * draft.strength) >= 1


def test_a_draft_of_a_draft_is_no_smaller():
    draft = drafted(width=1024, height=1024)
    assert draft_of(draft).width == draft.width
