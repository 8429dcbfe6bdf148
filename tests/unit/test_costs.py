"""Costs follow the request's own plan, and the counted numbers those that were published."""

from itertools import pairwise

import pytest

from pipelines.plan.catalog import STABLE_DIFFUSION
from pipelines.plan.context import count_windows
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.costs import cost_of, frame_flops, kind_of, networks, window_flops
from pipelines.plan.request import GenerationRequest

TERA = 1e12


def cost(**values):
    return cost_of(plan_of(GenerationRequest.build(seed=0, **values)))


def test_counted_operations_are_those_known_of_stable_diffusion():
    """A guided call on 16 × 512 × 512 takes 35.50 TFLOP with motion v2, decoding it 40.23, as counted elsewhere."""
    request = GenerationRequest.build(seed=0, base_model=STABLE_DIFFUSION)
    assert window_flops(request).total == pytest.approx(35.50 * TERA, rel=1e-3)
    assert 16 * frame_flops(request) == pytest.approx(40.23 * TERA, rel=1e-3)
    assert networks("sd15")["unet"].parameters == pytest.approx(1312.7e6, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_inference_steps", (2, 5, 20)),
        ("num_frames", (4, 16, 17, 40)),
        ("width", (128, 256, 512)),
        ("guidance_scale", (1.0, 2.0)),
        ("context_overlap", (0, 4, 8)),
        ("hires_scale", (1.0, 1.5, 2.0)),
        ("free_init_iterations", (0, 2, 3)),
    ],
)
def test_more_of_anything_costs_more(name, values):
    base = {"num_frames": 64, "context_schedule": "static"} if name == "context_overlap" else {}
    found = [cost(**base | {name: value}) for value in values]
    total = [one.denoise_flops + one.attention_flops for one in found]
    assert total == sorted(set(total))
    assert all(a.calls <= b.calls and a.drawing_flops <= b.drawing_flops for a, b in pairwise(found))


def test_calls_are_the_windows_of_the_plan():
    values = {"num_frames": 40, "num_inference_steps": 7, "context_schedule": "composite", "free_init_iterations": 2}
    request = GenerationRequest.build(seed=0, **values)
    assert cost_of(plan_of(request)).calls == 2 * sum(count_windows(request, 7))
    assert cost_of(plan_of(request), windows_a_call=3).calls == -(-2 * sum(count_windows(request, 7)) // 3)


def test_passes_and_extensions_add_up():
    small = GenerationRequest.build(seed=0, width=128, height=128)
    twice = small.model_copy(update={"hires_scale": 2.0})
    first, second = plan_of(twice).passes
    assert first.windows * window_flops(first.request).total == pytest.approx(25 * window_flops(small).total)
    assert (second.windows, second.request.width) == (12, 256)
    longer = small.extended_by(8)
    assert cost_of(plan_of(longer)).calls == cost_of(plan_of(small)).calls + 2 * 25
    assert cost_of(plan_of(longer)).steps == 3 * 25


def test_what_strength_leaves_out_costs_nothing():
    source = {"source_video": "0" * 64, "num_inference_steps": 20}
    assert cost(**source, strength=0.5).calls == 10
    assert cost(**source, strength=0.5).reading_flops > cost(**source, strength=1).reading_flops == 0


def test_a_control_unit_counts_for_the_steps_it_is_used_in():
    plain = cost()
    always, half = (cost(controls=[{"model": "a", "end": end}]) for end in (1.0, 0.5))
    assert always.denoise_flops > 1.2 * plain.denoise_flops
    assert always.denoise_flops - plain.denoise_flops == pytest.approx(2 * (half.denoise_flops - plain.denoise_flops))


def test_inner_windows_cost_less_attention_than_a_whole_window():
    long = {"num_frames": 64, "context_length": 64}
    assert cost(**long, inner_length=16).attention_flops < cost(**long).attention_flops


def test_unknown_models_are_taken_for_stable_diffusion():
    assert kind_of("no-such-model") == "sd15"
