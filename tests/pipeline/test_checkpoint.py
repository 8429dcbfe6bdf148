"""What is kept of interrupted runs: whole or not at all, for the same run alone, and not for ever.

That frames come out the same after a process was killed is tested in `test_killed_runs.py`.
"""

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.engine import checkpoint
from pipelines.engine.checkpoint import KEPT_DAYS, MOST_KEPT, Checkpoint, run_key
from pipelines.engine.denoise import DenoiseState
from pipelines.engine.generate import generate
from pipelines.engine.models import ModelStore
from pipelines.plan.events import Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import KeptFrames, run

KEY, OTHER_KEY = "a" * 64, "b" * 64
DAMAGED = "What was kept of an interrupted run is damaged; the clip is made from the start."
SMALL = {
    "prompt": "a red circle moving right on a blue background",
    "seed": 3,
    "num_frames": 4,
    "width": 64,
    "height": 64,
    "num_inference_steps": 4,
    "guidance_scale": 3.0,
}


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore("cpu", torch.float32)


@pytest.fixture(autouse=True)
def _keep_every_step(monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SHARE", float("inf"))


def small(**settings) -> GenerationRequest:
    return GenerationRequest.build(**SMALL | settings)


def some_state(step: int = 2) -> DenoiseState:
    generator = torch.Generator("cpu").manual_seed(5)
    latents = torch.randn(1, 4, 3, 8, 8, generator=generator)
    return DenoiseState(step, latents, generator.get_state(), {"model_outputs": [None, latents + 1], "_step_index": 2})


def interrupt(request: GenerationRequest, folder: Path, store: ModelStore, *, after: int) -> None:
    """Begin a run and stop it after some steps."""
    events = generate(request, open_writer=KeptFrames().opener(), store=store, checkpoints=folder)
    for event in events:
        if event.stage is Stage.DENOISE and event.step == after:
            break
    events.close()


def test_a_state_comes_back_as_it_was(tmp_path):
    state = some_state()
    Checkpoint(tmp_path / "new", KEY).save(state)
    back = Checkpoint(tmp_path / "new", KEY).load()
    assert back.step == 2
    assert torch.equal(back.latents, state.latents)
    assert torch.equal(back.generator_state, state.generator_state)
    assert torch.equal(back.scheduler_memory["model_outputs"][1], state.latents + 1)
    assert back.scheduler_memory["_step_index"] == 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{KEY}.checkpoint"]


def test_a_finished_run_leaves_nothing_and_nobody_elses_files_go(tmp_path):
    for key in (KEY, OTHER_KEY):
        Checkpoint(tmp_path, key).save(some_state())
    (tmp_path / f"{KEY}.77-1.part").write_bytes(b"half")
    Checkpoint(tmp_path, KEY).remove()
    assert [path.name for path in tmp_path.iterdir()] == [f"{OTHER_KEY}.checkpoint"]


DAMAGES = {
    "empty": lambda data: data[:0],
    "digest alone": lambda data: data[:32],
    "half": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "zeros where the power failed": lambda data: data[:1000] + bytes(len(data) - 1000),
    "one bit": lambda data: data[:900] + bytes([data[900] ^ 1]) + data[901:],
    "something else": lambda data: b"#!/bin/sh\n" * len(data),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_left_aside_in_words(tmp_path, damage):
    Checkpoint(tmp_path, KEY).save(some_state())
    path = tmp_path / f"{KEY}.checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    checkpoint = Checkpoint(tmp_path, KEY)
    assert checkpoint.load() is None
    assert checkpoint.warnings == [DAMAGED]


def test_another_runs_file_under_this_runs_name_is_left_aside(tmp_path):
    Checkpoint(tmp_path, OTHER_KEY).save(some_state())
    (tmp_path / f"{OTHER_KEY}.checkpoint").rename(tmp_path / f"{KEY}.checkpoint")
    checkpoint = Checkpoint(tmp_path, KEY)
    assert checkpoint.load() is None
    assert checkpoint.warnings == [DAMAGED]


class _Code:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def test_one_that_asks_to_run_code_is_left_aside_unrun(tmp_path):
    class Asking(DenoiseState):
        def to_dict(self):
            return super().to_dict() | {"scheduler_memory": _Code(tmp_path / "canary")}

    state = some_state()
    Checkpoint(tmp_path, KEY).save(Asking(state.step, state.latents, state.generator_state))
    checkpoint = Checkpoint(tmp_path, KEY)
    assert checkpoint.load() is None
    assert checkpoint.warnings == [DAMAGED]
    assert not (tmp_path / "canary").exists()


def test_a_state_of_another_make_is_left_aside(tmp_path):
    class Newer(DenoiseState):
        def to_dict(self):
            return super().to_dict() | {"round": 1}

    state = some_state()
    Checkpoint(tmp_path, KEY).save(Newer(state.step, state.latents, state.generator_state))
    assert Checkpoint(tmp_path, KEY).load() is None


def test_leftovers_go_when_old_or_too_many_but_nothing_else_does(tmp_path):
    now = time.time()
    ages_days = {f"{number:064x}.checkpoint": number / 10_000 for number in range(MOST_KEPT + 5)}
    ages_days |= {f"{KEY}.9-9.part": KEPT_DAYS + 1, "holiday.checkpoint": 1000, "notes.txt": 1000}
    for name, days in ages_days.items():
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (now, now - days * 24 * 60 * 60))
    assert Checkpoint(tmp_path, OTHER_KEY).load() is None
    newest = [f"{number:064x}.checkpoint" for number in range(MOST_KEPT)]
    assert {path.name for path in tmp_path.iterdir()} == {*newest, "holiday.checkpoint", "notes.txt"}


def test_saving_takes_no_more_than_its_share(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SHARE", 0.02)
    stored = Checkpoint(tmp_path, KEY)
    for step in range(1, 6):  # as fast as they come: a second one would be half of the time
        stored.save(some_state(step))
    assert Checkpoint(tmp_path, KEY).load().step == 1


def test_the_key_tells_apart_all_that_decides_the_frames():
    def key(request=None, weights=(("unet", "1"),), device="cpu", dtype=torch.float32):
        return run_key(request or small(), weights=dict(weights), device=torch.device(device), dtype=dtype)

    variants = [
        key(small(seed=4)),
        key(small(prompt="a star")),
        key(weights=[("unet", "2")]),
        key(weights=[("unet", "1"), ("lora x", "3")]),
        key(device="cuda"),
        key(dtype=torch.bfloat16),
    ]
    assert key() == key(GenerationRequest.from_json(small().to_json()))
    assert len({key(), *variants}) == 1 + len(variants)


@pytest.mark.parametrize("after", [1, 3, 4])
def test_an_interrupted_run_goes_on_where_it_was_and_says_so(store, tmp_path, after):
    whole, _ = run(small(), store=store)
    interrupt(small(), tmp_path, store, after=after)
    assert len(list(tmp_path.iterdir())) == 1
    frames, events = run(small(), store=store, checkpoints=tmp_path)
    note = f"Going on from step {after} of 4, where an earlier run ended."
    assert np.array_equal(frames, whole)
    assert events[-1].warnings == (note,)
    assert any(event.note == note for event in events[:-1])
    assert sum(event.stage is Stage.DENOISE and event.share is None for event in events[:-1]) == 4 - after
    assert list(tmp_path.iterdir()) == []


def test_another_request_does_not_take_it_up(store, tmp_path):
    interrupt(small(), tmp_path, store, after=2)
    _, events = run(small(seed=4), store=store, checkpoints=tmp_path)
    assert events[-1].warnings == ()
    assert len(list(tmp_path.iterdir())) == 1, "the other run's is still there"


def test_a_run_whose_checkpoint_is_damaged_starts_anew(store, tmp_path):
    whole, _ = run(small(), store=store)
    interrupt(small(), tmp_path, store, after=2)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:5000])
    frames, events = run(small(), store=store, checkpoints=tmp_path)
    assert np.array_equal(frames, whole)
    assert events[-1].warnings == (DAMAGED,)


def test_a_full_disk_is_told_once_and_stops_nothing(store, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    frames, events = run(small(), store=store, checkpoints=tmp_path)
    assert len(frames) == 4
    assert events[-1].warnings == (
        "The run could not be kept on disk (No space left on device); interrupted, it starts anew.",
    )
    assert list(tmp_path.iterdir()) == []
