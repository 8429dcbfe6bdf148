"""Visitors, their tabs and windows: each finds what is its own, and a browser that asks for less motion gets it."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from scripts.two_visitors import watch
from studio.jobs import Jobs
from tests.app.browser.visiting import MARKS, WAIT_MS, expect, open_tab, wait_for
from tests.app.browser.visiting import start as press
from tests.app.conftest import served, studio_of
from tests.app.fake_engine import FakeEngine
from tests.app.test_page import wait_until

pytestmark = MARKS


def start(page, prompt: str) -> None:
    """Press, and see that it has begun or waits."""
    press(page, prompt)
    expect(page.locator("#status")).to_contain_text(re.compile(r"Step \d+|ahead"), timeout=WAIT_MS)


def background(address: str) -> tuple[int, ...]:
    """The colour of a preview's corner."""
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
    return tuple(np.asarray(picture)[:4, -4:].reshape(-1, 3).mean(0).round().astype(int))


def is_moving(page) -> bool:
    """Whether the picture that is seen of the preview changes within a second."""
    seen = set()
    for _ in range(8):
        seen.add(page.evaluate("getComputedStyle(document.querySelector('#preview img')).transform"))
        page.wait_for_timeout(120)
    return len(seen) > 1


def test_every_tab_finds_its_own_job_and_what_was_asked_and_a_new_one_nothing(visitor, url):
    context = visitor()
    first, second = open_tab(context, url), open_tab(context, url)
    first.locator("#seed input, #seed textarea").fill("7, 42")
    start(first, "slow in the first tab")
    start(second, "slow in the second tab")
    for page, prompt, seed in ((first, "slow in the first tab", "7, 42"), (second, "slow in the second tab", "-1")):
        page.reload(wait_until="domcontentloaded")
        expect(page.locator("#prompt textarea")).to_have_value(prompt, timeout=WAIT_MS)
        expect(page.locator("#seed input, #seed textarea")).to_have_value(seed)
        expect(page.locator("#generate")).to_be_disabled()
    expect(first.locator("#status")).to_contain_text(re.compile(r"Step \d+ of 400"), timeout=WAIT_MS)
    expect(second.locator("#status")).to_contain_text("1 clip is ahead")
    third = open_tab(context, url)
    expect(third.locator("#status")).to_contain_text("Write a prompt")
    expect(third.locator("#generate")).to_be_enabled()
    for page in (second, first):
        page.locator("#cancel").click()
        expect(page.locator("#status")).to_contain_text("Cancelled", timeout=WAIT_MS)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_previews_and_examples_move_unless_less_motion_is_asked_for(visitor, url, motion):
    page = open_tab(visitor(reduced_motion=motion), url)
    start(page, "slow")
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    moves = motion == "no-preference"
    assert is_moving(page) is moves
    expect(page.locator("#preview img")).to_have_attribute("alt", re.compile("Preview"))
    box = page.locator("#preview .preview").bounding_box()
    assert abs(box["width"] - box["height"]) < 1  # one frame of the strip is seen
    passes = page.evaluate("getComputedStyle(document.querySelector('.told .bar div')).transitionDuration")
    assert passes == ("0.2s" if moves else "0s")
    kind = {"http"} if moves else {"data"}
    wait_for(page, lambda: {src.partition(":")[0] for src in sources(page, "#examples_txt2vid img")} == kind)
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text("Cancelled", timeout=WAIT_MS)


def sources(page, images: str) -> list[str]:
    return page.eval_on_selector_all(images, "all => all.map(one => one.src)")


def test_two_visitors_at_once_wait_for_each_other_and_see_only_their_own(chromium):
    engine, jobs = FakeEngine(step_s=0.2), Jobs()
    with served(studio_of(engine.make_clip, jobs=jobs)) as url:
        seen = list(watch(chromium, url, ("blue", "green")))
    assert engine.most_running == 1
    colours = {0: (40, 90, 200), 1: (40, 160, 60)}
    for number, colour in colours.items():
        own = [one for one in seen if one.visitor == number]
        previews = {one.preview for one in own if one.preview}
        assert previews
        assert all(np.abs(np.subtract(background(one), colour)).max() < 12 for one in previews)
        assert own[-1].video
    told = [[one.status for one in seen if one.visitor == number] for number in colours]
    waited = [any("1 clip is ahead" in status for status in statuses) for statuses in told]
    assert sorted(waited) == [False, True]
    assert len({one.job for one in seen if one.job}) == len({one.video for one in seen if one.video}) == 2


def test_a_job_ends_some_time_after_its_tab_was_closed(visitor):
    engine, jobs = FakeEngine(), Jobs(patience_s=1)
    with served(studio_of(engine.make_clip, jobs=jobs)) as url:
        page = open_tab(visitor(), url)
        start(page, "slow, and left alone")
        job_id = page.locator("#job input, #job textarea")
        expect(job_id).not_to_have_value("")
        job = jobs.find(job_id.input_value())
        page.wait_for_timeout(1500)
        assert not job.view.ended  # it is followed
        page.close()
        assert wait_until(lambda: job.view.ended)
        assert job.view.cancelled
        assert len(engine.closed_at) == 1
        assert wait_until(lambda: engine.running == 0)
