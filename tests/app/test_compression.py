"""Answers are compressed where that makes them smaller, and clips are sent as they are."""

import httpx
import pytest

from tests.app.conftest import served, studio_of
from tests.app.fake_engine import FakeEngine


@pytest.fixture(scope="module")
def url():
    with served(studio_of(FakeEngine().make_clip)) as url:
        yield url


@pytest.mark.parametrize("path", ["", "config", "gradio_api/info", "openapi.json"])
def test_the_page_and_what_it_reads_are_compressed(url: str, path: str):
    plain, packed = (httpx.get(url + path, headers={"Accept-Encoding": encoding}) for encoding in ("identity", "gzip"))
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4


def test_events_are_streamed_as_they_come(url: str):
    """A compressor would hold them back until there is enough of them."""
    headers = {"Accept-Encoding": "gzip"}
    with httpx.stream("GET", f"{url}gradio_api/queue/data?session_hash=none", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
