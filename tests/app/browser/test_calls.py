"""A change of a control is one call to the server, after which everything that follows from it is shown."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from studio.modes import Mode
from tests.app.browser.visiting import MARKS, WAIT_MS, expect, open_section, wait_for
from tests.app.conftest import page_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_wiring import event_of

pytestmark = MARKS

TABS = {Mode.TXT2VID: "Text to video", Mode.IMG2VID: "Image to video", Mode.VID2VID: "Video to video"}
QUIET_MS = 1000  # a second call would follow the first one's answer at once


class Calls:
    """Counts the calls of the page's events."""

    def __init__(self, page) -> None:
        self.page, self.sent, self.answered = page, [], 0
        page.wait_for_function("window.sent !== undefined", timeout=WAIT_MS)  # the first drawing was asked for
        page.on("request", self._see)
        page.on("requestfinished", self._end)
        self.wait()

    def _see(self, request) -> None:
        if self._is_call(request):
            self.sent.append(json.loads(request.post_data)["fn_index"])

    def _end(self, request) -> None:
        self.answered += self._is_call(request)

    @staticmethod
    def _is_call(request) -> bool:
        return request.method == "POST" and re.search(r"/(queue/join|run/)", request.url) is not None

    def wait(self) -> None:
        before = -1
        while before != len(self.sent):
            before = len(self.sent)
            wait_for(self.page, lambda: self.answered >= len(self.sent))
            self.page.wait_for_timeout(QUIET_MS)

    def of(self, change, at_least: int = 1) -> int:
        """How many a change makes."""
        self.wait()
        self.sent, self.answered = [], 0
        change()
        wait_for(self.page, lambda: len(self.sent) >= at_least)
        self.wait()
        return len(self.sent)


@pytest.fixture
def files(tmp_path):
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "picture.png")
    with open_clip(
        tmp_path, stem="clip", formats=(OutputFormat.MP4,), fps=Fraction(25, 2), width=96, height=64, recipe=""
    ) as writer:
        writer.write(np.full((10, 64, 96, 3), 90, np.uint8))
    return tmp_path


@contextmanager
def held(page) -> Iterator[list]:
    """Let the one call of the queue that is made meanwhile go on at the end."""
    routes: list = []
    page.route("**/queue/join*", lambda route: routes.append(route))  # Playwright marks its handlers
    yield routes
    (route,) = routes
    route.continue_()
    page.unroute("**/queue/join*")


def choose(page, control: str, option: int) -> None:
    page.locator(f"#{control} input").first.click()
    page.get_by_role("option").nth(option).click()


@pytest.fixture
def opened(visit):
    """The page at a tab, with a counter of its calls."""

    def go(mode: Mode):
        page = visit()
        calls = Calls(page)
        if mode is not Mode.TXT2VID:
            assert calls.of(page.get_by_role("tab", name=TABS[mode]).click) == 1
            expect(page.locator("#steering")).to_be_visible()
            expect(page.locator(f"#examples_{mode.value}")).to_be_visible()
            expect(page.locator("#examples_txt2vid")).to_be_hidden()
        return page, calls

    return go


@pytest.mark.parametrize("mode", Mode)
def test_a_change_of_any_shared_control_is_one_call_after_which_all_of_it_is_shown(opened, mode):
    page, calls = opened(mode)
    estimate = page.locator("#estimate")
    assert calls.of(lambda: page.locator("#prompt textarea").fill("0: a star\n8: a circle")) == 1
    expect(page.locator("#timeline svg")).to_be_visible()
    assert calls.of(lambda: page.locator("#batch_count input").fill("3")) == 1
    expect(estimate).to_contain_text("3 clips, about")
    open_section(page, "Long clips")
    assert calls.of(lambda: page.locator("#num_frames input").fill("40")) == 1
    expect(page.locator("#windows")).to_contain_text("windows")
    expect(page.locator("#timeline figcaption")).to_contain_text("40")
    before = page.locator("#windows").inner_html()
    assert calls.of(lambda: choose(page, "context_schedule", 2)) == 1
    assert page.locator("#windows").inner_html() != before
    open_section(page, "Picture")
    before = estimate.inner_text()
    assert calls.of(lambda: page.locator("#num_inference_steps input[type=range]").press("End")) == 1
    assert estimate.inner_text() != before
    open_section(page, "Output")
    assert calls.of(page.locator("#formats input").nth(1).click) == 1
    assert calls.of(lambda: page.locator("#fps input").first.fill("12"), 0) == 0
    open_section(page, "Model")
    before = estimate.inner_text()
    assert calls.of(lambda: choose(page, "base_model", 1)) == 1
    expect(page.locator("#model_line")).not_to_contain_text("Demo")
    assert estimate.inner_text() != before


