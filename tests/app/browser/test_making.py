"""Making a clip on the page, in a real browser around the stand-in engine: what a visitor sees and does."""

import re

import pytest

from tests.app.browser.visiting import MARKS, VIDEO_PLAYS, WAIT_MS, expect, open_section, start
from tests.app.fake_engine import REFUSAL, FakeEngine

pytestmark = MARKS


def test_a_clip_is_previewed_while_it_is_made_and_then_plays(visit):
    page = visit()
    open_section(page, "Picture")
    page.locator("#num_inference_steps input[type=number]").fill("100")  # a job doesn't wait for its page
    start(page, "a red circle moving right")
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    expect(page.locator("#status")).to_contain_text(re.compile(r"Step \d+ of 100"))
    expect(page.locator("#status [role=status]")).to_have_attribute("aria-live", "polite")
    expect(page.locator("#generate")).to_be_disabled()
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    expect(page.locator("#status")).to_contain_text("Done: 16 frames")
    expect(page.locator("#preview")).to_be_hidden()
    expect(page.locator("#generate")).to_be_enabled()
    expect(page.locator("#cancel")).to_be_disabled()
    with page.expect_download() as download:
        page.locator("#video a[download]").click()
    assert download.value.path().read_bytes()[4:8] == b"ftyp"


def test_a_draft_is_made_in_full_and_the_estimate_follows_the_controls(visit, engine: FakeEngine):
    page = visit()
    expect(page.locator("#estimate")).to_contain_text(re.compile(r"About \d+ s, [\d.]+ GB"))
    before = page.locator("#estimate [role=status]").inner_text().split(",")[0]  # memory may be known better by now
    page.locator("#num_frames input").fill("400")
    page.locator("#num_frames input").press("Tab")
    expect(page.locator("#estimate")).not_to_contain_text(before)
    page.locator("#num_frames input").fill("16")
    page.locator("#num_frames input").press("Tab")
    expect(page.locator("#estimate")).to_contain_text(before)
    page.locator("#draft_button").click()
    page.locator("#full").wait_for(timeout=WAIT_MS)
    expect(page.locator("#full_recipe")).to_be_hidden()
    draft = engine.requests[-1]
    page.locator("#full").click()
    page.locator("#full").wait_for(state="hidden", timeout=WAIT_MS)
    expect(page.locator("#status")).to_contain_text("Done: 16 frames", timeout=WAIT_MS)
    full = engine.requests[-1]
    assert (full.seed, full.draft, full.width) == (draft.seed, 1, draft.width * draft.draft)
    assert full.num_inference_steps > draft.num_inference_steps


def test_the_used_seed_is_shown_and_can_be_used_again(visit, engine: FakeEngine):
    page = visit()
    expect(page.locator("#used_seed")).to_be_hidden()
    start(page, "x")
    used = page.locator("#used_seed input")
    used.wait_for(timeout=WAIT_MS)
    page.locator("#reuse_seed").click()
    seed = str(engine.requests[-1].seed)
    expect(used).to_have_value(seed)
    expect(page.locator("#seed input")).to_have_value(seed)


def test_cancel_stops_the_engine_within_a_step_or_two(visit, engine: FakeEngine):
    page = visit()
    before = len(engine.closed_at)
    start(page, "slow")
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text("Cancelled")
    page.wait_for_timeout(500)
    expect(page.locator("#status")).to_contain_text("Cancelled")
    assert len(engine.closed_at) == before + 1
    assert engine.closed_at[-1] < 100
    expect(page.locator("#generate")).to_be_enabled()


def test_the_keyboard_generates_and_cancels(visit, engine: FakeEngine):
    page = visit()
    page.locator("#prompt textarea").fill("slow by keyboard")
    page.locator("#prompt textarea").press("Control+Enter")
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_contain_text("Cancelled")
    assert engine.requests[-1].prompt == "slow by keyboard"


def test_a_refusal_is_shown_word_for_word_and_the_page_goes_on(visit):
    page = visit()
    start(page, "refuse")
    expect(page.locator("#status [role=alert]")).to_have_text(REFUSAL, timeout=WAIT_MS)
    expect(page.locator("#generate")).to_be_enabled()
    start(page, "a star")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)


def test_a_broken_rule_names_the_field_on_the_page(visit):
    page = visit()
    page.locator("#num_frames input").fill("-1")
    start(page, "x")
    expect(page.locator("#status [role=alert]")).to_contain_text("num_frames must be", timeout=WAIT_MS)


def test_a_number_typed_beyond_a_slider_is_refused_by_name(visit):
    page = visit()
    open_section(page, "Picture")
    steps = page.locator("#num_inference_steps input[type=number]")
    steps.fill("500")
    steps.press("Control+Enter")
    expect(page.locator("#status [role=alert]")).to_contain_text("num_inference_steps must be", timeout=WAIT_MS)


def test_other_formats_are_offered_as_files(visit):
    page = visit()
    open_section(page, "Output")
    page.locator("#formats").get_by_label("GIF").check()
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    expect(page.locator("#files")).to_contain_text(".gif")


@pytest.mark.parametrize("label", ["WebP", "APNG"])
def test_a_moving_picture_is_shown_where_there_is_no_video(visit, label):
    page = visit()
    open_section(page, "Output")
    page.locator("#formats").get_by_label(label).check()
    page.locator("#formats").get_by_label("MP4 video").uncheck()
    start(page, "x")
    page.wait_for_function("document.querySelector('#picture img')?.naturalWidth === 64", timeout=WAIT_MS)


def test_a_webm_plays(visit):
    page = visit()
    open_section(page, "Output")
    page.locator("#formats").get_by_label("WebM video").check()
    page.locator("#formats").get_by_label("MP4 video").uncheck()
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
