"""What a program that speaks the Model Context Protocol sees of the page, by the protocol's own client."""

import http.server
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from api.web.tools import TOOLS
from media.read import probe, read_recipe
from tests.app.conftest import served, studio_of
from tests.app.fake_engine import REFUSAL, FakeEngine

PICTURE = {"num_inference_steps": 1, "formats": ["MP4"]}


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine(step_s=0.1)


@pytest.fixture(scope="module")
def url(engine) -> Iterator[str]:
    with served(studio_of(engine.make_clip), mcp_server=True) as address:
        yield address


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    return path


@asynccontextmanager
async def session(url: str):
    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, *_),
        ClientSession(read, write) as found,
    ):
        await found.initialize()
        yield found


def call(url: str, name: str, progress=None, **arguments):
    """What a tool answers: whether it is an error, and its text."""

    async def ask():
        async with session(url) as found:
            return await found.call_tool(name, arguments, progress_callback=progress)

    answer = anyio.run(ask)
    return answer.isError, " ".join(one.text for one in answer.content if one.type == "text")


def listed(url: str):
    async def ask():
        async with session(url) as found:
            return (await found.list_tools()).tools

    return anyio.run(ask)


def test_the_tools_are_few_and_small_and_say_what_each_parameter_means(url):
    tools = listed(url)
    assert [tool.name for tool in tools] == list(TOOLS)
    assert len(json.dumps([tool.model_dump(exclude_none=True) for tool in tools])) < 4000
    for tool in tools:
        assert tool.description.split(". ")[0]
        for name, parameter in tool.inputSchema["properties"].items():
            assert len(parameter["description"]) > 10, (tool.name, name)
    schema = httpx.get(f"{url}gradio_api/mcp/schema").json()
    assert [tool["name"] for tool in schema] == list(TOOLS)
    for internal in ("visitor", "event_data", "elem_id", "Gradio File"):
        assert internal not in json.dumps(schema)


def test_a_tool_makes_a_clip_that_can_be_fetched_and_used_again(url, engine, tmp_path):
    told = []

    async def progress(done, _, message):
        told.append((done, message))

    is_error, text = call(url, "make_clip", progress, prompt="a red circle", seed=7, settings={"fps": 12})
    assert not is_error, text
    assert any("denoise: Step" in (message or "") for _, message in told), told
    path = tmp_path / "clip.mp4"
    path.write_bytes(httpx.get(text).raise_for_status().content)
    assert probe(path).num_frames == 16
    recipe = json.loads(read_recipe(path))
    assert (recipe["prompt"], recipe["seed"], recipe["fps"]) == ("a red circle", 7, 12)
    assert Path(text).name.startswith("7")
    is_error, text = call(url, "make_clip", prompt="again", source_video=text, settings=PICTURE)
    assert not is_error, text
    assert engine.requests[-1].source_video


def test_presets_fill_what_is_left_open(url, engine):
    for given, frames in (({}, 64), ({"num_frames": 16}, 16)):
        call(url, "make_clip", prompt="x", preset="long", settings={"num_inference_steps": 1}, **given)
        assert (engine.requests[-1].num_frames, engine.requests[-1].noise_layout) == (frames, "shuffle")
    is_error, text = call(url, "make_clip", prompt="x", preset="quick")
    assert is_error
    assert "preset must be one of draft, balanced" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": "refuse"}, REFUSAL),
        ({"prompt": "x", "num_frames": -1}, "num_frames must be greater than or equal to 1, got -1."),
        ({"prompt": "x", "settings": {"colour": 1}}, "colour"),
        ({"prompt": "x", "num_frames": 4, "settings": {"num_frames": 5}}, "settings must leave out num_frames"),
        ({"prompt": "x", "settings": {"batch_count": 5}}, "settings must leave out batch_count"),
    ],
)
def test_faults_arrive_in_words(url, arguments, words):
    is_error, text = call(url, "make_clip", **arguments)
    assert is_error
    assert words in text


def test_other_endpoints_are_no_tools(url, engine):
    before = len(engine.requests)
    for name in ("txt2vid", "generate"):
        is_error, text = call(url, name, prompt="x")
        assert is_error
        assert "Unknown tool" in text
    assert len(engine.requests) == before


