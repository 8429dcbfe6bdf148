"""docs/api.md and the README as their readers take them: word for word, against a served page with the real engine."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client
from PIL import Image

from media.read import probe, read_frames
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.request import GenerationRequest
from scripts.api_docs import EXAMPLES, with_made
from scripts.train_demo.world import Scene, render
from studio.engine import make_clip
from tests.app.conftest import served, studio_of
from tests.app.test_page import wait_until

ROOT = Path(__file__).resolve().parents[2]
API = (ROOT / "docs" / "api.md").read_text()
ADDRESS = "http://localhost:7860"
SCENE = Scene("star", "red", "cyan", "large", "right")
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)

Names = dict[str, Any]


class FewSteps:
    """The real engine, in two steps whatever is asked for; it counts what is running."""

    def __init__(self) -> None:
        self.begun = self.running = 0

    def make_clip(self, request, folder):
        self.begun += 1
        self.running += 1
        quick = GenerationRequest.build(**request.model_dump() | {"num_inference_steps": 2})
        try:
            yield from make_clip(quick, folder)
        finally:
            self.running -= 1


@pytest.fixture(scope="module")
def engine() -> FewSteps:
    return FewSteps()


@pytest.fixture(scope="module")
def url(engine) -> Iterator[str]:
    with served(studio_of(engine.make_clip, default_model="demo"), mcp_server=True) as address:
        yield address


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The folder that an example runs in, with the files it names."""
    frames = render(SCENE, height=128, width=128)
    Image.fromarray(frames[0]).save(tmp_path / "first.png")
    Image.fromarray(frames[-1]).save(tmp_path / "last.png")
    mask = np.zeros((128, 128), np.uint8)
    mask[:, 64:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with open_clip(
        tmp_path, stem="hand", formats=(OutputFormat.MP4,), fps=12, width=128, height=128, recipe="{}"
    ) as clip:
        clip.write(frames[:6])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_python(code: str, url: str) -> Names:
    assert ADDRESS in code
    names: Names = {}
    exec(code.replace(ADDRESS, url.rstrip("/")), names)
    return names


def frames_of(clip: str) -> np.ndarray:
    return read_frames(Path(clip))


def has_made_two_files(names: Names) -> None:
    assert probe(Path(names["video"])).num_frames == 16
    assert [Path(path).suffix for path in names["others"]] == [".gif"]


def has_made_the_same_frames(names: Names) -> None:
    assert np.array_equal(frames_of(names["first"]), frames_of(names["again"]))


def has_followed_the_steps(names: Names) -> None:
    told = [told for video, told, _ in names["job"].outputs() if video is None]
    steps = [(one["step"], one["total"]) for one in told if one["stage"] == "denoise"]
    assert steps == sorted(steps)  # of a long step more than once
    assert {(1, 2), (2, 2)} <= set(steps) <= {(0, 2), (1, 2), (2, 2)}
    assert {"stage", "step", "total", "note", "eta_s"} == set(told[-1])
    assert probe(Path(names["video"])).num_frames == 16


def has_cancelled(names: Names) -> None:
    assert wait_until(names["job"].done, 20)
    assert not any(video for video, *_ in names["job"].outputs())


def has_steered(names: Names) -> None:
    source = frames_of("hand.mp4")
    inside, steered = frames_of(names["inside"]), frames_of(names["steered"])
    assert len(inside) == len(steered) == len(source)
    assert np.abs(inside[:, :, :56].astype(int) - source[:, :, :56]).mean() < 4  # black stays
    assert not np.array_equal(inside, steered)


def has_fetched_a_clip(names: Names) -> None:
    assert "event: generating" in names["output"]
    assert "event: complete" in names["output"]
    assert probe(Path("clip.mp4")).num_frames == 16


def has_used_the_upload(names: Names) -> None:
    assert "event: complete" in names["output"]
    assert re.search(r'"first_frame": "[0-9a-f]{64}"', names["output"])


def has_called_a_tool(names: Names) -> None:
    Path("made.mp4").write_bytes(httpx.get(names["url"]).raise_for_status().content)
    assert (probe(Path("made.mp4")).num_frames, probe(Path("made.mp4")).fps) == (16, 12)


def has_estimated(names: Names) -> None:
    assert names["will_take"]["seconds"] > 0
    assert names["will_take"]["fits"] is True


CHECKS: dict[str, Callable[[Names], None]] = {
    "first_clip.py": has_made_two_files,
    "again.py": has_made_the_same_frames,
    "follow.py": has_followed_the_steps,
    "cancel.py": has_cancelled,
    "several.py": lambda names: _same([seed for _, seed in names["clips"]], [7, 8, 9]),
    "errors.py": lambda names: _same(
        names["told"], "num_frames must be greater than or equal to 1, got -1. Change 'Frames'."
    ),
    "pictures.py": lambda names: _same(len(names["recipe"]["first_frame"]), 64),
    "clips.py": has_steered,
    "preprocess.py": lambda names: _same(frames_of(names["edges"]).mean() < 60, True),
    "preset.py": lambda names: _same((names["recipe"]["closed_loop"], names["recipe"]["num_frames"]), ("full", 24)),
    "estimate.py": has_estimated,
    "models.py": lambda names: _same("demo" in names["models"]["base_models"], True),
    "call.sh": has_fetched_a_clip,
    "upload.sh": has_used_the_upload,
    "tools.py": has_called_a_tool,
}


def _same(found: object, expected: object) -> None:
    assert found == expected


def test_the_page_is_what_the_code_makes_of_it():
    assert with_made(API) == API, "run `make docs`"


def test_every_block_of_code_is_an_example_that_runs():
    blocks = [(language, code) for language, code in _BLOCK.findall(API) if language != "json"]
    examples = {path.read_text(): path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert sorted(examples.get(code, code) for _, code in blocks) == sorted(CHECKS)
    assert sorted(examples.values()) == sorted(CHECKS)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", CHECKS)
def test_an_example_runs_and_does_what_it_says(url, engine, name):
    code = (EXAMPLES / name).read_text()
    if name.endswith(".py"):
        CHECKS[name](run_python(code, url))
    else:
        if not shutil.which("curl"):
            pytest.skip("curl is not installed")
        done = subprocess.run(
            ["bash", "-euc", code.replace(ADDRESS, url.rstrip("/"))], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        CHECKS[name]({"output": done.stdout})
    assert wait_until(lambda: engine.running == 0, 20), "what was cancelled stops"


@pytest.mark.usefixtures("here")
def test_the_readme_s_program_runs(url):
    (code,) = [code for language, code in _BLOCK.findall((ROOT / "README.md").read_text()) if language == "python"]
    names = run_python(code, url)
    assert names["recipe"]["first_frame"]
    assert probe(Path(names["video"])).num_frames == 16


def test_the_guide_leaves_programs_to_the_page_about_them():
    for name in ("guide.md", "measurements.md", "formats.md", "interpolation.md"):
        assert "```python" not in (ROOT / "docs" / name).read_text(), "no test runs it there"


def test_the_address_for_agents_is_the_server_s(url):
    (block,) = [json.loads(code) for language, code in _BLOCK.findall(API) if language == "json"]
    address = block["mcpServers"]["animatediff"]["url"].replace(ADDRESS, url.rstrip("/"))
    answer = httpx.get(address)
    assert answer.status_code == 200
    assert "MCP" in answer.text


def rows_below(heading: str) -> set[str]:
    """The parameters in the tables below a heading, up to the next of its rank."""
    rank = heading.split()[0]
    text = API.split(f"\n{heading}\n", 1)[1]
    text = re.split(rf"\n#{{1,{len(rank)}}} ", text)[0]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.M))


def test_every_parameter_of_every_endpoint_is_explained(url):
    client = Client(url, verbose=False)
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    client.close()
    shared = rows_below("## Parameters of every clip")
    own = {
        "/txt2vid": shared,
        "/estimate": shared | rows_below("## /img2vid") | rows_below("## /vid2vid"),
        "/img2vid": shared | rows_below("## /img2vid"),
        "/vid2vid": shared | rows_below("## /vid2vid"),
        "/preprocess": rows_below("## /preprocess"),
        "/models": set(),
        "/fields": set(),
        "/make_clip": rows_below("### make_clip"),
        "/estimate_clip": rows_below("### estimate_clip"),
    }
    assert set(endpoints) == set(own)
    for name, endpoint in endpoints.items():
        assert {one["parameter_name"] for one in endpoint["parameters"]} <= own[name], name
        assert name in API
    assert own["/txt2vid"] == {one["parameter_name"] for one in endpoints["/txt2vid"]["parameters"]}
