"""Costs follow the request's own plan, and the counted numbers those that were published."""

from itertools import pairwise

import pytest

from pipelines.plan.catalog import STABLE_DIFFUSION
from pipelines.plan.context import count_windows
from pipelines.plan.events import Stage
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.costs import frame_flops, kind_of, networks, reading_flops, window_flops
from pipelines.plan.planner.tasks import tasks_of
from pipelines.plan.request import GenerationRequest

TERA = 1e12


def request(**values) -> GenerationRequest:
    return GenerationRequest.build(seed=0, **values)


def seconds(asked: GenerationRequest) -> dict[Stage, float]:
    """Of each stage of a clip alone, as they are assumed on a CPU."""
    return {task.stage: task.seconds({}) for task in tasks_of(plan_of(asked), "cpu") if task.name != "read"}


def denoising(**values) -> float:
    return seconds(request(**values))[Stage.DENOISE]


def test_counted_operations_are_those_known_of_stable_diffusion():
    """A guided call on 16 × 512 × 512 takes 35.50 TFLOP with motion v2, decoding it 40.23, as counted elsewhere."""
    request = GenerationRequest.build(seed=0, base_model=STABLE_DIFFUSION)
    assert window_flops(request) == pytest.approx(35.50 * TERA, rel=1e-3)
    assert 16 * frame_flops(request) == pytest.approx(40.23 * TERA, rel=1e-3)
    assert networks()["sd15"]["unet"].parameters == pytest.approx(1312.7e6, rel=1e-3)


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
    found = [seconds(request(**base | {name: value})) for value in values]
    total = [each[Stage.DENOISE] for each in found]
    assert total == sorted(set(total))
    assert all(a[Stage.DECODE] <= b[Stage.DECODE] for a, b in pairwise(found))


def test_work_is_that_of_the_windows_of_the_plan(environment):
    values = {"num_frames": 40, "num_inference_steps": 7, "context_schedule": "composite", "free_init_iterations": 2}
    many, one = request(**values), request(num_frames=16, num_inference_steps=1)
    windows = 2 * sum(count_windows(many, 7))
    assert denoising(**values) == pytest.approx(windows * seconds(one)[Stage.DENOISE])
    environment(STUDIO_WINDOWS="3")  # as much work, in a third of the calls
    calls = -(-windows // 3)
    assert windows * seconds(one)[Stage.DENOISE] - denoising(**values) == pytest.approx((windows - calls) * 0.055)


def test_passes_and_extensions_add_up():
    small = request(width=128, height=128)
    first, second = plan_of(small.model_copy(update={"hires_scale": 2.0})).passes
    assert first.windows * window_flops(first.request) == pytest.approx(25 * window_flops(small))
    assert (second.windows, second.request.width) == (12, 256)
    longer = seconds(small.extended_by(8))[Stage.DENOISE]
    assert longer == pytest.approx(3 * seconds(small)[Stage.DENOISE])  # two blocks more, of 25 windows each


def test_what_strength_leaves_out_costs_nothing():
    source = {"source_video": "0" * 64, "num_inference_steps": 20}
    assert denoising(**source, strength=0.5) == pytest.approx(denoising(**source, strength=1) / 2)
    assert reading_flops(request(**source, strength=0.5)) > reading_flops(request(**source, strength=1)) == 0


def test_a_control_unit_counts_for_the_steps_it_is_used_in():
    plain = window_flops(request())
    always, half = (window_flops(request(controls=[{"model": "a", "end": end}])) for end in (1.0, 0.5))
    assert always > 1.2 * plain
    assert always - plain == pytest.approx(2 * (half - plain))


def test_inner_windows_cost_less_attention_than_a_whole_window():
    long = {"num_frames": 64, "context_length": 64}
    assert denoising(**long, inner_length=16) < denoising(**long)


def test_unknown_models_are_taken_for_stable_diffusion():
    assert kind_of("no-such-model") == "sd15"