def test_pictures_come_as_uploads_or_data_urls(url, engine, picture):
    with picture.open("rb") as file:
        (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()
    data = b64encode(picture.read_bytes()).decode()
    kept = set()
    for given in (path, f"{url}gradio_api/file={path}", f"data:image/png;base64,{data}"):
        is_error, text = call(url, "make_clip", prompt="x", first_frame=given, settings=PICTURE)
        assert not is_error, text
        kept.add(engine.requests[-1].first_frame)
    (sha256,) = kept
    assert not call(url, "make_clip", prompt="x", first_frame=sha256, settings=PICTURE)[0]


def test_a_control_unit_and_an_image_prompt_bring_their_pictures(url, engine, picture):
    given = f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
    unit = {"model": "demo-canny", "preprocessor": "canny", "clip": given}
    prompt = {"model": "h94/IP-Adapter/ip-adapter_sd15", "pictures": [[0, given]]}
    settings = PICTURE | {"controls": [unit], "image_prompts": [prompt]}
    is_error, text = call(url, "make_clip", prompt="x", settings=settings)
    assert not is_error, text
    request = engine.requests[-1]
    assert request.controls[0].clip == request.image_prompts[0].pictures[0][1] != ""
    assert not call(url, "estimate_clip", settings=settings)[0]
    for field, value in (("controls", [unit | {"clip": "/etc/passwd"}]), ("image_prompts", [{"pictures": [[0, 5]]}])):
        is_error, text = call(url, "make_clip", prompt="x", settings=PICTURE | {field: value})
        assert is_error
        assert f"{field} " in text


@pytest.fixture
def internal() -> Iterator[tuple[str, list]]:
    """A server inside, which must not hear of anything, and what it heard."""
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret.png", heard
        server.shutdown()


@pytest.mark.parametrize("field", ["first_frame", "source_video"])
def test_neither_files_of_the_server_nor_addresses_inside_can_be_had(url, engine, picture, internal, field):
    address, heard = internal
    before = len(engine.requests)
    paths = ("/etc/passwd", "file:///etc/passwd", str(picture), f"{url}gradio_api/file=/etc/passwd", "../app.py")
    for given in (*paths, address, f"{address}?gradio_api/file=/etc/passwd", "data:image/png;base64,%%%", "data:,x"):
        is_error, text = call(url, "make_clip", prompt="x", **{field: given})
        assert is_error
        assert text.startswith(f"{field} must be "), text
        assert "/etc" not in text
    for given in ({"path": str(picture)}, {"path": address, "meta": {"_type": "gradio.FileData"}}):
        assert call(url, "make_clip", prompt="x", settings={field: given})[0]
    assert heard == []
    assert len(engine.requests) == before


def test_the_other_endpoints_fetch_no_addresses_inside_either(url, engine, internal):
    address, heard = internal
    before = len(engine.requests)
    asked = httpx.post(
        f"{url}gradio_api/call/v2/img2vid",
        json={"prompt": "x", "first_frame": {"path": address, "meta": {"_type": "gradio.FileData"}}},
    )
    answer = httpx.get(f"{url}gradio_api/call/img2vid/{asked.raise_for_status().json()['event_id']}", timeout=30).text
    assert "event: error" in answer
    assert heard == []
    assert len(engine.requests) == before


def test_an_estimate_makes_nothing(url, engine):
    before = len(engine.requests)
    is_error, text = call(url, "estimate_clip", num_frames=64, settings={"base_model": "demo"})
    assert not is_error
    assert "'fits': True" in text
    assert len(engine.requests) == before


def test_the_studio_has_an_mcp_server():
    import app

    assert app.launch_options(app.studio)["mcp_server"] is True


def test_with_a_login_there_is_no_mcp_server(engine, monkeypatch):
    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    with served(studio_of(engine.make_clip), mcp_server=True, auth=("ann", "password")) as url:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        for path in ("mcp", "mcp/", "mcp/http", "mcp/sse", "mcp/schema", "mcp/messages/"):
            for answer in (
                httpx.post(f"{url}gradio_api/{path}", json=hello, headers=accept, follow_redirects=True),
                httpx.get(f"{url}gradio_api/{path}", headers=accept, follow_redirects=True),
            ):
                assert answer.status_code in (401, 404, 405), path
                assert "make_clip" not in answer.text


def test_pages_of_other_sites_may_not_call_tools(url):
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{url}gradio_api/mcp/", headers=asked | {"Access-Control-Request-Headers": "content-type"})
    assert answer.headers.get("Access-Control-Allow-Origin") not in ("*", "https://elsewhere.example")
    plain = {"Content-Type": "text/plain", "Accept": "application/json, text/event-stream"}
    hello = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
    assert httpx.post(f"{url}gradio_api/mcp/", content=hello, headers=plain).status_code == 400
