"""Take pictures of a running page: wide, phone and dark, while a clip is made and when it is done.

python -m scripts.screenshots http://127.0.0.1:7860 FOLDER
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from scripts.chromium import FLAGS, executable

SIZES = {"wide": (1280, 900), "phone": (390, 844)}
VIDEO_READY = "() => { const v = document.querySelector('#video video'); return v && v.readyState >= 2; }"
WAIT_MS = 120_000


def shoot(page: Page, folder: Path, name: str, prompt: str) -> None:
    """Three pictures of one visit: at rest, with a preview, with the clip."""
    page.get_by_role("button", name="Generate", exact=True).wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(500)
    page.screenshot(path=folder / f"{name}-1-start.png", full_page=True)
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#generate").click()
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    page.screenshot(path=folder / f"{name}-2-running.png", full_page=True)
    page.wait_for_function(VIDEO_READY, timeout=WAIT_MS)
    page.wait_for_timeout(500)
    page.screenshot(path=folder / f"{name}-3-done.png", full_page=True)


def main(url: str, folder: Path) -> None:
    """Visit the page in every size and both colour schemes."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto(f"{url.rstrip('/')}/?__theme={scheme}", wait_until="domcontentloaded")
                shoot(page, folder, f"{size}-{scheme}", "a red circle moving right on a blue background")
                page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
