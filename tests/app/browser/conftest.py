"""Browsers of visitors. What each saw last is kept as a picture in build/screenshots, beside what axe found."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.chromium import FLAGS

PICTURES = Path(__file__).parents[3] / "build" / "screenshots"


@pytest.fixture(scope="package")
def chromium() -> Iterator:
    from tests.app.browser.visiting import CHROMIUM, playwright  # tests have been skipped where there is none

    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[dict]:
    """Browsers that the visitors of a file's tests use one after another: what one has fetched the next one has."""
    contexts: dict = {}
    yield contexts
    for context in contexts.values():
        context.close()


@pytest.fixture
def visitor(chromium, shared, request) -> Iterator:
    """Makes browsers that have nothing in common but files of the page; no script of theirs may fail."""
    used, own, errors = {}, [], []

    def failed(found) -> None:
        errors.append(str(found.error))

    def come(**asked):
        """The shared browser of such a visitor; a second one in a test gets one of their own."""
        kind = repr(sorted(asked.items()))
        context = shared.get(kind) if kind not in used else None
        if context is None:
            context = chromium.new_context(**asked)
        if kind in used:
            own.append(context)
        else:
            used[kind] = shared[kind] = context
        context.on("weberror", failed)
        return context

    yield come
    keep_pictures([page for context in (*used.values(), *own) for page in context.pages], request.node.name)
    for context in used.values():
        context.remove_listener("weberror", failed)
        forget(context)
    for context in own:
        context.close()
    assert errors == []


def forget(context) -> None:
    """Close a visitor's tabs and remove what the page has kept in their browser."""
    for page in context.pages:
        if page.url.startswith("http"):
            page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        page.close()
    context.clear_cookies()


@pytest.fixture
def visit(visitor, url):
    """Opens the page in a window of its own."""
    from tests.app.browser.visiting import open_tab

    def go(width: int = 1280, height: int = 900, scheme: str = "light", locale: str = "en-US"):
        context = visitor(color_scheme=scheme, locale=locale)
        return open_tab(context, f"{url}?__theme={scheme}", width=width, height=height)

    return go


def keep_pictures(pages, test: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", test).strip("-")
    for number, page in enumerate(pages, start=1):
        page.screenshot(path=PICTURES / f"{name}-{number}.png")
