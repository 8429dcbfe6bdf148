"""The page in a real browser, around the stand-in engine: what a visitor sees and does."""

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

from api.examples import examples_of  # noqa: E402
from api.field_groups import GROUPS  # noqa: E402
from api.kept_inputs import keep  # noqa: E402
from api.modes import Mode  # noqa: E402
from media.write import open_clip  # noqa: E402
from pipelines.choices import OutputFormat  # noqa: E402
from pipelines.request import GenerationRequest  # noqa: E402
from scripts.chromium import FLAGS, executable  # noqa: E402
from tests.app.fake_engine import REFUSAL, FakeEngine  # noqa: E402 - after the check for the browser

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

    def go(width: int = 1280, height: int = 900, scheme: str = "light", locale: str = "en-US"):
        viewport = {"width": width, "height": height}
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, locale=locale)
        page = context.new_page()
        opened.append(context)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route("**/*", hermetic)
        page.goto(f"{url}?__theme={scheme}", wait_until="domcontentloaded")
        page.locator("#generate").wait_for(timeout=WAIT_MS)
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
    before = page.locator("#estimate [role=status]").inner_text().strip()
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


def test_a_clip_that_was_finished_is_there_after_a_reload(visit):
    page = visit()
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    seed = page.locator("#used_seed input").input_value()
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    expect(page.locator("#used_seed input")).to_have_value(seed)
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


def test_a_preset_sets_controls_and_says_which(visit, engine: FakeEngine):
    page = visit()
    for title in ("Model", "Picture", "Long clips"):
        open_section(page, title)
    expect(page.locator("#preset_lightning")).to_be_hidden()
    page.locator("#preset_loop").click()
    expect(page.locator("#preset_told")).to_contain_text("Sets Frames 32, Closed loop Full.", timeout=WAIT_MS)
    expect(page.locator("#closed_loop input")).to_have_value("Full")
    page.locator("#preset_lcm").click()
    expect(page.locator("#motion_module input")).to_have_value("Demo motion, 4 steps", timeout=WAIT_MS)
    expect(page.locator("#num_inference_steps input[type=number]")).to_have_value("4")
    expect(page.locator("#scheduler input")).to_have_value("LCM")
    page.wait_for_timeout(SETTLE_MS)
    start(page, "a star by presets")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    (made,) = (request for request in engine.requests if request.prompt == "a star by presets")
    assert (made.num_frames, made.closed_loop, made.motion_module, made.guidance_scale) == (32, "full", "demo-lcm", 1)
    page.locator("#preset_balanced").click()
    expect(page.locator("#closed_loop input")).to_have_value("Off", timeout=WAIT_MS)
    expect(page.locator("#motion_module input")).to_have_value("Demo motion")
    page.locator("#base_model input").click()
    page.get_by_role("option", name="Stable Diffusion 1.5").click()
    expect(page.locator("#preset_lightning")).to_be_visible(timeout=WAIT_MS)


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
    page.locator("#preset_draft").click()
    expect(page.locator("#preset_told")).to_contain_text("Sets Steps 8", timeout=WAIT_MS)
    for title in (*GROUPS, "Image prompts", "Recipe"):
        open_section(page, title)
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert {rule["id"] for rule in serious} <= GRADIO_BASELINE
    for rule in serious:
        targets = [" ".join(map(str, node["target"])) for node in rule["nodes"]]
        ours = ("told", "model_line", "preset", "windows", "travel")
        assert not [target for target in targets if any(name in target for name in ours)]


def test_generate_follows_the_prompt_by_keyboard(visit):
    page = visit()
    page.locator("#prompt textarea").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "generate"


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
    page.wait_for_timeout(SETTLE_MS)
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
    page.locator("#control_1_preview").click()
    status = page.locator("#control_1_status")
    expect(status).to_contain_text(re.compile(r"frame \d+ of 2,000"), timeout=WAIT_MS)
    page.locator("#control_1_cancel").click()
    expect(status).to_contain_text("Cancelled.", timeout=WAIT_MS)
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


def carrier(folder, kind: OutputFormat | str, recipe: str):
    """A file that carries a recipe."""
    if kind not in list(OutputFormat):
        path = folder / f"told.{kind}"
        path.write_text(recipe, encoding="utf-8")
        return path
    with open_clip(
        folder, stem="clip", formats=(OutputFormat(kind),), fps=Fraction(8), width=32, height=32, recipe=recipe
    ) as writer:
        writer.write(np.zeros((2, 32, 32, 3), np.uint8))
    return writer.files[0]


@pytest.mark.parametrize("kind", [*OutputFormat, "json"])
def test_a_dropped_file_restores_every_control(visit, engine: FakeEngine, tmp_path, kind):
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "picture.png")
    request = GenerationRequest.build(
        prompt="0: a <b>star</b>\n8: a heart",
        seed=2**32 - 1,
        num_frames=12,
        num_inference_steps=7,
        scheduler="euler_a",
        motion_module="demo-lcm",
        webp_lossless=True,
        context_length=9,
        closed_loop="prompts",
        first_frame=keep([tmp_path / "picture.png"], field="first_frame"),
        latent_scale=12,
    )
    page = visit()
    for title in ("Model", "Picture", "Long clips", "Files"):
        open_section(page, title)
    page.locator("#restore input[type=file]").set_input_files(carrier(tmp_path, kind, request.to_json()))
    expect(page.locator("#restore_told")).to_contain_text("Restored from", timeout=WAIT_MS)
    expect(page.locator("#prompt textarea")).to_have_value(request.prompt)
    expect(page.locator("#seed input")).to_have_value(str(request.seed))
    expect(page.locator("#num_frames input")).to_have_value("12")
    expect(page.locator("#num_inference_steps input[type=number]")).to_have_value("7")
    expect(page.locator("#scheduler input")).to_have_value("Euler ancestral")
    expect(page.locator("#motion_module input")).to_have_value("Demo motion, 4 steps")
    expect(page.locator("#webp_lossless input")).to_be_checked()
    expect(page.locator("#context_length input[type=number]")).to_have_value("9")
    expect(page.locator("#closed_loop input")).to_have_value("Windows and prompts")
    expect(page.locator("#tab_img2vid-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#kept img")).to_be_visible()
    expect(page.locator("#steering")).to_be_visible()
    page.wait_for_timeout(SETTLE_MS)
    page.locator("#generate").click()
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    assert engine.requests[-1] == request


def test_the_settings_of_the_clip_on_show_can_be_used_again(visit, engine: FakeEngine):
    page = visit()
    page.locator("#num_frames input").fill("9")
    start(page, "a star")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    page.locator("#prompt textarea").fill("a heart")
    page.locator("#num_frames input").fill("5")
    page.locator("#reuse_settings").click()
    expect(page.locator("#restore_told")).to_contain_text("Restored from the clip on show.", timeout=WAIT_MS)
    expect(page.locator("#prompt textarea")).to_have_value("a star")
    expect(page.locator("#num_frames input")).to_have_value("9")
    expect(page.locator("#seed input")).to_have_value(str(engine.requests[-1].seed))


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


def test_about_shows_what_the_studio_runs_on_and_makes_a_test_clip(visit):
    page = visit()
    expect(page.locator("#self_test")).not_to_be_visible()
    open_section(page, "About this studio")
    expect(page.locator("#about_facts tr").first).to_contain_text("AnimateDiff Studio", timeout=WAIT_MS)
    page.locator("#self_test").click()
    expect(page.locator("#self_test_told")).to_contain_text("everything works", timeout=WAIT_MS)
    expect(page.locator("#self_test_video video")).to_be_visible(timeout=WAIT_MS)
