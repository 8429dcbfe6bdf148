"""Examples, pictures, clips, masks and control units on the page, in a real browser."""

import re
from fractions import Fraction

import numpy as np
from PIL import Image

from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from studio.examples import examples_of
from studio.modes import Mode
from tests.app.browser.visiting import (
    MARKS,
    SETTLE_MS,
    VIDEO_PLAYS,
    WAIT_MS,
    WIDER_THAN_SCREEN,
    expect,
    open_section,
    start,
    wait_for,
)
from tests.app.fake_engine import FakeEngine

pytestmark = MARKS


def thumbnail(page, mode: Mode, index: int):
    return page.locator(
        f"#examples_{mode.value} button.thumbnail-lg, #examples_{mode.value} .grid-container button"
    ).nth(index)


def test_an_example_fills_the_prompt(visit):
    page = visit()
    for index, example in enumerate(examples_of(Mode.TXT2VID)[:2]):
        thumbnail(page, Mode.TXT2VID, index).click()
        expect(page.locator("#prompt textarea")).to_have_value(example.fields["prompt"], timeout=WAIT_MS)
        expect(page.locator("#seed input")).to_have_value("7")


def test_examples_of_other_tabs_bring_their_files(visit, engine: FakeEngine):
    page = visit()
    page.get_by_role("tab", name="Image to video").click()
    expect(page.locator("#examples_txt2vid")).to_be_hidden(timeout=WAIT_MS)
    thumbnail(page, Mode.IMG2VID, 0).click()
    page.locator("#first_frame img").wait_for(timeout=WAIT_MS)
    page.get_by_role("tab", name="Video to video").click()
    thumbnail(page, Mode.VID2VID, 1).click()
    prompt = examples_of(Mode.VID2VID)[1].fields["prompt"]
    expect(page.locator("#prompt textarea")).to_have_value(prompt, timeout=WAIT_MS)
    expect(page.locator("#source_told")).to_contain_text("16 frames")
    page.locator("#source_video video").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(SETTLE_MS)
    page.locator("#generate").click()
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    (made,) = (request for request in engine.requests if request.prompt == prompt)
    assert [unit.model for unit in made.controls] == ["demo-scribble"]
    assert (made.num_frames, made.strength, len(made.source_video)) == (16, 1, 64)


def test_a_clip_begins_at_a_picture_and_only_while_its_tab_is_open(visit, engine: FakeEngine, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)
    page = visit(width=390, height=844)
    page.get_by_role("tab", name="Image to video").click()
    page.locator("#first_frame input[type=file]").set_input_files(path)
    page.locator("#first_frame img").wait_for(timeout=WAIT_MS)
    open_section(page, "How long the pictures hold")
    fading = page.locator("#hold svg[role=img]")
    expect(fading).to_have_attribute("aria-label", re.compile("first picture 100%"))
    before = fading.get_attribute("aria-label")
    holds = page.locator("#latent_scale input[type=number]")
    holds.fill("4")
    holds.press("Tab")
    expect(fading).not_to_have_attribute("aria-label", before)
    assert page.evaluate(WIDER_THAN_SCREEN) <= 0
    start(page, "a star")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    begun = engine.requests[-1]
    assert (len(begun.first_frame), begun.latent_scale) == (64, 4)
    page.get_by_role("tab", name="Text to video").click()
    expect(page.locator("#steering")).to_be_hidden()
    start(page, "a star again")
    wait_for(page, lambda: engine.requests[-1].prompt == "a star again")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    (again,) = (request for request in engine.requests if request.prompt == "a star again")
    assert again.first_frame == ""


def test_a_preview_of_a_control_clip_is_cancelled(visit, tmp_path):
    with open_clip(
        tmp_path, stem="long", formats=(OutputFormat.MP4,), fps=Fraction(25), width=64, height=64, recipe=""
    ) as writer:
        for _ in range(40):
            writer.write(np.full((50, 64, 64, 3), 90, np.uint8))
    page = visit()
    page.get_by_role("tab", name="Video to video").click()
    page.locator("#source_video input[type=file]").set_input_files(tmp_path / "long.mp4")
    expect(page.locator("#num_frames input")).to_have_value("2000", timeout=WAIT_MS)
    open_section(page, "Picture")
    for side in ("width", "height"):
        page.locator(f"#{side} input[type=number]").fill("1024")
    open_section(page, "Control units")
    expect(page.locator("#control_1_cancel")).to_be_hidden()
    status = page.locator("#control_1_status")
    for _ in range(3):
        page.locator("#control_1_preview").click()
        expect(status).to_contain_text(re.compile(r"frame [\d,]+ of 2,000"), timeout=WAIT_MS)
        page.locator("#control_1_cancel").click()
        expect(status).to_have_text("Cancelled.", timeout=WAIT_MS)
        expect(page.locator("#control_1_cancel")).to_be_hidden()
        expect(page.locator("#control_1_preview")).to_be_enabled()
    expect(page.locator("#control_1_video")).to_be_hidden()


def test_a_clip_is_made_from_a_clip_with_a_painted_mask_and_a_control_unit(visit, engine: FakeEngine, tmp_path):
    with open_clip(
        tmp_path, stem="clip", formats=(OutputFormat.MP4,), fps=Fraction(25, 2), width=96, height=64, recipe=""
    ) as writer:
        writer.write(np.tile(np.uint8([[40], [200]]).repeat(32, 0)[None, :, :, None], (10, 1, 96, 3)))
    page = visit(width=390, height=844)
    page.get_by_role("tab", name="Video to video").click()
    page.locator("#source_video input[type=file]").set_input_files(tmp_path / "clip.mp4")
    expect(page.locator("#source_told")).to_contain_text("96 × 64 pixels, 10 frames, 12.5", timeout=WAIT_MS)
    expect(page.locator("#num_frames input")).to_have_value("10")
    open_section(page, "Mask")
    canvas = page.locator("#mask_painting canvas").first
    canvas.scroll_into_view_if_needed(timeout=WAIT_MS)
    page.wait_for_timeout(1000)  # the picture arrives on the canvas, which tells nobody
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 30, middle[1] + 10, steps=5)
    page.mouse.up()
    page.locator("#use_painting").click()
    expect(page.locator("#mask")).to_contain_text("painted-mask", timeout=WAIT_MS)
    open_section(page, "Control units")
    page.locator("#control_1_enabled input").check()
    page.locator("#control_1_preview").click()
    page.wait_for_function(VIDEO_PLAYS.replace("#video", "#control_1_video"), timeout=3 * WAIT_MS)  # torch is imported
    assert page.evaluate(WIDER_THAN_SCREEN) <= 0
    start(page, "a circle")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    made = engine.requests[-1]
    assert (len(made.source_video), len(made.mask), made.num_frames, made.fps) == (64, 64, 10, Fraction(25, 2))
    assert [(unit.model, unit.preprocessor) for unit in made.controls] == [("demo-canny", "canny")]
