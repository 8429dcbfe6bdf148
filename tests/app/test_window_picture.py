"""The picture of the windows shows the engine's plan, and what is wrong where there is none."""

import re

import gradio as gr
import pytest

from pipelines.plan.context import plan_windows
from pipelines.plan.request import GenerationRequest
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import answer, event_of
from ui.charts.window_chart import MOST_FRAMES, MOST_WINDOWS, WINDOW_FIELDS, windows_html
from ui.parts.page_request import PageRequest

RECTANGLE = re.compile(r'<rect x="(\d+)" y="([\d.]+)" width="(\d+)" height="[\d.]+" opacity="([\d.]+)"/>')


def shades(svg: str) -> dict[tuple[int, int], float]:
    """Opacity by row and frame."""
    return {
        (int(float(y)), frame): float(shade)
        for x, y, width, shade in RECTANGLE.findall(svg)
        for frame in range(int(x), int(x) + int(width))
    }


def picture_of(values: dict) -> str:
    return windows_html(PageRequest.of(values))


def steps(picture: str) -> list[str]:
    return picture.split("<svg")[1:]


@pytest.mark.parametrize("loop", ["off", "full"])
@pytest.mark.parametrize("schedule", ["uniform", "shuffle"])
def test_every_frame_of_every_window_is_drawn_at_its_weight(schedule, loop):
    values = {"num_frames": 40, "context_schedule": schedule, "context_stride": 2, "closed_loop": loop, "seed": 5}
    request = GenerationRequest.build(**values)
    drawn = steps(picture_of(values))
    assert len(drawn) == 3
    for step, svg in enumerate(drawn):
        expected = {
            (row, frame): weight
            for row, window in enumerate(plan_windows(request, step))
            for frame, weight in zip(window.frame_indices, window.weights, strict=True)
        }
        found = shades(svg)
        assert found.keys() == expected.keys()
        assert all(abs(found[place] - weight) < 0.006 for place, weight in expected.items() if weight >= 0.12)


def test_a_frame_that_does_not_count_is_still_seen():
    (svg,) = steps(picture_of({"num_frames": 24, "context_schedule": "static", "context_fuse": "last"}))
    found = shades(svg)
    assert (found[0, 7], found[0, 8], found[1, 8]) == (1, 0.12, 1)


def test_steps_with_the_same_windows_are_drawn_once():
    assert len(steps(picture_of({"num_frames": 40, "context_schedule": "static"}))) == 1
    assert "Steps 1 to 3" in picture_of({"num_frames": 40, "context_schedule": "static"})
    assert len(steps(picture_of({"num_frames": 40, "num_inference_steps": 2}))) == 2


def test_the_picture_says_in_words_what_it_shows():
    picture = picture_of({"num_frames": 32, "closed_loop": "windows"})
    told = 'aria-label="Step 1, 3 windows: frames 0 to 15; frames 12 to 27; frames 24 to 7 over the end."'
    assert f'<svg role="img" {told}' in picture
    assert "fits into one window" in picture_of({"num_frames": 16})
    assert "played backwards" in picture_of({"num_frames": 16, "closed_loop": "full"})


@pytest.mark.parametrize("schedule", ["uniform", "shuffle"])
def test_of_a_long_clip_only_the_beginning_is_drawn(schedule):
    picture = picture_of({"num_frames": 10_000, "context_schedule": schedule, "context_stride": 8, "seed": 1})
    assert f"Of 10,000 frames the first {MOST_FRAMES} are drawn" in picture
    assert len(picture) < 60_000
    for svg in steps(picture):
        places = shades(svg)
        assert max(row for row, _ in places) < MOST_WINDOWS
        assert max(frame for _, frame in places) < MOST_FRAMES


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"context_length": 8, "context_overlap": 8}, "context_overlap must be below context_length (8), got 8."),
        ({"num_frames": None}, "num_frames must be a valid integer, got null. Change &#x27;Frames&#x27;."),
        ({"context_schedule": "<b>"}, "got &lt;b&gt;"),
    ],
)
def test_values_that_break_a_rule_are_told_in_place_of_the_picture(values, words):
    told = picture_of(values)
    assert words in told
    assert "<svg" not in told


def test_the_picture_follows_every_control_that_decides_the_windows():
    page = page_of(FakeEngine().make_clip)
    (shown,) = [block for block in page.blocks.values() if isinstance(block, gr.HTML) and block.elem_id == "windows"]
    assert "fits into one window" in shown.value
    assert len({event_of(page, name, "input").fn for name in WINDOW_FIELDS}) == 1
    assert answer(page, "num_frames", "input", num_frames=40)["windows"].count("<svg") == 3


@pytest.mark.parametrize("seed", ["", "-1", -1, None])
def test_a_seed_that_is_yet_to_be_drawn_keeps_the_picture_as_it_is(seed):
    page = page_of(FakeEngine().make_clip)
    shuffled = {"num_frames": 40, "context_schedule": "shuffle", "context_stride": 2}
    pictures = [answer(page, "num_frames", "input", **shuffled, seed=seed)["windows"] for _ in range(4)]
    assert set(pictures) == {picture_of(shuffled | {"seed": 0})}


def test_of_several_seeds_the_first_one_is_drawn_and_what_is_no_list_is_refused():
    page = page_of(FakeEngine().make_clip)
    shuffled = {"num_frames": 40, "context_schedule": "shuffle", "context_stride": 2}

    def drawn(seed: str) -> str:
        return answer(page, "seed", "input", **shuffled, seed=seed)["windows"]

    assert drawn("7, 42") == drawn("7") == picture_of(shuffled | {"seed": 7}) != drawn("42")
    for wrong in ("7, x", "7, 7", "x"):
        assert "seed must be" in drawn(wrong)


def test_a_length_of_nothing_is_drawn_as_a_window_s():
    assert picture_of({"seed": 0, "num_frames": 0, "context_length": 16}) == picture_of(
        {"seed": 0, "num_frames": 16, "context_length": 16}
    )
