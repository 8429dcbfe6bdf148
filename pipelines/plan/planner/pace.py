"""This machine's pace, fitted to the times of its last clips.

A clip's time is that of loading, of the UNet, of the VAE and of all `tasks.py` lists. The UNet's is taken for a sum
of operations and calls. A rate of operations alone would not do: with the demo model one core did about 100 GFLOP/s in
layers and 12 in attention, and spent 0.05 s of every call beside them. The VAE has one rate of operations, and each
task one of pixels.

Of the last clips the median counts, so that one beside a busy neighbour changes nothing; of two the faster one, since
what disturbs a clip only ever makes it slower.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import median_low

import numpy as np
from pydantic import TypeAdapter

from pipelines.plan.cache import cache_folder
from pipelines.plan.choices import OutputFormat
from pipelines.plan.events import Stage
from pipelines.plan.planner.costs import Amount, Cost
from pipelines.plan.planner.machine import Machine
from pipelines.plan.planner.tasks import (
    COLORS,
    READ,
    WITHOUT_NETWORKS,
    Task,
    finish_task,
    fit_task,
    preprocess_task,
    tasks_of,
    write_task,
)
from pipelines.plan.request import GenerationRequest

KEPT_RUNS = 10
"""Of each kind of model on each way to compute."""
_FILE = "runs.json"
_FORMAT = 2
_PULL = 0.05  # of what is assumed, beside 1 for each run's relative error
_OUTLIER = 2.0  # times as slow or fast as most

Rates = tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """Measured times of a finished clip.

    Args:
        cost: What it was.
        models: What was in memory for it.
        process: The process that made it.
        loaded: Whether its models were read for it.
        load_s, denoise_s, drawing_s: Seconds until the models were there, of the steps, and of the VAE.
        rates: Seconds a pixel of the tasks that it had, by name.
    """

    cost: Cost
    models: str
    process: int
    loaded: bool
    load_s: Amount
    denoise_s: Amount
    drawing_s: Amount
    rates: Mapping[str, Amount] = field(default_factory=dict)


_RUN = TypeAdapter(Run)


@dataclass(frozen=True)
class Pace:
    """Seconds for what a clip takes.

    Args:
        denoise: For an operation of layers, one of attention, and a call of the UNet.
        drawing: For an operation of the VAE.
        load_s: Until models are there that are not in memory.
        ready_s: Until they are found to be there.
        is_rough: Whether nothing was measured with this kind of model.
        kind: Of the machine.
        rates: For a pixel of each task that was measured.
    """

    denoise: Rates
    drawing: Rates
    load_s: float
    ready_s: float
    is_rough: bool
    kind: str = "cpu"
    rates: Mapping[str, float] = field(default_factory=dict)

    def engine_seconds(self, cost: Cost, *, loaded: bool) -> dict[Stage, float]:
        """Estimate each stage's seconds for the engine's networks.

        Args:
            loaded: Whether the models are in memory.
        """
        return {
            Stage.LOAD: self.ready_s if loaded else self.load_s,
            Stage.ENCODE: self.drawing[0] * cost.reading_flops,
            Stage.DENOISE: _dot(self.denoise, cost.denoise_terms),
            Stage.DECODE: self.drawing[0] * cost.drawing_flops,
        }

    def task_seconds(self, task: Task) -> float:
        """Estimate a task's seconds by its measured or assumed rate."""
        rate = self.rates.get(task.name)
        return task.pixels * (_assumed_rate(task.name, self.kind) if rate is None else rate)


ASSUMED = {
    kind: Pace((1 / layers, 1 / attention, call_s), (1 / vae,), load_s, ready_s, is_rough=True, kind=kind)
    for kind, layers, attention, call_s, vae, load_s, ready_s in (
        ("cpu", 100e9, 12e9, 0.055, 70e9, 4.0, 0.1),
        ("cuda", 40e12, 40e12, 0.05, 40e12, 10.0, 0.2),
        ("xpu", 15e12, 15e12, 0.1, 15e12, 10.0, 0.2),
        ("mps", 3e12, 3e12, 0.1, 3e12, 10.0, 0.2),
        ("zerogpu", 150e12, 150e12, 0.05, 100e12, 15.0, 1.0),
    )
}
"""By kind of device, before a clip was made on it. For GPUs they are assumed, not measured."""

_RATES = {
    READ: 3e-8,
    COLORS: 2.5e-7,
    "between flow": 1e-6,
    "enlarge lanczos": 1.5e-8,
    **dict.fromkeys(map(preprocess_task, WITHOUT_NETWORKS), 5e-8),
    # Encoders have threads of their own: most of what they take is seen behind the last frame.
    **{write_task(kind): 1e-8 for kind in (OutputFormat.MP4, OutputFormat.WEBM, OutputFormat.GIF)},
    write_task(OutputFormat.PNG): 2.5e-7,
    finish_task(OutputFormat.PNG): 0.0,
    fit_task(OutputFormat.MP4): 4e-7,
    fit_task(OutputFormat.WEBM): 6e-7,
    fit_task(OutputFormat.WEBP): 1e-6,
    fit_task(OutputFormat.GIF): 1e-6,
}
"""Seconds a pixel before a task was measured here, from one clip of 31 × 512 × 512 on a busy core; a search takes up to
six encodings."""
_USUAL_RATE = 5e-8
_NETWORK_RATES = {"preprocess": (1e-5, 1e-7), "between": (5e-5, 4e-7), "enlarge": (3e-4, 2e-6)}
"""The same of networks, assumed on a CPU and on a GPU; by the first word of the task."""


