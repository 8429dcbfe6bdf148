"""A lent device, in a stand-in for the platform: jobs cut into turns, workers that are ended, refusals in words."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from api.engine import build_request
from api.engine_start import STATE
from api.faults import OUR_FAULT
from api.self_test import studio_facts
from api.turns import LEAST_S
from api.zero_gpu import preload, turn_seconds
from media.read import read_frames
from tests.app.conftest import free_port
from tests.app.zero_gpu import Scheduler, platform_variables
from tests.stand_in_hub import use_hub

ROOT = Path(__file__).resolve().parents[2]
REQUEST = {
    "base_model": "demo",
    "prompt": "a red circle moving right on a blue background",
    "seed": 3,
    "num_frames": 24,
    "num_inference_steps": 12,
    "width": 96,
    "height": 96,
}


def lent(
    folder: Path, *, seconds: int, grace: float, refused: Sequence[dict[str, Any]] = (), after: int = 0, **fields: Any
) -> dict[str, Any]:
    """Make a clip on the stand-in, which refuses some calls after others; what it says of it."""
    request = json.dumps(REQUEST | fields)
    return spoken("tests.app.zero_gpu", folder, seconds, grace, request, json.dumps(refused), after)


def spoken(program: str, folder: Path, *arguments: object) -> dict[str, Any]:
    """What a program of the stand-in prints, in a process of its own."""
    folder.mkdir()
    # Into files: the workers it leaves behind hold its pipes open.
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        subprocess.run(
            [sys.executable, "-m", program, str(folder), *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=300,
            check=False,
        )
    lines = (folder / "out").read_text().splitlines()
    assert lines, (folder / "err").read_text()[-2000:]
    told: dict[str, Any] = json.loads(lines[-1])
    return told


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Any]:
    """The clip in one turn."""
    return lent(tmp_path_factory.mktemp("zero") / "whole", seconds=250, grace=30)


@pytest.mark.parametrize(("limit_s", "most"), [(60, 54), (600, 594), (4, 1)])
def test_a_turn_asks_for_what_its_clip_is_expected_to_take(monkeypatch, limit_s, most):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    values = {"base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5", "width": 512, "height": 512, "seed": 1}
    asked = [
        turn_seconds(build_request(**values, num_frames=frames), limit_s=limit_s) for frames in (1, 16, 64, 10_000)
    ]
    assert asked == sorted(asked)
    assert min(most, LEAST_S) <= asked[0]
    assert asked[-1] == most
    assert limit_s < 10 or asked[0] < asked[1] < most


def windows_of(told: dict[str, Any]) -> list[str]:
    return [note for note in told["notes"] if note.startswith("Step ")]


def test_one_turn_is_one_call(whole):
    assert (whole["turns"], whole["workers"], whole["frames"]) == (1, 1, 24)
    assert whole["warnings"] == []


def test_a_job_cut_into_turns_gives_the_same_frames(whole, tmp_path):
    cut = lent(tmp_path / "cut", seconds=7, grace=60)
    assert cut["turns"] >= 3
    assert cut["workers"] == cut["turns"]
    assert cut["warnings"] == []
    assert np.array_equal(read_frames(Path(cut["files"][0])), read_frames(Path(whole["files"][0])))
    # Every window of every step once, and none twice.
    assert windows_of(cut) == windows_of(whole)


@pytest.mark.slow
def test_a_worker_that_is_ended_loses_nothing_of_the_clip(tmp_path):
    longer = {"num_frames": 64, "num_inference_steps": 20, "width": 128, "height": 128}
    whole = lent(tmp_path / "whole", seconds=250, grace=30, **longer)
    ended = lent(tmp_path / "ended", seconds=250, grace=-242, **longer)
    assert ended["turns"] >= 2
    assert np.array_equal(read_frames(Path(ended["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_refusal_comes_in_words(tmp_path):
    told = lent(tmp_path / "refused", seconds=60, grace=60, prompt="a star <lora:nothing:1>")
    assert "nothing" in told["error"]
    assert told["error"] != "WeightsError"


EXTENDED = {"extended_from": [24], "num_frames": 28}


def test_an_extension_is_cut_into_turns_like_any_other_clip(tmp_path):
    whole = lent(tmp_path / "whole", seconds=250, grace=30, **EXTENDED)
    cut = lent(tmp_path / "cut", seconds=8, grace=60, **EXTENDED)
    assert (whole["turns"], whole["frames"]) == (1, 28)
    assert cut["turns"] >= 3
    assert cut["warnings"] == []
    assert windows_of(cut) == windows_of(whole)
    assert any(note.startswith("Extension 1 of 1") for note in cut["notes"])
    assert np.array_equal(read_frames(Path(cut["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_refused_turn_is_asked_for_again_with_what_is_left_of_the_quota(whole, tmp_path):
    refused = [{"status": 429, "left": 45, "wait": 3600}]
    told = lent(tmp_path / "shorter", seconds=60, grace=60, refused=refused)
    assert told["asked"] == [60, 45]
    assert told["frames"] == 24
    assert np.array_equal(read_frames(Path(told["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_run_whose_quota_ends_is_kept_and_goes_on_when_it_is_asked_for_again(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "runs"))
    refused = [{"status": 429, "left": 2, "wait": 3600}]
    first = lent(tmp_path / "first", seconds=7, grace=60, refused=refused, after=2)
    assert first["error"].startswith("This asks for 7 s of your ZeroGPU quota, of which 2 s are left. To go on, lower ")
    assert first["error"].endswith("with seed 3 and all else as it was, it goes on from there.")
    again = lent(tmp_path / "again", seconds=250, grace=60)
    (told,) = again["warnings"]
    assert told.startswith("Going on from step ")
    assert windows_of(first) + windows_of(again) == windows_of(whole)
    assert np.array_equal(read_frames(Path(again["files"][0])), read_frames(Path(whole["files"][0])))


WORDS = {
    "quota": "This asks for 40 s of your ZeroGPU quota, of which 25 s are left. To go on, lower 'Steps' or 'Frames', "
    "make a draft, log in to huggingface.co (a program sends its token), or come back in 1:02:03 (hours, minutes, "
    "seconds).",
    "no quota": "of which 0 s are left.",
    "runs": "You have used up your runs on ZeroGPU for now.",
    "pending": "Wait until one of them is finished.",
    "illegal": "ZeroGPU lends no GPU for 40 s of your quota at once. To go on, lower 'Steps'",
    "no GPU": "No GPU was free in time. Try again in a few minutes.",
    "no GPU in line": "No GPU was free in time. Try again in a few minutes.",
    "no GPU in line, nobody": "No GPU was free in time. Try again in a few minutes.",
    "quota, nobody": "ZeroGPU could not tell whose quota counts",
    "expired": "ZeroGPU's pass for this page has run out. Load it again",
    "broken": "ZeroGPU can't be reached. Try again in a few minutes.",
    "away": "ZeroGPU can't be reached. Try again in a few minutes.",
}


def test_whatever_the_platform_refuses_is_told_with_what_to_do(tmp_path):
    told = spoken("tests.app.zero_gpu_refusals", tmp_path / "refusals")
    assert told.pop("fine") == ["", ["begun"]]
    kind, words, _ = told.pop("aborted")
    assert kind == "CutOffError"
    assert "taken away" in words
    assert told.pop("visitor's fault")[:2] == ["UserError", "seed must be there."]
    assert told.pop("our fault")[1] == OUR_FAULT
    assert told.keys() == WORDS.keys()
    assert {kind for kind, *_ in told.values()} == {"RefusedError"}
    assert [name for name, words in WORDS.items() if words not in told[name][1]] == []
    assert {name: told[name][2] for name in WORDS if told[name][2]} == {"quota": 25, "illegal": 20}


def test_a_space_comes_up_where_the_hub_is_down_and_says_so(tmp_path):
    port = free_port()
    of_a_space = {"SPACE_ID": "somebody/studio", "GRADIO_SSR_MODE": "true", "GRADIO_CACHE_EXAMPLES": "true"}
    of_a_space |= {"GRADIO_CACHE_MODE": "lazy", "GRADIO_SERVER_PORT": str(port)} | platform_variables()
    nowhere = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path)}
    with (tmp_path / "said").open("w") as said:
        command, environment = [sys.executable, "app.py"], os.environ | of_a_space | nowhere
        space = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        client = _client(f"http://127.0.0.1:{port}", space)
        with pytest.raises(AppError, match=r"base_model must be downloadable.*Choose the base model 'demo'"):
            client.predict(prompt="a star", api_name="/txt2vid")
    finally:
        space.kill()
        space.wait()
    assert "The base model could not be loaded ahead." in (tmp_path / "said").read_text()
    assert "/schedule" not in [path for path, _ in Scheduler.calls], "a call that can't succeed was paid for"


def _client(url: str, space: subprocess.Popen) -> Client:
    """Of a Space that is starting."""
    end = time.monotonic() + 120
    while True:
        try:
            return Client(url, verbose=False)
        except (httpx.HTTPError, ValueError):
            assert space.poll() is None, "it has ended"
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.5)


def test_about_says_why_no_model_is_placed(monkeypatch, tmp_path):
    use_hub(monkeypatch, f"http://127.0.0.1:{free_port()}", tmp_path)
    monkeypatch.setattr(STATE, "status", "ready")
    monkeypatch.setattr(STATE, "trouble", "")
    preload("stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert STATE.trouble.startswith("base_model must be downloadable")
    assert studio_facts()["Model in memory"] in (STATE.trouble, "demo")  # another test of this process may have one
