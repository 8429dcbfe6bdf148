"""Browsers of visitors. What each saw last is kept as a picture in build/screenshots, beside what axe found."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.chromium import FLAGS, OFFLINE

PICTURES = Path(__file__).parents[3] / "build" / "screenshots"


@pytest.fixture(scope="package")
def chromium() -> Iterator:
    from tests.app.browser.visiting import CHROMIUM, playwright  # tests have been skipped where there is none

    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, OFFLINE])
        yield found
        found.close()


@pytest.fixture
def visitor(chromium, request) -> Iterator:
    """Makes browsers that have nothing in common. They reach no other machine, and no script of theirs may fail."""
    contexts, errors = [], []

    def come(**asked):
        context = chromium.new_context(**asked)
        contexts.append(context)
        context.on("weberror", lambda found: errors.append(str(found.error)))
        return context

    yield come
    keep_pictures([page for context in contexts for page in context.pages], request.node.name)
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def visit(visitor, url):
    """Opens the page in a window of its own."""
    from tests.app.browser.visiting import open_tab

    def go(width: int = 1280, height: int = 900, scheme: str = "light", locale: str = "en-US"):
        context = visitor(viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale)
        return open_tab(context, f"{url}?__theme={scheme}")

    return go


def keep_pictures(pages, test: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", test).strip("-")
    for number, page in enumerate(pages, start=1):
        page.screenshot(path=PICTURES / f"{name}-{number}.png")
