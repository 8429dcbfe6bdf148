"""What the operator has set, seen by visitors: limits, the line, the login, and what the studio tells of itself."""

import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import gradio as gr
import httpx
import pytest
from fastapi import APIRouter
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipelines.plan.request import GenerationRequest
from pipelines.plan.version import VERSION
from studio.jobs import Jobs
from studio.self_test import studio_facts
from tests.app.conftest import page_of, served, studio_of
from tests.app.fake_engine import FakeEngine
from tests.app.shown import shown
from tests.app.test_page import wait_until
from tests.app.test_wiring import updates
from ui.about import facts_html
from ui.parts.fields import build_control

MOST = 2
LOGIN = ("ann", "pa55:word")


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine(step_s=0.01)


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    return Jobs(most_of_one=MOST)


@pytest.fixture(scope="module")
def url(engine, jobs):
    """A page whose operator has set limits."""
    studio = studio_of(engine.make_clip, jobs=jobs, max_frames=32, max_clips=3, max_per_visitor=MOST)
    with served(studio) as address:
        yield address


def health(url: str) -> dict:
    answer = httpx.get(f"{url}health", timeout=10)
    answer.raise_for_status()
    return answer.json()


def start(url: str, prompt: str, visitor: str) -> httpx.Response:
    sent = {"prompt": prompt, "num_inference_steps": 2}
    return httpx.post(f"{url}gradio_api/call/v2/txt2vid", json=sent, headers={"X-Forwarded-For": visitor}, timeout=30)


def press_in_full(url: str, prompt: str, visitor: str) -> None:
    """Press a button as a browser does, without staying to see what comes of it."""
    (number,) = (one["id"] for one in httpx.get(f"{url}config").json()["dependencies"] if one["api_name"] == "in_full")
    recipe = GenerationRequest.build(prompt=prompt, num_inference_steps=2, seed=1).to_json()
    sent = {"fn_index": number, "data": [recipe, ""], "session_hash": secrets.token_hex(8)}
    httpx.post(f"{url}gradio_api/queue/join", json=sent, headers={"X-Forwarded-For": visitor}).raise_for_status()


@contextmanager
def ended_soon(engine: FakeEngine) -> Iterator[None]:
    """Slow clips need not be waited for to their ends."""
    engine.enough.set()
    yield
    engine.enough.clear()


def test_limits_reach_the_caller_in_words_and_start_nothing(client, engine):
    before = len(engine.requests)
    with pytest.raises(AppError, match=r"^num_frames must be at most 32 on this server, got 33\. Lower 'Frames'\.$"):
        client.predict(prompt="x", num_frames=33, api_name="/txt2vid")
    with pytest.raises(AppError, match=r"batch_count must be a whole number from 1 to 3, got 4\."):
        client.predict(prompt="x", batch_count=4, api_name="/txt2vid")
    assert len(engine.requests) == before


def test_controls_and_their_words_show_the_limits(configure):
    configure(max_frames=32, max_side=256, max_clips=3)
    page = page_of(FakeEngine().make_clip)
    by_id = {block.elem_id: block for block in page.blocks.values()}
    assert by_id["width"].maximum == build_control("height").maximum == 256
    assert by_id["num_frames"].maximum == 32
    assert shown(by_id["num_frames"].info).endswith("1 to 32.")
    assert shown(by_id["batch_count"].info).endswith("1 to 3.")


def test_the_page_refuses_what_goes_beyond_a_limit():
    engine = FakeEngine(step_s=0)
    page = page_of(engine.make_clip, max_steps=4)
    (event,) = (event for event in page.fns.values() if event.name == "generate")
    values = [9 if control.elem_id == "num_inference_steps" else control.value for control in event.inputs]
    with pytest.raises(gr.Error, match="num_inference_steps must be at most 4 on this server, got 9"):
        updates(page, event, *values)
    assert engine.requests == []


def test_one_visitor_may_take_only_part_of_the_line_and_others_still_get_in(url, engine):
    ann, bob = "203.0.113.1", "203.0.113.2"
    jobs = [start(url, "slow", ann), *(start(url, f"clip {number}", ann) for number in range(1, MOST))]
    assert all(job.status_code == 200 for job in jobs)
    assert wait_until(lambda: health(url)["running"] == 1)
    refused = start(url, "one more", ann)
    assert refused.status_code == 429
    assert refused.json()["detail"] == (
        f"jobs must be at most {MOST} at once for one visitor, got one more. Wait until one is finished, or cancel it."
    )
    assert int(refused.headers["Retry-After"]) > 0
    assert start(url, "bob's", bob).status_code == 200
    assert health(url)["waiting"] == MOST
    with ended_soon(engine):
        assert wait_until(lambda: health(url)["running"] == 0 and health(url)["waiting"] == 0, 60)
    assert start(url, "again", ann).status_code == 200
    assert wait_until(lambda: engine.requests[-1].prompt == "again" and not engine.running, 20)
    assert "one more" not in [request.prompt for request in engine.requests]


