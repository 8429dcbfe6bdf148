"""Runs that are killed, over and over, at random moments and in the middle of a checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.killed_runs import AT_ANY_TIME, REQUEST, WHILE_WRITING

ROOT = Path(__file__).resolve().parents[2]
KILLS = 30

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.pipeline.killed_runs", str(tmp_path_factory.mktemp("runs")), str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_clip_has_the_frames_of_an_undisturbed_one(outcome):
    finished = [attempt for attempt in outcome["attempts"] if "frames" in attempt]
    assert {attempt["frames"] for attempt in finished} == {outcome["whole"]["frames"]}


def test_processes_were_killed_in_every_way(outcome):
    ways = [attempt["killed"] for attempt in outcome["attempts"] if "killed" in attempt]
    assert len(ways) == KILLS
    assert {AT_ANY_TIME, *WHILE_WRITING} == set(ways)


def test_every_attempt_goes_on_from_the_last_whole_step_and_none_is_lost(outcome):
    last_step = 0
    for attempt in outcome["attempts"]:
        if "killed" in attempt:
            assert attempt["warnings"] == [], "a checkpoint was left half written"
            assert attempt["step"] >= last_step or attempt["delivered"]
            last_step = attempt["step"]
        else:
            going_on = f"Going on from step {last_step} of {REQUEST.num_inference_steps}, where an earlier run ended."
            assert attempt["warnings"] == ([going_on] if last_step else [])
            last_step = 0


def test_nothing_is_left_of_finished_runs(outcome):
    assert outcome["left"] == []
