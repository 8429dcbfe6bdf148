"""What two visitors see who press Generate at the same moment: what the page tells each of them, and when.

python -m scripts.two_visitors URL
"""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from scripts.chromium import FLAGS, executable

_PROMPTS = ("a red circle moving right on a blue background", "a pink heart growing on a green background")
_LOOK_EVERY_MS = 50
_TOO_LONG_S = 600
_SHOWN = """() => [document.querySelector('#status .told')?.innerText ?? '',
  document.querySelector('#preview img')?.src ?? '', document.querySelector('#video video')?.src ?? '',
  document.querySelector('#job input, #job textarea')?.value ?? '']"""


class Seen(NamedTuple):
    """What one visitor sees from a moment on.

    Args:
        seconds: Since the first press.
        visitor: 0 or more, as the prompts are numbered.
        status: The words beside the bar.
        preview: The preview's address, a `data:` one; empty where there is none.
        video: The clip's address; empty where there is none.
        job: The id of the visitor's job; empty before there is one.
    """

    seconds: float
    visitor: int
    status: str
    preview: str
    video: str
    job: str


def watch(browser: Any, url: str, prompts: Sequence[str] = _PROMPTS) -> Iterator[Seen]:
    """Have a visitor for each prompt, with nothing in common, press Generate, and follow them until all have a clip.

    Args:
        browser: A browser of Playwright's synchronous API.
        url: Of the page.

    Yields:
        What a visitor sees, whenever that changes.

    Raises:
        TimeoutError: It takes longer than ten minutes.
    """
    contexts = [browser.new_context() for _ in prompts]
    pages = [context.new_page() for context in contexts]
    try:
        for page, prompt in zip(pages, prompts, strict=True):
            page.goto(url, wait_until="domcontentloaded")
            page.get_by_role("button", name="Generate", exact=True).wait_for()
            page.wait_for_timeout(1000)  # else values that are set after drawing take the prompt away
            page.locator("#prompt textarea").fill(prompt)
        start = time.monotonic()
        for page in pages:
            page.locator("#generate").click()
        yield from _changes(pages, start)
    finally:
        for context in contexts:
            context.close()


def _changes(pages: Sequence[Any], start: float) -> Iterator[Seen]:
    last: dict[int, Seen] = {}
    while not all(number in last and last[number].status.startswith("Done") for number in range(len(pages))):
        if time.monotonic() - start > _TOO_LONG_S:
            raise TimeoutError("Not every visitor has a clip yet.")
        for number, page in enumerate(pages):
            seen = Seen(time.monotonic() - start, number, *page.evaluate(_SHOWN))
            if number not in last or seen[2:] != last[number][2:]:
                last[number] = seen
                yield seen
            page.wait_for_timeout(_LOOK_EVERY_MS)


def main(url: str) -> None:
    """Print what each of them is told, once for each kind of line, and whose the clips are."""
    from playwright.sync_api import sync_playwright

    told, videos = dict.fromkeys(range(len(_PROMPTS)), ""), {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        for seen in watch(browser, url):
            line = " ".join(seen.status.split())
            kind = re.sub(r"\d+", "#", line.partition("about")[0])
            if kind != told[seen.visitor]:
                print(f"{seen.seconds:6.1f} s  visitor {seen.visitor + 1}: {line}")
            told[seen.visitor], videos[seen.visitor] = kind, seen.video
        browser.close()
    for number, video in videos.items():
        print(f"visitor {number + 1} has {video.rsplit('/', 1)[-1]}")


if __name__ == "__main__":
    main(sys.argv[1])
