"""Of a generation's events a run is kept, whole ones alone."""

from dataclasses import replace

import pytest

from pipelines.plan.events import Clip, Progress, Stage
from pipelines.plan.plan import Plan, plan_of
from pipelines.plan.planner import stopwatch
from pipelines.plan.planner.machine import models_in_memory, read_rates, this_machine
from pipelines.plan.planner.stopwatch import Meter, timed
from pipelines.plan.planner.tasks import models_of, tasks_of
from pipelines.plan.request import GenerationRequest

PLAN = plan_of(GenerationRequest.build(seed=0, base_model="demo", num_inference_steps=2))
CLIP = Clip((), "{}", 16, 1.0)
NAP = 0.02


class Clock:
    """Seconds that pass only while something sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(stopwatch, "time", CLOCK)


def seconds(plan: Plan) -> dict[str, float]:
    """What was measured of a clip, by task."""
    found: dict[str, float] = {}
    rates = read_rates(this_machine())
    for task in tasks_of(plan, this_machine().kind):
        if task.name in rates:
            found[task.name] = found.get(task.name, 0.0) + task.seconds(rates)
    return found


def events(*, windows: int = 2, first: int = 1, load_total: int = 1, load_s: float = 4 * NAP):
    yield Progress(Stage.LOAD, 0, load_total)
    CLOCK.sleep(load_s)
    yield Progress(Stage.ENCODE, 0, 1)
    for step in range(first, windows + 1):
        CLOCK.sleep(2 * NAP)
        yield Progress(Stage.DENOISE, step, windows)
    yield Progress(Stage.DECODE, 16, 16)
    CLOCK.sleep(NAP)
    yield CLIP


def test_each_stage_has_its_own_time_and_the_watcher_none():
    told = []
    for event in timed(PLAN, events()):
        told.append(event)
        CLOCK.sleep(NAP)
    assert [replace(one, eta_s=None) if isinstance(one, Progress) else one for one in told] == list(events())
    assert all(one.eta_s is not None and one.eta_s >= 0 for one in told[:-1])
    assert seconds(PLAN) == pytest.approx({"load demo": 4 * NAP, "unet demo": 4 * NAP, "vae demo": NAP}, abs=1e-9)


def test_the_second_clip_of_the_same_models_finds_them_loaded():
    list(timed(PLAN, events()))
    assert models_in_memory(this_machine()) == models_of(PLAN.request)
    list(timed(PLAN, events(load_s=9)))  # tells nothing of how long it takes to read them
    assert seconds(PLAN)["load demo"] == pytest.approx(4 * NAP)


@pytest.mark.parametrize("odd", [{"windows": 1}, {"load_total": 50}])
def test_runs_that_went_on_from_elsewhere_or_downloaded_are_not_kept(odd):
    assert list(timed(PLAN, events(**odd)))[-1] == CLIP
    assert read_rates(this_machine()) == {}


def test_a_run_that_was_stopped_is_not_kept():
    running = timed(PLAN, events())
    next(running)
    running.close()
    assert read_rates(this_machine()) == {}


def test_what_is_done_beside_the_networks_is_learned_by_task():
    request = GenerationRequest.build(
        seed=0,
        base_model="demo",
        num_inference_steps=2,
        source_video="0" * 64,
        strength=1,
        controls=[{"model": "a", "preprocessor": "canny"}],
        interpolation="flow",
    )
    meter = Meter()

    def with_tasks():
        for task in ("read", "preprocess canny"):
            CLOCK.sleep(NAP)
            yield Progress(Stage.PREPROCESS, 1, 1, task=task)
        for event in events():
            if event is CLIP:
                for task in ("between flow", "write MP4", "not planned"):
                    with meter.measure(task):
                        CLOCK.sleep(2 * NAP)
            yield event

    list(timed(plan_of(request), with_tasks(), meter))
    expected = {"read": NAP, "preprocess canny": NAP, "between flow": 2 * NAP, "write MP4": 2 * NAP}
    expected |= {"load demo": 4 * NAP, "unet demo": 4 * NAP, "vae demo": NAP}
    assert seconds(plan_of(request)) == pytest.approx(expected, abs=1e-9)
