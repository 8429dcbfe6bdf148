"""Two pages of one process: each has its own settings, visitors' files and jobs, and they share the device alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pydantic import SecretStr

from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings, settings
from studio.device_queue import DeviceQueue
from studio.gallery import new_visitor
from studio.studio import Studio, open_studio
from tests.app.conftest import free_port
from tests.app.fake_engine import FakeEngine
from tests.app.test_page import wait_until
from ui.page import build_page

LOGIN = ("ann", "pa55word")


@dataclass
class Page:
    studio: Studio
    engine: FakeEngine
    url: str
    client: Client
    login: tuple[str, str] | None = None

    def press(self, name: str, *values: object) -> None:
        """Press a button as a browser does."""
        with httpx.Client() as browser:
            if self.login:
                browser.post(f"{self.url}login", data=dict(zip(("username", "password"), self.login, strict=True)))
            events = browser.get(f"{self.url}config").json()["dependencies"]
            number = next(event["id"] for event in events if event["api_name"] == name)
            sent = {"fn_index": number, "data": values, "session_hash": "pressed"}
            browser.post(f"{self.url}gradio_api/queue/join", json=sent).raise_for_status()


@contextmanager
def opened(config: Settings, device: DeviceQueue, downloads: Path) -> Iterator[Page]:
    """Open a page as the app does."""
    import app

    engine = FakeEngine(step_s=0.01)
    studio = open_studio(config, device, make_clip=engine.make_clip)
    page = build_page(studio)
    _, url, _ = app.serve_page(page, studio, prevent_thread_lock=True, quiet=True)
    client = Client(url, auth=config.login, verbose=False, download_files=downloads)
    try:
        yield Page(studio, engine, url, client, config.login)
    finally:
        client.close()
        page.close(verbose=False)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Iterator[tuple[Page, Page]]:
    folder, device = tmp_path_factory.mktemp("two"), DeviceQueue()
    (folder / "models" / "loras").mkdir(parents=True)
    (folder / "models" / "loras" / "mine.safetensors").touch()
    small = Settings(port=free_port(), max_frames=32, max_clips=3, models_dir=folder / "models", hub_models="any")
    large = Settings(port=free_port(), max_frames=64, max_clips=5, auth=SecretStr(":".join(LOGIN)), queue_size=1)
    with opened(small, device, folder / "a") as first, opened(large, device, folder / "b") as second:
        yield first, second


def test_each_page_has_its_own_limits(pages):
    for page, (frames, clips) in zip(pages, ((32, 3), (64, 5)), strict=True):
        fields = {
            name: field for group in page.client.predict(api_name="/fields").values() for name, field in group.items()
        }
        assert fields["num_frames"]["allowed"] == f"1 to {frames}"
        page.client.predict(prompt="x", num_frames=frames, num_inference_steps=1, api_name="/txt2vid")
        with pytest.raises(AppError, match=rf"^num_frames must be at most {frames} on this server"):
            page.client.predict(prompt="x", num_frames=frames + 1, api_name="/txt2vid")
        with pytest.raises(AppError, match=rf"batch_count must be a whole number from 1 to {clips}, got 9"):
            page.client.predict(prompt="x", batch_count=9, api_name="/txt2vid")
        config = httpx.get(f"{page.url}config", auth=None)
        assert config.status_code == (401 if page.login else 200)


def test_each_page_has_its_own_models_and_says_of_its_own_who_may_name_others(pages):
    first, second = pages
    assert "mine" in first.client.predict(api_name="/models")["loras"]
    assert "mine" not in second.client.predict(api_name="/models")["loras"]
    wanted = {"prompt": "x", "num_inference_steps": 1, "motion_module": "someone/their-repo", "base_model": "demo"}
    _, recipe, _ = first.client.predict(**wanted, api_name="/txt2vid")
    assert recipe["motion_module"] == "someone/their-repo"
    with pytest.raises(AppError, match="motion_module must be one of the catalog"):
        second.client.predict(**wanted, api_name="/txt2vid")


def test_other_programs_api_follows_the_settings_of_its_page(pages):
    first, second = pages
    body = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
    body |= {"alwayson_scripts": {"AnimateDiff": {"args": [{"enable": True, "video_length": 48, "format": ["GIF"]}]}}}
    refused = httpx.post(f"{first.url}sdapi/v1/txt2img", json=body, timeout=60)
    assert (refused.status_code, "at most 32" in refused.text) == (422, True)
    assert httpx.post(f"{second.url}sdapi/v1/txt2img", json=body, timeout=60).status_code == 401
    assert httpx.post(f"{second.url}sdapi/v1/txt2img", json=body, timeout=60, auth=LOGIN).status_code == 200
    assert second.engine.requests[-1].num_frames == 48


def test_what_was_uploaded_to_one_page_is_not_there_for_the_other(pages, tmp_path):
    first, second = pages
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    values = {"prompt": "x", "num_inference_steps": 1, "base_model": "demo"}
    picture = handle_file(tmp_path / "red.png")
    _, recipe, _ = first.client.predict(first_frame=picture, **values, api_name="/img2vid")
    sha256 = recipe["first_frame"]
    stored = [[path.name for path in (page.studio.settings.inputs_dir / "inputs").glob(f"{sha256}*")] for page in pages]
    assert stored[0]
    assert not stored[1]
    tool = {"prompt": "x", "settings": {"num_inference_steps": 1, "base_model": "demo", "source_video": sha256}}
    assert first.client.predict(**tool, api_name="/make_clip")
    with pytest.raises(AppError, match="source_video must be a file that is here"):
        second.client.predict(**tool, api_name="/make_clip")


def test_each_page_has_its_own_jobs_and_gallery_and_one_device(pages):
    first, second = pages
    visitor = new_visitor()
    recipes = {prompt: GenerationRequest.build(prompt=prompt, num_inference_steps=20, seed=1) for prompt in "ab"}
    counts, running = [], threading.Event()
    for page, request in zip(pages, recipes.values(), strict=True):
        page.press("in_full", request.to_json(), visitor)
        assert wait_until(lambda page=page: page.studio.jobs.count() == 1)
    assert first.studio.device is second.studio.device
    while first.studio.jobs.count() or second.studio.jobs.count():
        counts.append(first.engine.running + second.engine.running)
        running.wait(0.005)
    assert max(counts) == 1
    for page, prompt in zip(pages, recipes, strict=True):
        assert wait_until(lambda page=page: page.studio.gallery.entries(visitor))
        (entry,) = page.studio.gallery.entries(visitor)
        assert GenerationRequest.from_json(entry.recipe).prompt == prompt


def test_a_page_leaves_the_settings_of_the_process_alone(pages):
    pages[0].client.predict(prompt="x", num_inference_steps=1, api_name="/txt2vid")
    assert settings() not in [page.studio.settings for page in pages]
    assert settings().max_frames is None
