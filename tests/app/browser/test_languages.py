"""The page in a browser of each language: German, English, and one that it has no words for."""

import re

import pytest

from tests.app.browser.visiting import MARKS, SETTLE_MS, WAIT_MS, WIDER_THAN_SCREEN, expect, open_section, start
from ui.words.tables import translations

pytestmark = MARKS
MARKER = "__i18n__"
CUT = """() => [...document.querySelectorAll('button:is(.sm, .md, .lg), [role=tab]')]
  .filter((one) => one.offsetParent && one.innerText.trim() && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.innerText)"""


def open_all_sections(page) -> None:
    closed = page.locator("button.label-wrap:not(.open):visible")
    while closed.count():
        closed.first.click()
        page.wait_for_timeout(SETTLE_MS)


def whole_text(page) -> str:
    """What can be read on the page once nothing is added any more."""
    read, before = page.locator("body").inner_text(), None
    while read != before:
        page.wait_for_timeout(SETTLE_MS)
        read, before = page.locator("body").inner_text(), read
    return read


def test_a_german_visitor_reads_german_while_a_clip_is_made(visit):
    page = visit(locale="de-DE")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("tab")).to_have_text(["Text zu Video", "Bild zu Video", "Video zu Video"])
    expect(page.locator("#status")).to_contain_text("Prompt schreiben und auf Erzeugen drücken")
    expect(page.locator("#estimate")).to_contain_text(re.compile(r"Etwa \d+ s, \d+,\d GB"), timeout=WAIT_MS)
    expect(page.locator("#model_line")).to_contain_text("Zeichnet eine flächige Form")
    expect(page.get_by_label("Negativer Prompt")).to_be_visible()
    open_section(page, "Lange Clips")
    expect(page.locator("#context_schedule input")).to_have_value("Wandernd (Uniform)")
    expect(page.locator("#windows")).to_contain_text("Der Clip passt in ein Fenster", timeout=WAIT_MS)
    page.locator("#closed_loop input").click()
    page.get_by_role("option", name="Fenster und Prompts").click()
    page.locator("#preset_loop").click()
    expect(page.locator("#preset_told")).to_contain_text(
        "Setzt Bilder 32, Geschlossene Schleife Ganz.", timeout=WAIT_MS
    )
    expect(page.locator("#num_frames input")).to_have_value("32")
    page.wait_for_timeout(SETTLE_MS)
    page.locator("#num_frames input").fill("-1")
    start(page, "x")
    refusal = "„Bilder“ muss mindestens 1 sein, ist aber -1. „Bilder“ ändern."
    expect(page.locator("#status [role=alert]")).to_have_text(refusal, timeout=WAIT_MS)
    page.locator("#num_frames input").fill("32")
    start(page, "slow")
    step = re.compile(r"Clip entsteht\s*Schritt \d+ von 400 · noch etwa (\d+ min )?\d+ s")
    expect(page.locator("#status")).to_contain_text(step, timeout=WAIT_MS)
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text(
        re.compile(r"Abgebrochen\. Nichts bleibt\. .* Seed \d+ "), timeout=WAIT_MS
    )
    start(page, "x")
    expect(page.locator("#status")).to_contain_text(re.compile(r"Fertig: 32 Bilder in \d+ s\."), timeout=WAIT_MS)


def test_german_fits_a_phone_and_nothing_is_left_untranslated(visit):
    page = visit(width=390, height=844, locale="de-DE")
    read = ""
    for tab in ("Text zu Video", "Bild zu Video", "Video zu Video"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(SETTLE_MS)
        open_all_sections(page)
        assert page.evaluate(WIDER_THAN_SCREEN) <= 0
        assert page.evaluate(CUT) == []
        read += whole_text(page)
    values = page.eval_on_selector_all("input, textarea", "(all) => all.map((one) => one.value + one.placeholder)")
    assert "Zuschneiden" in values
    assert not [text for text in (read, *values) if MARKER in text]
    labels = {key: text for key, text in translations()["de"].items() if re.fullmatch(r"field\.\w+\.label", key)}
    missing = {key for key, text in labels.items() if text not in read}
    assert not missing


@pytest.mark.parametrize("locale", ["en-US", "sv-SE"])
def test_other_visitors_read_english(visit, locale):
    page = visit(locale=locale)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("tab")).to_have_text(["Text to video", "Image to video", "Video to video"])
    expect(page.locator("#estimate")).to_contain_text(re.compile(r"About \d+ s, [\d.]+ GB"))
    expect(page.get_by_label("Negative prompt")).to_be_visible()
    start(page, "x")
    expect(page.locator("#status")).to_contain_text("Done: 16 frames", timeout=WAIT_MS)
    assert MARKER not in page.locator("body").inner_text()
