"""The page in a real browser, around the stand-in engine: what a visitor sees and does."""

import re
from collections.abc import Iterator

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

from scripts.chromium import FLAGS, executable  # noqa: E402
from tests.app.fake_engine import REFUSAL, FakeEngine  # noqa: E402 - after the check for the browser
from ui.txt2vid import EXAMPLES  # noqa: E402

CHROMIUM = executable()
VIDEO_PLAYS = """() => {
  const video = document.querySelector('#video video');
  return video && video.readyState >= 2 && video.videoWidth > 0 && video.currentTime > 0;
}"""
WIDER_THAN_SCREEN = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
GRADIO_BASELINE = {"aria-prohibited-attr", "color-contrast"}  # its media box and footer; ours are checked below
WAIT_MS = 20_000
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
