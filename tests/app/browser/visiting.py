"""What visitors do on the page, and how long it may take."""

import re
from collections.abc import Callable

import pytest

from scripts.chromium import executable

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")

CHROMIUM = executable()
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]
VIDEO_PLAYS = """() => {
  const video = document.querySelector('#video video');
  return video && video.readyState >= 2 && video.videoWidth > 0 && video.currentTime > 0;
}"""
WIDER_THAN_SCREEN = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
WAIT_MS = 40_000  # a press takes up to 10 s on two cores without AVX-512 beside a busy page
SETTLE_MS = 300  # Gradio may set values once more just after drawing: 2 of 60 that were typed within it were lost
expect = playwright.expect
expect.set_options(timeout=WAIT_MS)


def open_tab(context, address: str, *, size: dict[str, int] | None = None):
    """The page in a new tab, ready to be used; `size` is the window's, in pixels."""
    page = context.new_page()
    if size:
        page.set_viewport_size(size)
    page.set_default_timeout(WAIT_MS)
    page.goto(address, wait_until="domcontentloaded")
    settle(page)
    return page


def settle(page) -> None:
    page.locator("#generate").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(SETTLE_MS)


def wait_for(page, condition: Callable[[], bool]) -> None:
    """Wait for what the page can't be asked for. The page goes on meanwhile, as it would not in a `time.sleep`."""
    for _ in range(WAIT_MS // SETTLE_MS):
        if condition():
            return
        page.wait_for_timeout(SETTLE_MS)
    raise TimeoutError(f"Still not so after {WAIT_MS / 1000:g} s.")


def start(page, prompt: str) -> None:
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#generate").click()


def open_section(page, title: str) -> None:
    """Open an accordion; its button's name ends with an arrow sign."""
    page.get_by_role("button", name=re.compile(rf"^{title}\b")).click()
    page.wait_for_timeout(SETTLE_MS)
