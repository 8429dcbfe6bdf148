"""A lent device, in a stand-in for the platform: jobs cut into turns, workers that are ended, refusals in words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.engine import build_request
from api.zero_gpu import LEAST_S, turn_seconds
from media.read import read_frames

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


def lent(folder: Path, *, seconds: int, grace: float, **fields: Any) -> dict[str, Any]:
    """Make a clip on the stand-in, in a process of its own; what it says of it."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.app.zero_gpu", str(folder), str(seconds), str(grace)]
    # Into files: the workers it leaves behind hold its pipes open.
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        subprocess.run(
            [*command, json.dumps(REQUEST | fields)],
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
