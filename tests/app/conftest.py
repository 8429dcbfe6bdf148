"""The real page around a stand-in engine, served on a free port."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
import pytest
from gradio_client import Client

from tests.app.fake_engine import FakeEngine
from ui.page import build_page
from ui.theme import page_looks


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(page: gr.Blocks, **launch_options) -> Iterator[str]:
    """Serve a page as the app does, and close it afterwards."""
    page.queue(max_size=24, default_concurrency_limit=2, api_open=False)
    options = {"server_port": free_port(), "prevent_thread_lock": True, "quiet": True} | page_looks() | launch_options
    _, url, _ = page.launch(**options)
    try:
        yield url
    finally:
        page.close(verbose=False)


@pytest.fixture(scope="session")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="session")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(build_page(engine.make_clip)) as address:
        yield address


@pytest.fixture
def client(url: str, tmp_path) -> Iterator[Client]:
    found = Client(url, verbose=False, download_files=tmp_path / "downloads")
    yield found
    found.close()
