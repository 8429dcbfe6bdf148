"""The program behind `test_killed_runs.py`: makes a clip again and again in processes that are killed.

The models are loaded once; every attempt is a fork, which costs no start-up. An attempt is killed either from
outside after a random time, or by its own hand around the calls that bring a checkpoint to the disk, where the
file it was writing is cut short, as a machine that fails leaves it. What came of it is printed as JSON.
"""

import studio.engine  # isort: skip  # noqa: F401 - sets what torch reads when it is imported

import hashlib
import json
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from pipelines.engine import checkpoint
from pipelines.engine.checkpoint import Checkpoint
from pipelines.engine.generate import generate
from pipelines.engine.models import ModelStore
from pipelines.plan.choices import Scheduler
from pipelines.plan.events import Clip
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import KeptFrames

REQUEST = GenerationRequest.build(
    prompt="a red circle moving right on a blue background",
    seed=3,
    num_frames=4,
    width=64,
    height=64,
    num_inference_steps=12,
    guidance_scale=3.0,
    scheduler=Scheduler.DPMPP_2M,  # remembers earlier steps, so that a state is more than latents
)
AT_ANY_TIME = "at any time"
WHILE_WRITING = ("before the sync", "after the sync", "before the rename", "after the rename")


def main(folder: Path, kills: int) -> dict[str, Any]:
    """Make clips until so many processes were killed, then one more undisturbed."""
    torch.set_num_threads(1)
    checkpoint.SAVE_SHARE = float("inf")
    store = ModelStore("cpu", torch.float32)
    store.load("demo", "demo")
    dice = random.Random(7)
    runs = folder / "checkpoints"
    result_file = folder / "result.json"
    attempt = partial(_attempt, store, runs, result_file)
    start = time.monotonic()
    whole = attempt()
    seconds = time.monotonic() - start
    attempts: list[dict[str, Any]] = []
    while sum("killed" in each for each in attempts) < kills:
        how = AT_ANY_TIME if dice.random() < 0.5 else dice.choice(WHILE_WRITING)
        if how == AT_ANY_TIME:
            result = attempt(kill_after_s=dice.uniform(0, 0.5 * seconds))
        else:
            result = attempt(partial(_die_writing, how, dice.randint(1, 3), dice.random()))
        attempts.append(result or {"killed": how, "delivered": result_file.exists(), **_look(runs)})
    attempts.append(attempt())
    return {"whole": whole, "attempts": attempts, "left": [path.name for path in runs.iterdir()]}


def _attempt(
    store: ModelStore,
    runs: Path,
    result: Path,
    prepare: Callable[[], None] = lambda: None,
    *,
    kill_after_s: float | None = None,
) -> dict[str, Any] | None:
    """Make the clip in a process of its own; a digest of its frames and what was told, None if it was killed."""
    result.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        _work(store, runs, result, prepare)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if status:
        raise SystemExit(f"an attempt ended with status {status}")
    return json.loads(result.read_text())


def _work(store: ModelStore, runs: Path, result: Path, prepare: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        prepare()
        sink = KeptFrames()
        for event in generate(REQUEST, open_writer=sink.opener(), store=store, checkpoints=runs):
            if isinstance(event, Clip):  # the clip is there; its checkpoint goes when more is asked for
                outcome = {"frames": hashlib.sha256(sink.frames.tobytes()).hexdigest(), "warnings": event.warnings}
                result.with_suffix(".part").write_text(json.dumps(outcome))
                result.with_suffix(".part").rename(result)
        code = 0
    finally:
        os._exit(code)


def _die_writing(how: str, count: int, share: float) -> None:
    """Arrange that this process kills itself at a checkpoint.

    Args:
        how: One of `WHILE_WRITING`; before the sync the file is cut short.
        count: At which checkpoint, from 1.
        share: How much of the file is left, 0 to 1.
    """
    when, name = how.split()[0], {"sync": "fsync", "rename": "replace"}[how.split()[-1]]
    call = getattr(os, name)
    calls = 0

    def deadly(*args: Any) -> None:
        nonlocal calls
        is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
        calls += not is_folder
        if is_folder or calls < count:
            call(*args)
            return
        if when == "after":
            call(*args)
        elif name == "fsync":
            os.ftruncate(args[0], int(share * os.fstat(args[0]).st_size))
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, name, deadly)


def _look(runs: Path) -> dict[str, Any]:
    """The step that the next attempt will go on from, and what is wrong with the file, if anything."""
    files = list(runs.glob("*.checkpoint")) if runs.is_dir() else []
    if not files:
        return {"step": 0, "warnings": []}
    (file,) = files
    checkpoint = Checkpoint(runs, file.stem)
    state = checkpoint.load()
    return {"step": state.step if state else 0, "warnings": checkpoint.warnings}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
