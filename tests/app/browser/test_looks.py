"""The page on a phone, for those who can't see it or have no mouse, and what it says of itself."""

import json

import axe_playwright_python.sync_playwright as axe
import pytest

from studio.field_groups import GROUPS
from tests.app.browser.conftest import PICTURES
from tests.app.browser.visiting import (
    MARKS,
    SETTLE_MS,
    VIDEO_PLAYS,
    WAIT_MS,
    WIDER_THAN_SCREEN,
    expect,
    open_section,
    start,
)

pytestmark = MARKS
GRAVE = ("serious", "critical")
GRADIOS_OWN = ("aria-prohibited-attr", "['.empty']")  # the name of its empty box for a video


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
def test_there_is_no_serious_barrier(visit, scheme):
    page = visit(scheme=scheme)
    found = barriers(page)
    start(page, "x")
    page.wait_for_function(VIDEO_PLAYS, timeout=WAIT_MS)
    page.locator("#preset_draft").click()
    expect(page.locator("#preset_told")).to_contain_text("Sets Steps 8", timeout=WAIT_MS)
    for title in (*GROUPS, "Image prompts", "Recipe", "Grid"):
        open_section(page, title)
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(SETTLE_MS)
        found += barriers(page)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"axe-{scheme}.json").write_text(json.dumps(found, indent=1))
    serious = {(rule["id"], str(node["target"])) for rule in found for node in rule["nodes"] if rule["impact"] in GRAVE}
    assert serious <= {GRADIOS_OWN}


def barriers(page) -> list[dict]:
    """What axe finds against WCAG 2, levels A and AA, in what is to be seen now."""
    return axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]


def test_generate_follows_the_prompt_by_keyboard(visit):
    page = visit()
    page.locator("#prompt textarea").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "generate"


def test_about_shows_what_the_studio_runs_on_and_makes_a_test_clip(visit):
    page = visit()
    expect(page.locator("#self_test")).not_to_be_visible()
    open_section(page, "About this studio")
    expect(page.locator("#about_facts tr").first).to_contain_text("AnimateDiff Studio", timeout=WAIT_MS)
    page.locator("#self_test").click()
    expect(page.locator("#self_test_told")).to_contain_text("everything works", timeout=WAIT_MS)
    expect(page.locator("#self_test_video video")).to_be_visible(timeout=WAIT_MS)
