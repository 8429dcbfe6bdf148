"""What a visitor finds again after a reload: the clip that is made, the one that is finished, all before."""

import re

from tests.app.browser.visiting import MARKS, SETTLE_MS, VIDEO_PLAYS, WAIT_MS, expect, start
from tests.app.fake_engine import FakeEngine

pytestmark = MARKS


def test_a_page_that_is_loaded_again_finds_its_job_and_another_visitor_does_not(visit, engine: FakeEngine):
    page, other = visit(), visit()
    before = len(engine.requests)
    start(page, "slow to be found again")
    expect(page.locator("#status")).to_contain_text(re.compile(r"Step \d+ of 400"), timeout=WAIT_MS)
    page.reload(wait_until="domcontentloaded")
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    expect(page.locator("#status")).to_contain_text(re.compile(r"Step \d+ of 400"))
    expect(page.locator("#generate")).to_be_disabled()
    other.reload(wait_until="domcontentloaded")
    expect(other.locator("#status")).to_contain_text("Write a prompt", timeout=WAIT_MS)
    expect(other.locator("#generate")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_contain_text("Cancelled", timeout=WAIT_MS)
    assert len(engine.requests) == before + 1


def test_a_clip_that_was_finished_is_there_after_a_reload(visit, engine: FakeEngine):
    page = visit()
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    used = page.locator("#used_seed input")
    expect(used).to_have_value(str(engine.requests[-1].seed))
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    expect(used).to_have_value(str(engine.requests[-1].seed))
    expect(page.locator("#generate")).to_be_enabled()


def test_a_clip_is_there_after_a_reload_until_it_is_deleted_and_nobody_else_sees_it(visit):
    page = visit()
    expect(page.locator("#gallery")).to_be_hidden()
    start(page, "a kept star")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    clips = page.locator("#gallery button.thumbnail-lg")
    expect(clips).to_have_count(1, timeout=WAIT_MS)
    page.reload(wait_until="domcontentloaded")
    expect(clips).to_have_count(1, timeout=WAIT_MS)
    expect(page.locator("#gallery")).to_contain_text("a kept star")
    clips.click()
    page.wait_for_function(VIDEO_PLAYS.replace("#video", "#gallery .preview"), timeout=WAIT_MS)
    expect(page.locator("#gallery_files")).to_contain_text(".mp4")
    other = visit()
    expect(other.locator("#gallery")).to_be_hidden()
    page.locator("#gallery_delete").click()
    expect(page.locator("#gallery")).to_be_hidden(timeout=WAIT_MS)
    page.reload(wait_until="domcontentloaded")
    page.get_by_role("button", name="Generate", exact=True).wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(SETTLE_MS)
    expect(page.locator("#gallery")).to_be_hidden()
