"""Take pictures of a running page: wide and phone, light and dark, English and German; while a clip is made, when it is
done, and when a clip was refused.

python -m scripts.screenshots http://127.0.0.1:7860 FOLDER [--readme docs/pictures/page.jpg]
"""

import argparse
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from scripts.chromium import FLAGS, executable

SIZES = {"wide": (1280, 900), "phone": (390, 844)}
LOCALES = {"en": "en-US", "de": "de-DE"}
PROMPT = "a red circle moving right on a blue background"
VIDEO_READY = "() => { const v = document.querySelector('#video video'); return v && v.readyState >= 2; }"
WAIT_MS = 120_000
SETTLE_MS = 500  # controls may be set once more after drawing, thumbnails come after the clip


def shoot(page: Page, folder: Path, name: str) -> None:
    """Four pictures of one visit: at rest, with a preview, with the clip, with a refusal."""
    page.locator("#generate").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / f"{name}-1-start.png", full_page=True)
    page.locator("#prompt textarea").fill(PROMPT)
    page.locator("#generate").click()
    page.locator("#preview img").wait_for(timeout=WAIT_MS)
    page.screenshot(path=folder / f"{name}-2-running.png", full_page=True)
    page.wait_for_function(VIDEO_READY, timeout=WAIT_MS)
    page.wait_for_timeout(3 * SETTLE_MS)
    page.screenshot(path=folder / f"{name}-3-done.png", full_page=True)
    page.locator("#num_frames input").fill("0")
    page.locator("#generate").click()
    page.locator("#status .wrong").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / f"{name}-4-refused.png", full_page=True)


def picture_for_readme(page: Page, path: Path) -> None:
    """The page with a finished clip, as a JPEG of what is seen without scrolling."""
    page.locator("#prompt textarea").fill(PROMPT)
    page.wait_for_timeout(SETTLE_MS)
    page.locator("#generate").click()
    page.wait_for_function(VIDEO_READY, timeout=WAIT_MS)
    page.wait_for_timeout(3 * SETTLE_MS)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=85)


def main() -> None:
    """Visit the page in every size, colour scheme and language."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", type=Path, help="Take only the README's picture, into this file.")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                for language, locale in LOCALES.items():
                    viewport = {"width": width, "height": height}
                    page = browser.new_page(viewport=viewport, color_scheme=scheme, locale=locale)
                    page.goto(f"{asked.url.rstrip('/')}/?__theme={scheme}", wait_until="domcontentloaded")
                    if asked.readme:
                        page.locator("#generate").wait_for(timeout=WAIT_MS)
                        picture_for_readme(page, asked.readme)
                        return
                    shoot(page, asked.folder, f"{size}-{scheme}-{language}")
                    page.close()
        browser.close()


if __name__ == "__main__":
    main()
