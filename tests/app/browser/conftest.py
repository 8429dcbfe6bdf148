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
def errors() -> Iterator[list[str]]:
    """Errors of the pages' scripts; there may be none."""
    messages: list[str] = []
    yield messages
    assert messages == []


@pytest.fixture
def visitor(chromium, request, errors) -> Iterator:
    """Makes browsers that have nothing in common. They reach no other machine, and no script of theirs may fail."""
    contexts = []

    def come(**options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.on("weberror", lambda event: errors.append(str(event.error)))
        return context

    yield come
    keep_pictures([page for context in contexts for page in context.pages], request.node.name)
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def cached_browsers() -> dict:
    """Browsers by their settings, which keep the page's scripts from test to test and nothing else."""
    return {}


@pytest.fixture
def first_visitor(chromium, cached_browsers, request, errors) -> Iterator:
    """Gives a browser that is new but for its cache: to fetch 130 files anew is half of a page's opening."""
    visited = []

    def come(**options):
        key = tuple(sorted(options.items()))
        if key not in cached_browsers:
            cached_browsers[key] = chromium.new_context(**options)
        visited.append(cached_browsers[key])
        cached_browsers[key].on("weberror", note)
        return cached_browsers[key]

    def note(event):
        errors.append(str(event.error))

    yield come
    for context in visited:
        keep_pictures(context.pages, request.node.name)
        forget(context)
        context.remove_listener("weberror", note)


@pytest.fixture
def visit(visitor, first_visitor, url):
    """Opens the page in a window of its own; each window is another visitor's."""
    from tests.app.browser.visiting import open_tab

    come = iter([first_visitor])

    def go(width: int = 1280, height: int = 900, scheme: str = "light", locale: str = "en-US"):
        context = next(come, visitor)(color_scheme=scheme, locale=locale)
        return open_tab(context, f"{url}?__theme={scheme}", size={"width": width, "height": height})

    return go


def forget(context) -> None:
    """Close all pages of a browser, and clear what they stored, without the cache."""
    origins = {"/".join(page.url.split("/")[:3]) for page in context.pages if page.url.startswith("http")}
    for page in context.pages:
        page.close()
    page = context.new_page()
    session = context.new_cdp_session(page)
    for origin in origins:
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    page.close()


def keep_pictures(pages, test: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", test).strip("-")
    for number, page in enumerate(pages, start=1):
        page.screenshot(path=PICTURES / f"{name}-{number}.png")