def test_of_many_events_at_once_no_more_than_the_limit_get_in_by_any_route(url, engine):
    eve, before = {"X-Forwarded-For": "203.0.113.5"}, len(engine.requests)
    config = httpx.get(f"{url}config").json()
    (event,) = (event for event in config["dependencies"] if event["api_name"] == "make_clip")
    join = {"fn_index": str(event["id"]), "data": ["slow", "", 1, 1, *[None] * 4], "session_hash": "eve"}
    routes = {"call/v2/make_clip": {"prompt": "slow"}, "call/make_clip": {"data": join["data"]}, "queue/join": join}

    def post(route: str) -> int:
        return httpx.post(f"{url}gradio_api/{route}", json=routes[route], headers=eve, timeout=30).status_code

    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(post, [*routes] * 2)) == [200] * MOST + [429] * (2 * len(routes) - MOST)
    with ended_soon(engine):
        # Neither waits nor runs what the queue hands over, so both are counted as they begin, too.
        assert wait_until(lambda: len(engine.requests) == before + MOST and health(url)["running"] == 0, 60)
    for odd in (b"", b"[]", b'{"data": [], "fn_index": "x"}'):
        assert httpx.post(f"{url}gradio_api/queue/join", content=odd, headers=eve).status_code == 422


def test_jobs_of_the_page_count_as_calls_do(url, engine, jobs):
    ann = "203.0.113.3"
    for prompt in ("slow on the page", "slow, too"):
        press_in_full(url, prompt, ann)
    assert wait_until(lambda: jobs.count(ann) == MOST)
    assert wait_until(lambda: (health(url)["running"], health(url)["waiting"]) == (1, MOST - 1))
    assert start(url, "a call", ann).status_code == 429
    press_in_full(url, "one press more", ann)
    assert start(url, "bob's", "203.0.113.4").status_code == 200
    with ended_soon(engine):
        assert wait_until(lambda: jobs.count() == 0 and health(url)["running"] == 0, 60)
    assert "one press more" not in [request.prompt for request in engine.requests]
    assert "bob's" in [request.prompt for request in engine.requests]


def test_health_answers_while_a_clip_is_made(client, url, engine):
    idle = health(url)
    assert set(idle) == {"status", "version", "device", "waiting", "running", "running_since", "uptime_s"}
    assert (idle["version"], idle["waiting"], idle["running"]) == (VERSION, 0, 0)
    job = client.submit(prompt="slow", api_name="/txt2vid")
    assert wait_until(lambda: len(job.outputs()) > 2)
    answers = [health(url) for _ in range(20)]
    assert engine.running == 1, "the clip is still being made"
    assert {answer["running"] for answer in answers} == {1}
    assert answers[-1]["uptime_s"] >= answers[0]["uptime_s"] >= idle["uptime_s"]
    assert {answer["running_since"] for answer in answers} == {idle["running_since"]}
    job.cancel()
    assert wait_until(lambda: health(url)["running"] == 0)


def test_a_login_guards_every_route_but_health(engine):
    router = APIRouter(prefix="/own/v1")

    @router.get("/name")
    async def name() -> str:
        return "studio"

    with served(studio_of(engine.make_clip), [router], auth=LOGIN) as url:
        assert health(url)["version"] == VERSION
        assert httpx.get(f"{url}config").status_code == 401
        for login in (None, ("ann", "pa55"), ("bob", "pa55:word"), ("bob", "")):
            refused = httpx.get(f"{url}own/v1/name", auth=login)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        for odd in ("Basic %%%", "Basic", "Bearer x", "Basic /w=="):
            assert httpx.get(f"{url}own/v1/name", headers={"Authorization": odd}).status_code == 401
        assert httpx.get(f"{url}own/v1/name", auth=LOGIN).json() == "studio"
        with httpx.Client() as visitor:
            visitor.post(f"{url}login", data={"username": LOGIN[0], "password": LOGIN[1]}).raise_for_status()
            assert visitor.get(f"{url}own/v1/name").json() == "studio"
        found = Client(url, auth=LOGIN, verbose=False)
        _, recipe, _ = found.predict(prompt="x", num_inference_steps=1, api_name="/txt2vid")
        assert recipe["prompt"] == "x"
        found.close()


def test_without_a_login_routes_are_open(engine):
    router = APIRouter()

    @router.get("/own")
    async def own() -> int:
        return 1

    with served(studio_of(engine.make_clip), [router]) as url:
        assert httpx.get(f"{url}own").json() == 1
        assert "AnimateDiff Studio" in httpx.get(url).text


def test_about_lists_what_the_studio_runs_on(tmp_path, configure):
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "secret-project.safetensors").write_bytes(b"x")
    configure(models_dir=tmp_path)
    facts = studio_facts()
    assert facts["AnimateDiff Studio"] == VERSION
    assert facts["gradio"] == gr.__version__
    assert facts["Models to choose from"].endswith("; 1 of them from the operator's folder")
    assert facts["Free disk"].endswith(" GB")
    assert float(facts["Free memory"].removesuffix(" GB")) > 0
    assert re.search(r"\d", facts["ffmpeg"])
    told = facts_html(facts)
    assert told.count("<tr>") == len(facts)
    assert str(tmp_path) not in told
    assert "secret-project" not in told


def test_the_self_test_makes_a_clip_and_says_how_long_it_took():
    engine = FakeEngine(step_s=0)
    page = page_of(engine.make_clip)
    (event,) = (event for event in page.fns.values() if event.name == "self_test")
    began = time.monotonic()
    shown = {}
    for update in event.fn():
        shown |= {block.elem_id: value for block, value in update.items()}
        if "self_test_video" in shown:
            assert shown["self_test_video"]["value"].endswith(".mp4")
    assert "16 frames in " in shown["self_test_told"]
    assert time.monotonic() - began > 0
    (asked,) = engine.requests
    assert (asked.base_model, asked.num_inference_steps) == ("demo", 4)
    assert event.concurrency_id == "gpu"
