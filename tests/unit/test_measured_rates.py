"""What was measured is kept, and read again whatever the file holds."""

import json
import os

import pytest

from pipelines.plan.events import Stage
from pipelines.plan.plan import plan_of
from pipelines.plan.planner.estimate import estimate
from pipelines.plan.planner.machine import KEPT_CLIPS, Machine, models_in_memory, read_rates, record
from pipelines.plan.planner.tasks import models_of, rates_of, tasks_of
from pipelines.plan.request import GenerationRequest

ZERO_GPU = Machine("zerogpu", "float16", 0)
CPU = Machine("cpu", "bfloat16", 1)
REQUEST = GenerationRequest.build(seed=0, base_model="demo", num_inference_steps=5)
DEVICES = ("cpu", "cuda", "zerogpu")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "animatediff-studio" / "runs.json"


def tasks(device: str = "cpu", **values):
    return tasks_of(plan_of(GenerationRequest.build(**REQUEST.model_dump() | values)), device)


def test_of_the_last_clips_alone_the_median_counts():
    for number in range(KEPT_CLIPS + 5):
        record(CPU, "a", {"read": 100.0 if number < 5 else number})
    assert read_rates(CPU) == {"read": 5 + (KEPT_CLIPS - 1) // 2}
    assert read_rates(Machine("cpu", "float32", 1)) == {}


def test_a_clip_is_estimated_as_the_last_one_was_whatever_its_parts():
    assert estimate(REQUEST, machine=CPU).is_rough
    took = {"load demo": 3.0, "unet demo": 37.0, "vae demo": 5.0, "write MP4": 0.7}
    record(CPU, models_of(REQUEST), rates_of(tasks(), took))
    estimated = estimate(REQUEST, machine=CPU)
    assert not estimated.is_rough
    assert (estimated.stages[Stage.DENOISE], estimated.stages[Stage.WRITE]) == pytest.approx((37, 0.7))
    assert estimated.stages[Stage.ENCODE] + estimated.stages[Stage.DECODE] == pytest.approx(5)
    twice = GenerationRequest.build(**REQUEST.model_dump() | {"num_inference_steps": 10})
    assert estimate(twice, machine=CPU).stages[Stage.DENOISE] == pytest.approx(74)


def test_a_task_is_as_fast_as_it_was_with_any_model_and_a_network_as_its_own():
    took = {"unet demo": 37.0, "write MP4": 0.7}
    record(CPU, "a", rates_of(tasks(), took))
    other = REQUEST.model_copy(update={"base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5"})
    estimated = estimate(other, machine=CPU)
    assert estimated.is_rough
    assert estimated.stages[Stage.WRITE] == pytest.approx(0.7)


def test_what_took_no_time_and_what_was_not_planned_tells_nothing():
    assert rates_of(tasks(), {"unet demo": 0.0, "vae demo": -0.1, "no task": 3.0}) == {}


@pytest.mark.parametrize(("usual", "place"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 3), (8, 8)])
def test_one_clip_that_was_held_up_spoils_nothing_even_beside_a_single_other(usual, place):
    rates = [0.3] * usual
    rates.insert(place, 9.0)
    for rate in rates:
        record(CPU, "a", {"unet demo": rate})
    assert read_rates(CPU) == {"unet demo": 0.3}


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b'"runs"',
        b"\xff\xfe",
        b'{"format": 3, "rates": 7}',
        b'{"format": 3, "rates": {"cpu bfloat16 1": "x"}}',
        b'{"format": 3, "rates": {"cpu bfloat16 1": {"read": {"x": 1}}}}',
        b'{"format": 2, "runs": {"cpu bfloat16 1 demo": []}}',
        b'{"format": 99, "rates": {"cpu bfloat16 1": {"read": [1.0]}}}',
        b"[" * 100_000,
    ],
)
def test_garbage_is_as_good_as_nothing_and_can_be_written_over(cache, garbage):
    cache.parent.mkdir()
    cache.write_bytes(garbage)
    assert read_rates(CPU) == {}
    record(CPU, "a", {"read": 1.0})
    assert read_rates(CPU) == {"read": 1.0}


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "3", None, True])
def test_an_impossible_rate_is_passed_over(cache, value):
    record(CPU, "a", {"read": 1.0})
    stored = json.loads(cache.read_text())
    stored["rates"][CPU.name]["read"] = [value]
    cache.write_text(json.dumps(stored))
    assert read_rates(CPU) == {}


def test_a_folder_that_cannot_be_written_is_no_failure(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    record(CPU, "a", {"read": 1.0})
    assert read_rates(CPU) == {}


def test_models_are_in_memory_only_in_the_process_of_the_last_clip(cache):
    assert models_in_memory(CPU) == ""
    record(CPU, models_of(REQUEST), {})
    assert models_in_memory(CPU) == models_of(REQUEST)
    assert models_in_memory(ZERO_GPU) == "", "each lease is another process"
    assert estimate(REQUEST, machine=CPU).stages[Stage.LOAD] == 0
    other = REQUEST.model_copy(update={"vae": "other"})
    assert estimate(other, machine=CPU).stages[Stage.LOAD] > 0
    stored = json.loads(cache.read_text())
    cache.write_text(json.dumps(stored | {"process": os.getpid() + 1}))
    assert models_in_memory(CPU) == ""


def test_networks_beside_the_engine_s_are_on_the_card_where_they_may_be():
    unit = {"model": "a", "preprocessor": "depth_midas"}
    edges = unit | {"preprocessor": "canny"}
    steered = {"source_video": "0" * 64, "strength": 1, "interpolation": "film"}
    rates = [{task.name: task.rate for task in tasks(device, **steered, controls=[unit, edges])} for device in DEVICES]
    looks, draws = ([rate[name] for rate in rates] for name in ("preprocess depth_midas", "between film"))
    assert looks[0] > looks[1] == looks[2]
    assert draws[0] == draws[2] > draws[1]
    assert len({rate["preprocess canny"] for rate in rates}) == 1
