"""The real page around a stand-in engine, served on a free port."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
import pytest
from gradio_client import Client

from api.web.health import health_router
from api.web.routes import serve
from api.web.visitor_limit import open_line
from pipelines.plan.settings import settings
from studio.device_queue import DeviceQueue
from studio.jobs import Jobs
from tests.app.fake_engine import FakeEngine
from ui.page import build_page
from ui.theme import page_looks


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(page: gr.Blocks, routers=(), *, jobs=None, device=None, **launch_options) -> Iterator[str]:
    """Serve a page as the app does, and close it afterwards."""
    door = open_line(page, settings(), jobs or Jobs())
    health = health_router(page, device or DeviceQueue())
    options = {"server_port": free_port(), "prevent_thread_lock": True, "quiet": True} | page_looks() | launch_options
    _, url, _ = serve(page, routers, open_to_all=health, door=door, **options)
    try:
        yield url
    finally:
        page.close(verbose=False)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="session")
def url(engine: FakeEngine) -> Iterator[str]:
    device, jobs = DeviceQueue(), Jobs()
    with served(build_page(device.exclusive(engine.make_clip), jobs=jobs), jobs=jobs, device=device) as address:
        yield address


@pytest.fixture
def client(url: str, tmp_path) -> Iterator[Client]:
    found = Client(url, verbose=False, download_files=tmp_path / "downloads")
    yield found
    found.close()
