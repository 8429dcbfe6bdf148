"""This machine's device, memory and measured rates, without loading torch."""

import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Annotated, Literal, NamedTuple

import psutil
from pydantic import Field, TypeAdapter

from pipelines.plan.cache import cache_folder
from pipelines.plan.gpu import find_gpu
from pipelines.plan.settings import process_settings

ZERO_GPU_BYTES = 48e9
"""The smaller of the cards that ZeroGPU lends; they show up only inside a call."""

QUOTA_FACTOR = 1.5
"""A second of the device costs a visitor so many of quota, as `spaces` counts for the cards that are lent today."""

TURN_MARGIN_S = 6
"""A turn on ZeroGPU ends so much before the device is taken away: a step more, and what is kept of the run."""

KEPT_CLIPS = 10

_CGROUP = Path("/sys/fs/cgroup")


class Machine(NamedTuple):
    """Where clips are made."""

    kind: str  # "zerogpu", or as `Gpu` has it
    dtype: str  # as `Device` has it; the likeliest one while it is not decided
    threads: int  # of the CPU; 0 where a GPU computes

    @property
    def name(self) -> str:
        """Key of its measurements."""
        return " ".join(map(str, self))


@dataclass
class Measured:
    """Seconds a unit of work by machine and task; last clip's models."""

    format: Literal[3] = 3
    rates: dict[str, dict[str, list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]]] = field(default_factory=dict)
    process: int = 0
    models: str = ""


_MEASURED = TypeAdapter(Measured)


def this_machine() -> Machine:
    """Describe the machine as `engine/device.py` decided or likely will."""
    dtype, gpu = process_settings().dtype, find_gpu()
    if gpu.kind != "cpu":
        kind = "zerogpu" if os.environ.get("SPACES_ZERO_GPU") else gpu.kind
        return Machine(kind, dtype or gpu.dtype, 0)
    try:
        cached = json.loads((cache_folder() / "device.json").read_text())
        measured = Machine("cpu", str(cached["dtype"]), int(cached["threads"]))
    except (OSError, ValueError, KeyError, TypeError):
        measured = Machine("cpu", "float32", 1)
    return Machine("cpu", dtype or measured.dtype, process_settings().threads or measured.threads)


def device_bytes(machine: Machine) -> float | None:
    """Return the device memory this program may have; None if unknown.

    What it holds is included. A card is asked by torch, if that has been loaded: to load it would cost seconds.
    """
    if machine.kind in ("cpu", "zerogpu"):
        return ram_bytes() if machine.kind == "cpu" else ZERO_GPU_BYTES
    torch = sys.modules.get("torch")
    try:
        if torch and machine.kind == "mps":  # of the memory that it shares with the CPU; more makes the system swap
            return float(torch.mps.recommended_max_memory())
        card = getattr(torch, machine.kind)
        return float(card.mem_get_info()[0] + card.memory_reserved()) if card.is_initialized() else None
    except (AttributeError, RuntimeError):  # not or half imported, or the card is gone
        return None


def ram_bytes() -> float:
    """Return the memory free within the container's limit, plus our own."""
    free = float(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no container, or one without limit: "max" is no number
        limit, used = (float((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = re.search(r"^inactive_file (\d+)$", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
        free = min(free, limit - used + float(cached[1] if cached else 0))
    return free + psutil.Process().memory_info().rss


def read_rates(machine: Machine) -> dict[str, float]:
    """Read the tasks' median rates; empty before a first clip.

    So one clip beside a busy neighbour changes nothing. Of two the faster one counts: what disturbs only makes slower.
    """
    return {name: median_low(rates) for name, rates in _read().rates.get(machine.name, {}).items() if rates}


def models_in_memory(machine: Machine) -> str:
    """Name the last clip's models if this process made it.

    On ZeroGPU none are: each lease is another process.
    """
    last = _read()
    return last.models if last.process == os.getpid() and machine.kind != "zerogpu" else ""


def record(machine: Machine, models: str, rates: Mapping[str, float]) -> None:
    """Save a clip's rates with the last ones; failure is ignored."""
    rates_by_machine = _read().rates
    last = rates_by_machine.setdefault(machine.name, {})
    for name, rate in rates.items():
        last[name] = [*last.get(name, []), rate][-KEPT_CLIPS:]
    part = _path().with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # a full disk, or a folder that can't be written
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(_MEASURED.dump_json(Measured(rates=rates_by_machine, process=os.getpid(), models=models)))
        part.replace(_path())


def _read() -> Measured:
    try:
        return _MEASURED.validate_json(_path().read_bytes(), strict=True)
    except (OSError, ValueError):  # none, damaged, or of another version
        return Measured()


def _path() -> Path:
    return cache_folder() / "runs.json"
