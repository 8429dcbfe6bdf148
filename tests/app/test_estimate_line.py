"""The line under Generate follows what decides the cost, and its button makes a clip fit."""

import re

import gradio as gr
import pytest

from pipelines.plan.planner.estimate import Budget, estimate
from pipelines.plan.request import GenerationRequest
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import answer, event_of
from ui.inputs.modes import parse_page
from ui.parts.page_values import PageValues
from ui.results import estimate_line
from ui.results.estimate_line import (
    AXES,
    COUNTED,
    FIELDS_OF_COST,
    FITTED,
    STEERING,
    estimate_html,
    fitting,
    grid_estimate_html,
)

GB = 1e9
STABLE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
LINES = ("estimate", "fit", "grid_estimate")
DEMO = {"base_model": "demo", "width": 128, "height": 128}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def page() -> gr.Blocks:
    return page_of(FakeEngine().make_clip)


def estimate_of(values: dict) -> tuple[str, bool]:
    page = PageValues(values)
    return estimate_html(page, parse_page(page))


def test_the_line_follows_everything_that_decides_and_every_finished_clip(page):
    kinds = dict.fromkeys({*FIELDS_OF_COST, *STEERING, *COUNTED, *AXES} - {"mode", "mask"}, "input")
    kinds |= {"recipe": "change", "mask": "upload"}
    for name, kind in kinds.items():
        told = [out.elem_id for out in event_of(page, name, kind).outputs]
        assert [line for line in LINES if line in told] == list(LINES), name
    told = answer(page, "width", "input", base_model="demo", width=128, height=128)
    line, button, grid = (told[name] for name in LINES)
    assert "Rough until a first clip is made" in line["value"]
    assert (line["visible"], button["visible"], grid["visible"]) == (True, False, False)


def test_values_that_break_a_rule_hide_the_line_and_nothing_else(page):
    told = answer(page, "num_frames", "input", num_frames=-1, grid_1_field="seed", grid_1_values="1-3")
    assert (told["estimate"]["value"], told["estimate"]["visible"], told["fit"]["visible"]) == ("", False, False)
    assert "num_frames must be" in told["windows"]


def test_steering_counts_only_on_its_own_tab():
    unit = {"control_1_enabled": True, "control_1_model": "a", "control_1_start": 0, "control_1_end": 1}
    values = {"base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5", "strength": 1.0, **unit}
    lines = [estimate_of(values | {"mode": mode})[0] for mode in ("txt2vid", "vid2vid")]
    assert lines[0] == estimate_of({"base_model": values["base_model"]})[0]
    assert lines[0] != lines[1]


def test_what_will_not_fit_is_said_with_a_way_out_that_the_button_takes(page, monkeypatch):
    budget = Budget(1.2 * GB, 1.2 * GB)
    monkeypatch.setattr(estimate_line, "this_budget", lambda: budget)
    large = {"base_model": "demo", "width": 1024, "height": 1024, "num_frames": 32, "context_length": 32}
    text, fits = estimate_of(large)
    assert not fits
    assert 'role="alert"' in text
    assert "Won&#x27;t fit" in text
    assert "horten the window" in text
    told = answer(page, "fit", "click", **large)
    changed = {name: told[name] for name in FITTED if name in told}
    assert changed
    assert not told["fit"]["visible"]
    request = GenerationRequest.build(seed=0, **large | changed)
    assert budget.holds(estimate(request))
    assert estimate_of(large | changed)[1]


def test_the_button_leaves_a_clip_alone_that_breaks_a_rule():
    assert fitting(PageValues({"num_frames": -1})) == {}


@pytest.mark.parametrize(("asked", "told_as"), [({"batch_count": 3}, "3 clips, about"), ({}, ">About ")])
def test_clips_are_counted(asked, told_as):
    assert told_as in estimate_of(DEMO | {"seed": 7} | asked)[0]
    if asked:
        seeds = DEMO | {"seed": "7, 42, 1000", "batch_count": 1}
        assert estimate_of(seeds) == estimate_of(DEMO | asked)


@pytest.mark.parametrize("wrong", [{"batch_count": 99}, {"batch_count": 2, "seed": "1, 2, 3"}, {"seed": "1, x"}])
def test_a_count_that_breaks_a_rule_hides_the_line(wrong):
    assert estimate_of(DEMO | wrong) == ("", True)


def test_a_grid_has_a_line_of_its_own_that_counts_its_cells_as_they_differ():
    def seconds(steps: str) -> str:
        axes = {"grid_1_field": "seed", "grid_1_values": "1-3", "grid_2_field": "num_inference_steps"}
        return grid_estimate_html(PageValues(DEMO | axes | {"grid_2_values": steps}))

    assert "6 clips, about" in seconds("2, 4")
    assert seconds("2, 4") != seconds("20, 40")
    assert seconds("4, x") == seconds("1-60") == grid_estimate_html(PageValues(DEMO)) == ""


@pytest.fixture
def lent(monkeypatch, configure):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    configure(max_gpu_seconds=60)


@pytest.mark.usefixtures("lent")
def test_a_lent_gpu_is_told_in_quota_of_what_runs_on_it():
    plain = estimate_of({"base_model": STABLE})[0]
    quota = re.search(r"Takes .* of GPU quota\.", plain)[0]
    slow = estimate_of({"base_model": STABLE, "interpolation": "film", "upscale_by": 2.0})[0]
    assert quota in slow
    assert slow != plain
    assert "turns" not in plain
    assert "more than" not in plain


@pytest.mark.usefixtures("lent")
def test_turns_and_more_than_a_day_s_quota_are_told():
    assert "in 2 turns" in estimate_of({"base_model": STABLE, "num_frames": 96})[0]
    assert "turns" not in estimate_of({"base_model": STABLE, "batch_count": 2})[0]
    assert "not signed in" in estimate_of({"base_model": STABLE, "num_frames": 160})[0]
    day = {"base_model": STABLE, "num_frames": 160, "batch_count": 4}
    assert "of a free account" in estimate_of(day)[0]
