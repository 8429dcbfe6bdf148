"""A lent device, in a stand-in for the platform: jobs cut into turns, workers that are ended, refusals in words."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from media.read import read_frames
from pipelines.plan import catalog
from pipelines.plan.errors import UserError
from pipelines.plan.planner.machine import TURN_MARGIN_S
from pipelines.plan.request import GenerationRequest
from pipelines.plan.settings import Settings
from studio.device_leases import LEAST_S, Turn
from studio.engine import build_request
from studio.engine_start import STATE
from studio.faults import OUR_FAULT
from studio.self_test import studio_facts
from studio.zero_gpu import ROOM, lent_engine, lent_preview, preload, preview_seconds, turn_seconds
from tests.app.conftest import free_port
from tests.app.zero_gpu import ANSWER, Scheduler, platform_variables
from tests.stand_in_hub import use_hub

ROOT = Path(__file__).resolve().parents[2]
REQUEST = {
    "base_model": "demo",
    "prompt": "a red circle moving right on a blue background",
    "seed": 3,
    "num_frames": 24,
    "num_inference_steps": 20,
    "guidance_scale": 1.0,  # half the work
    "width": 64,
    "height": 64,
}


class Platform:
    """The stand-in in a process of its own, which starts once for all tests: to import what it needs takes seconds."""

    def __init__(self, folder: Path, *, taken_after_s: float = 600) -> None:
        self._folder = folder
        command = [sys.executable, "-m", "tests.app.zero_gpu", str(taken_after_s)]
        self._said = (folder / "said").open("w")
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, bufsize=1
        )

    def __call__(self, name: str, *, runs: Path | None = None, order: Any = None, **fields: Any) -> dict[str, Any]:
        """Make a clip in the folder `name`; what is said of it. Runs are kept in a folder of its own, or in `runs`."""
        folder = self._folder / name
        assert self._process.stdin
        assert self._process.stdout
        wished = {"runs": str(runs or self._folder / f"runs of {name}")} | (order or {})
        print(json.dumps([REQUEST | fields, str(folder), wished]), file=self._process.stdin)
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                told: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
                return told
        pytest.fail((self._folder / "said").read_text()[-2000:])

    def close(self) -> None:
        self._process.kill()  # its workers, which wait for the next call, end when it is gone
        self._process.wait()
        self._said.close()


@pytest.fixture(scope="module")
def lent(tmp_path_factory) -> Iterator[Platform]:
    with closing(Platform(tmp_path_factory.mktemp("zero"))) as platform:
        yield platform


CUT = {"window_s": 1.4, "expected": 12}
"""The clip's 40 windows are 56 s so, and a turn's seconds 18. A step, of up to four windows, ends within the margin."""


def require_turns_in_time(told: dict[str, Any]) -> None:
    """Each turn took as long as it was to, and no longer than it had asked for."""
    (asked,) = set(told["asked"])
    assert asked == ROOM * CUT["expected"] + TURN_MARGIN_S > LEAST_S + TURN_MARGIN_S
    windows = [turn for turn, note in zip(told["turn_of_note"], told["notes"], strict=True) if is_window(note)]
    took = [CUT["window_s"] * count for _, count in sorted(Counter(windows).items())]
    assert 3 <= len(took) <= told["turns"]  # the last turn may only decode
    assert all(seconds <= asked for seconds in took), (asked, took)
    assert all(seconds > asked - TURN_MARGIN_S - 1 for seconds in took[:-1]), (asked, took)


def is_window(note: str) -> bool:
    return "step " in note.lower()


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
def whole(lent) -> dict[str, Any]:
    """The clip in one turn."""
    return lent("whole")


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


def test_a_job_cut_into_turns_gives_the_same_frames(whole, lent):
    cut = lent("cut", order=CUT)
    assert cut["workers"] == cut["turns"]
    require_turns_in_time(cut)
    assert cut["sizes"] == ["large"]
    assert cut["warnings"] == []
    assert np.array_equal(read_frames(Path(cut["files"][0])), read_frames(Path(whole["files"][0])))
    # Every window of every step once, and none twice.
    assert windows_of(cut) == windows_of(whole)


@pytest.mark.slow
def test_a_worker_that_is_ended_loses_nothing_of_the_clip(lent, tmp_path):
    longer = {"num_frames": 64, "num_inference_steps": 20, "width": 128, "height": 128}
    with closing(Platform(tmp_path, taken_after_s=8)) as impatient:
        ended = impatient("ended", **longer)
    whole = lent("longer", **longer)
    assert ended["turns"] >= 2
    assert np.array_equal(read_frames(Path(ended["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_clip_waits_in_the_platform_s_line_before_every_turn_and_is_made_then(whole, lent):
    waits = [{"status": 200, "pings": 3, "reason": reason} for reason in ("node", "concurrency", "")]
    told = lent("waited", order=CUT | {"refused": waits})
    assert told["turns"] >= 3
    assert told["frames"] == 24
    assert np.array_equal(read_frames(Path(told["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_refusal_comes_in_words(lent):
    told = lent("refused", prompt="a star <lora:nothing:1>")
    assert "nothing" in told["error"]
    assert told["error"] != "WeightsError"


EXTENDED = {"extended_from": [24], "num_frames": 28}


def test_an_extension_is_cut_into_turns_like_any_other_clip(lent):
    whole = lent("extended", **EXTENDED)
    cut = lent("extended in turns", order=CUT, **EXTENDED)
    assert (whole["turns"], whole["frames"]) == (1, 28)
    require_turns_in_time(cut)
    assert cut["warnings"] == []
    assert windows_of(cut) == windows_of(whole)
    assert any(note.startswith("Extension 1 of 1") for note in cut["notes"])
    assert np.array_equal(read_frames(Path(cut["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_refused_turn_is_asked_for_again_with_what_is_left_of_the_quota(whole, lent):
    refused = [{"status": 429, "left": 45, "wait": 3600}]
    told = lent("shorter", order={"room": 100, "refused": refused})
    assert told["asked"] == [60, 45]
    assert told["frames"] == 24
    assert np.array_equal(read_frames(Path(told["files"][0])), read_frames(Path(whole["files"][0])))


def test_a_run_whose_quota_ends_is_kept_and_goes_on_when_it_is_asked_for_again(whole, lent, tmp_path):
    refused = [{"status": 429, "left": 2, "wait": 3600}]
    first = lent("first", runs=tmp_path, order=CUT | {"refused": refused, "after": 2})
    assert first["error"].startswith(
        f"This asks for {first['asked'][0]} s of your ZeroGPU quota, of which 2 s are left. To go on, lower "
    )
    assert first["error"].endswith("with seed 3 and all else as it was, it goes on from there.")
    again = lent("again", runs=tmp_path)
    (told,) = again["warnings"]
    assert told.startswith("Going on from step ")
    assert windows_of(first) + windows_of(again) == windows_of(whole)
    assert np.array_equal(read_frames(Path(again["files"][0])), read_frames(Path(whole["files"][0])))


OF_QUOTA = "of your ZeroGPU quota, of which 25 s are left. To go on, lower 'Steps' or 'Frames'"
WORDS = {
    "quota": "This asks for 40 s of your ZeroGPU quota, of which 25 s are left. To go on, lower 'Steps' or 'Frames', "
    "make a draft, log in to huggingface.co (a program sends its token), or come back in 1:02:03 (hours, minutes, "
    "seconds).",
    "quota, regular": OF_QUOTA,
    "quota, pro": OF_QUOTA,
    "quota, page": OF_QUOTA,
    "no quota": "of which 0 s are left.",
    "runs": "You have used up your runs on ZeroGPU for now.",
    "pending": "Wait until one of them is finished.",
    "illegal": "ZeroGPU lends no GPU for 40 s of your quota at once. To go on, lower 'Steps'",
    "illegal, regular": "ZeroGPU lends no GPU for 40 s of your quota at once.",
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
    assert [told.pop(f"waited, {reason}") for reason in ("node", "concurrency", "unknown")] == [["", ["begun"]]] * 3
    kind, words, _ = told.pop("aborted")
    assert kind == "CutOffError"
    assert "taken away" in words
    assert told.pop("visitor's fault")[:2] == ["UserError", "seed must be there."]
    assert told.pop("our fault")[1] == OUR_FAULT
    assert told.keys() == WORDS.keys()
    assert {kind for kind, *_ in told.values()} == {"RefusedError"}
    assert [name for name, words in WORDS.items() if words not in told[name][1]] == []
    assert {name: told[name][2] for name in WORDS if told[name][2]} == {
        "quota": 25,
        "quota, regular": 25,
        "quota, pro": 25,
        "quota, page": 25,
        "illegal": 20,
        "illegal, regular": 20,
    }


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


def test_what_a_space_packs_is_its_models_and_nothing_idle(tmp_path):
    told = spoken("tests.app.zero_gpu_packing", tmp_path / "packing")
    assert told["idle"] > 5e5, "the module has no middle block, so there is something to leave out"
    assert told["kept"] < 1e3
    assert told["placed"] <= told["packed"] < told["placed"] + told["idle"]


UNIT = {"model": "demo-canny", "preprocessor": "canny"}


def steered(**values: Any) -> GenerationRequest:
    """A request that follows a clip, of which nobody asks whether it is here."""
    return GenerationRequest.build(**catalog.complete(values))


@pytest.mark.parametrize(
    ("frames", "side", "low", "high"), [(8, 256, 15, 15), (16, 512, 15, 16), (300, 512, 20, 60), (10_000, 1024, 60, 60)]
)
def test_a_preview_asks_for_what_its_frames_take(monkeypatch, frames, side, low, high):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    unit = UNIT | {"preprocessor": "depth_midas"}
    request = steered(
        base_model="demo", width=side, height=side, seed=1, num_frames=frames, source_video="0" * 64, controls=[unit]
    )
    assert low <= preview_seconds(request, Path(), limit_s=60) <= high


def test_before_a_device_is_asked_for_all_that_its_turn_reads_is_fetched(monkeypatch, tmp_path):
    """Preprocessors' weights too; nothing is on this disk, and nobody answers."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    use_hub(monkeypatch, f"http://127.0.0.1:{free_port()}", tmp_path)
    asked: list[object] = []
    monkeypatch.setattr("studio.zero_gpu.lend", lambda *_, **__: lambda *given: iter([asked.append(given)]))
    request = steered(
        base_model="demo", seed=1, source_video="0" * 64, controls=[UNIT | {"preprocessor": "depth_midas"}]
    )
    preview = lent_preview(Settings())
    with pytest.raises(UserError, match=r"controls must be downloadable, got 'lllyasviel/Annotators/"):
        list(preview(request, tmp_path))
    take = lent_engine(Settings(checkpoint_dir=tmp_path)).keywords["take"]
    with pytest.raises(UserError, match=r"controls must be downloadable, got 'lllyasviel/Annotators/"):
        list(take(Turn(request, tmp_path, 15.0)))
    assert asked == []


def test_a_preview_without_a_network_needs_no_device(monkeypatch, tmp_path):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setattr("studio.zero_gpu.lend", lambda *_, **__: pytest.fail)
    monkeypatch.setattr("studio.zero_gpu.preview_clip", lambda _request, folder: iter([folder / "drawn.mp4"]))
    request = steered(base_model="demo", seed=1, source_video="0" * 64, controls=[UNIT])
    assert list(lent_preview(Settings())(request, tmp_path)) == [tmp_path / "drawn.mp4"]
