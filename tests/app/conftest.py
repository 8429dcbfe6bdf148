"""The real page around a stand-in engine, served on a free port."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
import pytest
from gradio_client import Client

from api.web.health import health_router
from api.web.routes import serve
from api.web.visitor_limit import open_line
from pipelines.plan.settings import settings
from studio.device_queue import DeviceQueue
from studio.engine import MakeClip
from studio.stored_inputs import inputs_folder
from studio.studio import Studio, open_studio
from tests.app.fake_engine import FakeEngine
from ui.page import build_page
from ui.theme import page_looks


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def studio_of(make_clip: MakeClip, *, jobs=None, gallery=None, **config) -> Studio:
    """A studio around an engine, with the inputs that a test keeps.

    Args:
        jobs, gallery: In the place of its own.
        config: Fields of the operator's settings.
    """
    values = {"inputs_dir": inputs_folder()} | config
    studio = open_studio(settings().model_copy(update=values), DeviceQueue(), make_clip=make_clip)
    return replace(studio, jobs=jobs or studio.jobs, gallery=gallery or studio.gallery)


def page_of(make_clip: MakeClip, **options) -> gr.Blocks:
    """The page of a studio; options as `studio_of` takes them."""
    return build_page(studio_of(make_clip, **options))


@contextmanager
def served(studio: Studio, routers=(), **launch_options) -> Iterator[str]:
    """Serve a studio's page as the app does, and close it afterwards."""
    page = build_page(studio)
    door = open_line(page, studio)
    health = health_router(page, studio.device)
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
    with served(studio_of(engine.make_clip)) as address:
        yield address


@pytest.fixture
def client(url: str, tmp_path) -> Iterator[Client]:
    found = Client(url, verbose=False, download_files=tmp_path / "downloads")
    yield found
    found.close()