def record(machine: Machine, kind: str, run: Run) -> None:
    """Save a clip's times with the last ones; failure is ignored.

    Args:
        kind: Which of the tables of costs its model has.
    """
    runs_by_name = _read()
    name = f"{machine.name} {kind}"
    runs_by_name[name] = [*runs_by_name.get(name, []), _RUN.dump_python(run, mode="json")][-KEPT_RUNS:]
    path = cache_folder() / _FILE
    part = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # a full disk, or a folder that can't be written
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"format": _FORMAT, "runs": runs_by_name}))
        part.replace(path)


def read_runs(machine: Machine, kind: str) -> list[Run]:
    """Read a model kind's last runs here, oldest first, skipping invalid ones."""
    return _runs(_read().get(f"{machine.name} {kind}", []))


def _runs(entries: Sequence[object]) -> list[Run]:
    runs = []
    for entry in entries[-KEPT_RUNS:]:
        with suppress(ValueError):
            runs.append(_RUN.validate_json(json.dumps(entry), strict=True))
    return runs


def pace_of(machine: Machine, kind: str) -> Pace:
    """Fit the machine's pace for a kind of model, or assume it.

    Tasks are the same whatever model the frames come from, so their rates are those of all clips on the machine.
    """
    runs_by_name = {name: _runs(entries) for name, entries in _read().items() if name.startswith(f"{machine.name} ")}
    measured: dict[str, list[float]] = {}
    for name, rate in (item for runs in runs_by_name.values() for run in runs for item in run.rates.items()):
        measured.setdefault(name, []).append(rate)
    rates = {name: median_low(samples) for name, samples in measured.items()}
    return replace(fitted(ASSUMED[machine.kind], runs_by_name.get(f"{machine.name} {kind}", [])), rates=rates)


def _assumed_rate(name: str, kind: str) -> float:
    task = name.partition(" ")[0]
    # On ZeroGPU frames are finished without the device.
    on_gpu = kind in ("cuda", "xpu", "mps") or (kind == "zerogpu" and task == "preprocess")
    return _RATES.get(name, _NETWORK_RATES.get(task, (_USUAL_RATE, _USUAL_RATE))[on_gpu])


def fitted(assumed: Pace, runs: Sequence[Run]) -> Pace:
    """Blend assumed and measured pace: more runs, less assumption.

    One run scales what was assumed; several, if they differ, tell its parts from one another.
    """
    if not runs:
        return assumed
    loads = [run.load_s for run in runs if run.loaded]
    ready = [run.load_s for run in runs if not run.loaded]
    return replace(
        assumed,
        denoise=_fit(assumed.denoise, [(run.cost.denoise_terms, run.denoise_s) for run in runs]),
        drawing=_fit(assumed.drawing, [(run.cost.drawing_terms, run.drawing_s) for run in runs]),
        load_s=median_low(loads) if loads else assumed.load_s,
        ready_s=median_low(ready) if ready else assumed.ready_s,
        is_rough=False,
    )


def models_of(request: GenerationRequest) -> str:
    """Name the models of a request in one comparable line."""
    steering = (*(unit.model for unit in request.controls), *(prompt.model for prompt in request.image_prompts))
    finishing = [task.name for task in tasks_of(request) if task.name.startswith(("between ", "enlarge "))]
    return " ".join((request.base_model, request.motion_module, request.vae, *steering, *finishing))


def in_memory(runs: Sequence[Run], models: str) -> bool:
    """Tell whether this process made the last clip with these models."""
    return bool(runs) and runs[-1].process == os.getpid() and runs[-1].models == models


def _fit(assumed: Rates, measured: Sequence[tuple[Rates, float]]) -> Rates:
    """Fit rates by regularised least squares of the relative errors."""
    usable = [(terms, seconds) for terms, seconds in measured if seconds > 0 and _dot(assumed, terms) > 0]
    if not usable:
        return assumed
    slower = median_low(seconds / _dot(assumed, terms) for terms, seconds in usable)
    scaled = np.array(assumed) * slower
    inliers = [
        np.array(terms) * scaled / seconds
        for terms, seconds in usable
        if 1 / _OUTLIER <= _dot(assumed, terms) * slower / seconds <= _OUTLIER
    ]
    rows = np.array([*inliers, *(math.sqrt(_PULL) * np.eye(len(scaled)))])
    aims = np.array([*[1.0] * len(inliers), *[math.sqrt(_PULL)] * len(scaled)])
    solved = np.linalg.lstsq(rows, aims, rcond=None)[0]
    return tuple((np.maximum(solved, 0.05) * scaled).tolist())  # no part of the time is negative


def _dot(rates: Rates, terms: Rates) -> float:
    return sum(rate * term for rate, term in zip(rates, terms, strict=True))


def _read() -> dict[str, list[object]]:
    """Read the file's entries; empty if damaged or of another version."""
    try:
        content = json.loads((cache_folder() / _FILE).read_text("utf-8"))
        runs = content["runs"] if content["format"] == _FORMAT else {}
        return {str(name): entries for name, entries in runs.items() if isinstance(entries, list)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