def test_a_picture_that_is_chosen_is_one_call_that_stores_it(opened, files):
    page, calls = opened(Mode.IMG2VID)
    open_section(page, "How long the pictures hold")
    before = page.locator("#hold svg[role=img]").get_attribute("aria-label")
    for name in ("first_frame", "last_frame"):
        assert calls.of(lambda name=name: page.locator(f"#{name} input").set_input_files(files / "picture.png")) == 1
    expect(page.locator("#hold svg[role=img]")).not_to_have_attribute("aria-label", before)
    (files / "notes.png").write_text("no picture")
    open_section(page, "Control units")
    clip = page.locator("#control_1_clip input")
    assert calls.of(lambda: clip.set_input_files(files / "notes.png")) == 1
    expect(page.get_by_test_id("toast-body")).to_have_count(1)
    expect(page.get_by_test_id("toast-body")).to_contain_text("Unit 1")
    assert calls.of(lambda: page.locator("#strength input[type=number]").fill("0.5")) == 1
    expect(page.get_by_test_id("toast-body")).to_have_count(1)


def test_a_source_that_is_chosen_is_one_call_that_tells_its_length(opened, files):
    page, calls = opened(Mode.VID2VID)
    assert calls.of(lambda: page.locator("#prompt textarea").fill("0: a star\n8: a circle")) == 1
    assert calls.of(lambda: page.locator("#source_video input").set_input_files(files / "clip.mp4")) == 1
    expect(page.locator("#source_told")).to_contain_text("10 frames")
    expect(page.locator("#num_frames input")).to_have_value("10")
    expect(page.locator("#timeline figcaption")).to_contain_text("10")
    assert calls.of(lambda: page.locator("#source_start input").first.fill("4")) == 1
    expect(page.locator("#num_frames input")).to_have_value("6")
    open_section(page, "Control units")
    before = page.locator("#estimate").inner_text()
    assert calls.of(page.locator("#control_1_enabled input").click) == 1
    assert page.locator("#estimate").inner_text() != before
    assert calls.of(lambda: choose(page, "control_1_preprocessor", 1)) == 1
    assert calls.of(lambda: page.locator("#control_1_weight input, #control_1_weight textarea").fill("0.5"), 0) == 0


def test_what_a_slow_call_draws_does_not_stay_over_newer_values(opened):
    page, calls = opened(Mode.TXT2VID)
    open_section(page, "Model")

    def base_model_and_prompt() -> None:
        with held(page) as routes:
            choose(page, "base_model", 1)
            wait_for(page, lambda: routes)
            page.locator("#prompt textarea").fill("0: a star\n8: a circle")
            expect(page.locator("#timeline svg")).to_be_visible()

    assert calls.of(base_model_and_prompt, 3) == 3  # the model's, the prompt's, and all that is drawn of both
    expect(page.locator("#model_line")).not_to_contain_text("Demo")
    expect(page.locator("#timeline svg")).to_be_visible()


@pytest.mark.parametrize("name", ["base_model", "width", "control_1_model"])
def test_an_event_that_failed_is_sent_again_as_it_was_and_one_that_was_answered_is_not(visit, name):
    blocks = page_of(FakeEngine().make_clip)
    event = event_of(blocks, name, "input")
    after = [later for later in blocks.fns.values() if later.trigger_after == event._id]
    (failed,) = (later for later in after if later.trigger_only_on_failure)
    assert (failed.inputs, failed.outputs) == ([], [])
    values = [control.elem_id for control in event.inputs]
    script = f"""(values) => {{
        const once = {event.js}, failed = {failed.js};
        window.sent = undefined;
        const sent = () => {{ try {{ once(...values); return true; }} catch {{ failed(); return false; }} }};
        const seen = [sent(), sent(), sent()];
        failed();
        seen.push(sent(), sent());
        window.sent = ["another"];
        failed();
        return [...seen, window.sent];
    }}"""
    assert visit().evaluate(script, values) == [True, False, False, True, False, ["another"]]
