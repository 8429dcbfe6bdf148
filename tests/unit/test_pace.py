"""What was measured is kept, fitted and read again whatever the file holds."""

import json
import os
import random
from dataclasses import replace

import pytest

from pipelines.plan.events import Stage
from pipelines.plan.planner.costs import Cost
from pipelines.plan.planner.machine import Machine
from pipelines.plan.planner.pace import ASSUMED, KEPT_RUNS, Run, fitted, in_memory, pace_of, read_runs, record
from pipelines.plan.planner.tasks import Task

CPU = Machine("cpu", "bfloat16", 1)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "animatediff-studio" / "runs.json"


def run(flops: float = 1e11, calls: int = 10, *, rates=(1e-11, 2e-10, 0.1), slower: float = 1.0, **more) -> Run:
    cost = Cost(flops, flops / 50, calls, calls, flops / 100, flops / 10)
    denoise = rates[0] * flops + rates[1] * flops / 50 + rates[2] * calls
    told = {"models": "a", "process": 1, "loaded": False, "load_s": 0.5, "drawing_s": slower * 2e-12 * flops}
    return Run(cost, denoise_s=slower * denoise, **told | more)


def test_runs_come_back_as_they_were_and_only_the_last_are_kept():
    runs = [run(calls=number) for number in range(1, KEPT_RUNS + 4)]
    for one in runs:
        record(CPU, "demo", one)
    assert read_runs(CPU, "demo") == runs[-KEPT_RUNS:]
    assert read_runs(CPU, "sd15") == read_runs(Machine("cpu", "float32", 1), "demo") == []


def test_one_run_is_met_exactly():
    one = run(slower=3.7)
    assert fitted(ASSUMED["cpu"], [one]).engine_seconds(one.cost, loaded=True)[Stage.DENOISE] == pytest.approx(
        one.denoise_s
    )
    assert not fitted(ASSUMED["cpu"], [one]).is_rough


def test_several_runs_tell_the_parts_from_one_another():
    runs = [run(flops, calls) for flops, calls in ((1e11, 40), (8e11, 10), (3e11, 25), (1e12, 5), (5e10, 60))]
    pace = fitted(ASSUMED["cpu"], runs)
    unseen = run(2e12, 4)
    assert pace.engine_seconds(unseen.cost, loaded=True)[Stage.DENOISE] == pytest.approx(unseen.denoise_s, rel=0.15)


def test_a_run_beside_a_busy_neighbour_is_left_out():
    rng = random.Random(0)
    usual = [run(rng.uniform(1e11, 9e11), rng.randint(5, 40)) for _ in range(8)]
    pace = fitted(ASSUMED["cpu"], [*usual, run(slower=30)])
    for one in usual:
        assert pace.engine_seconds(one.cost, loaded=True)[Stage.DENOISE] == pytest.approx(one.denoise_s, rel=0.1)


def test_a_run_that_took_no_time_tells_nothing():
    usual = run(slower=3.7)
    nothing = replace(usual, denoise_s=0.0)
    assert fitted(ASSUMED["cpu"], [usual, nothing]).denoise == fitted(ASSUMED["cpu"], [usual]).denoise


def test_no_rate_is_ever_negative():
    runs = [run(1e11, 40, rates=(0, 0, 0.001)), run(9e11, 1, rates=(1e-11, 0, 0))]
    assert min(fitted(ASSUMED["cpu"], runs).denoise) > 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b'"runs"',
        b"\xff\xfe",
        b'{"format": 2}',
        b'{"format": 2, "runs": 7}',
        b'{"format": 2, "runs": {"cpu bfloat16 1 demo": "x"}}',
        b'{"format": 2, "runs": {"cpu bfloat16 1 demo": [null, 3, {"cost": 1}, {"cost": {}}]}}',
        b'{"format": 1, "runs": {"cpu bfloat16 1 demo": []}}',
        b'{"format": 99, "runs": {}}',
        b"[" * 100_000,
    ],
)
def test_garbage_is_as_good_as_nothing_and_can_be_written_over(cache, garbage):
    cache.parent.mkdir()
    cache.write_bytes(garbage)
    assert pace_of(CPU, "demo") == ASSUMED["cpu"]
    record(CPU, "demo", run())
    assert len(read_runs(CPU, "demo")) == 1


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "3", None, True])
def test_a_run_with_an_impossible_number_is_passed_over(cache, value):
    record(CPU, "demo", run())
    told = json.loads(cache.read_text())
    told["runs"]["cpu bfloat16 1 demo"][0]["denoise_s"] = value
    cache.write_text(json.dumps(told))
    assert read_runs(CPU, "demo") == []


def test_a_folder_that_cannot_be_written_is_no_failure(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    record(CPU, "demo", run())
    assert read_runs(CPU, "demo") == []


def test_models_are_in_memory_only_in_the_process_of_the_last_clip():
    here = run(process=os.getpid())
    assert in_memory([run(), here], "a")
    assert not in_memory([here, run()], "a")
    assert not in_memory([here], "b")
    assert not in_memory([], "a")


@pytest.mark.parametrize("rates", [None, 7, [1], {"read": -1}, {"read": "x"}])
def test_a_run_with_impossible_rates_is_passed_over(cache, rates):
    record(CPU, "demo", run())
    told = json.loads(cache.read_text())
    told["runs"]["cpu bfloat16 1 demo"][0]["rates"] = rates
    cache.write_text(json.dumps(told))
    assert read_runs(CPU, "demo") == []


def test_a_task_is_as_fast_as_it_was_with_any_model_and_one_outlier_changes_nothing():
    task = Task("write MP4", Stage.DECODE, 1e6)
    for kind, rate in (("demo", 2e-7), ("sd15", 3e-7), ("demo", 9e-5)):
        record(CPU, kind, replace(run(), rates={"write MP4": rate}))
    assert pace_of(CPU, "sdxl").task_seconds(task) == pytest.approx(0.3)
    assert pace_of(Machine("cpu", "float32", 2), "demo").task_seconds(task) == ASSUMED["cpu"].task_seconds(task) > 0


def test_networks_beside_the_engine_s_are_on_the_card_where_they_may_be():
    def seconds(name: str) -> list[float]:
        return [ASSUMED[kind].task_seconds(Task(name, Stage.DECODE, 1e6)) for kind in ("cpu", "cuda", "zerogpu")]

    looks, draws = seconds("preprocess depth_midas"), seconds("between film")
    assert looks[0] > looks[1] == looks[2]
    assert draws[0] == draws[2] > draws[1]
    assert len(set(seconds("preprocess canny"))) == 1


@pytest.mark.parametrize(("usual", "place"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 3)])
def test_one_clip_that_was_held_up_spoils_nothing_even_beside_a_single_other(usual, place):
    runs = [run() for _ in range(usual)]
    runs.insert(place, run(slower=10))
    pace = fitted(ASSUMED["cpu"], runs)
    found = pace.engine_seconds(run().cost, loaded=True)
    assert found[Stage.DENOISE] == pytest.approx(run().denoise_s, rel=0.05)
    assert found[Stage.ENCODE] + found[Stage.DECODE] == pytest.approx(run().drawing_s, rel=0.05)
