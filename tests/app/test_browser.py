"""The page in a real browser, around the stand-in engine: what a visitor sees and does."""

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

from media.write import open_clip  # noqa: E402
from pipelines.choices import OutputFormat  # noqa: E402
from scripts.chromium import FLAGS, executable  # noqa: E402
from tests.app.fake_engine import REFUSAL, FakeEngine  # noqa: E402 - after the check for the browser
from ui.studio import EXAMPLES  # noqa: E402

CHROMIUM = executable()
VIDEO_PLAYS = """() => {
  const video = document.querySelector('#video video');
  return video && video.readyState >= 2 && video.videoWidth > 0 && video.currentTime > 0;
}"""
WIDER_THAN_SCREEN = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
GRADIO_BASELINE = {"aria-prohibited-attr", "color-contrast"}  # its media box and footer; ours are checked below
WAIT_MS = 20_000
SETTLE_MS = 300  # Gradio may set values once more just after drawing: 2 of 60 that were typed within it were lost
expect = playwright.expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(chromium, url) -> Iterator:
    """Open the page in a window of its own; nothing but the page's own server is reachable."""
    opened, errors = [], []

    def hermetic(route) -> None:
        route.continue_() if route.request.url.startswith((url, "data:", "blob:")) else route.abort()

    def go(width: int = 1280, height: int = 900, scheme: str = "light"):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        opened.append(context)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route("**/*", hermetic)
        page.goto(f"{url}?__theme={scheme}", wait_until="domcontentloaded")
        page.get_by_role("button", name="Generate", exact=True).wait_for(timeout=WAIT_MS)
        page.wait_for_timeout(SETTLE_MS)
        return page

    yield go
    for context in opened:
        context.close()
    assert errors == []


def start(page, prompt: str) -> None:
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#generate").click()


def open_section(page, title: str) -> None:
    """Open an accordion; its button's name ends with an arrow sign."""
    page.get_by_role("button", name=re.compile(rf"^{title}\b")).click()
    page.wait_for_timeout(SETTLE_MS)


def test_a_clip_is_previewed_while_it_is_made_and_then_plays(visit):
    page = visit()
    start(page, "a red circle moving right")
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    expect(page.locator("#status")).to_contain_text(re.compile(r"Step \d+ of 20"))
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
    before = page.locator("#estimate").inner_text().strip()
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
    page.locator("#num_frames input").fill("0")
    start(page, "x")
    expect(page.locator("#status [role=alert]")).to_contain_text("num_frames must be", timeout=WAIT_MS)


def test_a_number_typed_beyond_a_slider_is_refused_by_name(visit):
    page = visit()
    open_section(page, "Picture")
    steps = page.locator("#num_inference_steps input[type=number]")
    steps.fill("500")
    steps.press("Control+Enter")
    expect(page.locator("#status [role=alert]")).to_contain_text("num_inference_steps must be", timeout=WAIT_MS)


def test_an_example_fills_the_prompt(visit):
    page = visit()
    for label, prompt in list(EXAMPLES.items())[:2]:
        page.get_by_role("button", name=label).click()
        expect(page.locator("#prompt textarea")).to_have_value(prompt)


def test_another_base_model_brings_its_own_settings(visit):
    page = visit()
    open_section(page, "Model")
    page.locator("#base_model input").click()
    page.get_by_role("option", name="Stable Diffusion 1.5").click()
    expect(page.locator("#model_line")).to_contain_text("Stable Diffusion 1.5")
    open_section(page, "Picture")
    expect(page.locator("#width input[type=number]")).to_have_value("512")


def test_other_formats_are_offered_as_files(visit):
    page = visit()
    open_section(page, "Output")
    page.locator("#formats").get_by_label("GIF").check()
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    expect(page.locator("#files")).to_contain_text(".gif")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit, scheme):
    page = visit(width=390, height=844, scheme=scheme)
    assert page.evaluate(WIDER_THAN_SCREEN) <= 0
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    for title in ("Model", "Picture", "Long clips", "Noise", "Output", "Recipe"):
        open_section(page, title)
    assert page.evaluate(WIDER_THAN_SCREEN) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier_beyond_gradios_own(visit, scheme):
    page = visit(scheme=scheme)
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert {rule["id"] for rule in serious} <= GRADIO_BASELINE
    for rule in serious:
        targets = [" ".join(map(str, node["target"])) for node in rule["nodes"]]
        assert not [target for target in targets if "told" in target or "model_line" in target]


def test_a_clip_begins_at_a_picture_and_only_while_its_tab_is_open(visit, engine: FakeEngine, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)
    page = visit(width=390, height=844)
    page.get_by_role("tab", name="Image to video").click()
    page.locator("#first_frame input[type=file]").set_input_files(path)
    page.locator("#first_frame img").wait_for(timeout=WAIT_MS)
    open_section(page, "How long the pictures hold")
    fading = page.locator("#hold svg")
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
    expect(page.locator("#status")).to_contain_text("Step", timeout=WAIT_MS)
    (again,) = (request for request in engine.requests if request.prompt == "a star again")
    assert again.first_frame == ""


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
