"""This machine's device and memory, without loading torch.

`device.py` decides; here is what is known of its decision without asking for it.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.plan.cache import cache_folder
from pipelines.plan.gpu import find_gpu
from pipelines.plan.settings import process_settings

ZERO_GPU_BYTES = 48e9
"""The smaller of the cards that ZeroGPU lends; they show up only inside a call."""

QUOTA_FACTOR = 1.5
"""A second of the device costs a visitor so many of quota, as `spaces` counts for the cards that are lent today."""

TURN_MARGIN_S = 6
"""A turn on ZeroGPU ends so much before the device is taken away: a step more, and what is kept of the run."""

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """Where clips are made.

    Args:
        kind: "zerogpu", or as `Gpu` has it.
        dtype: The number type, as `Device` has it; the likeliest one while it is not decided.
        threads: Of the CPU; 0 where a GPU computes.
    """

    kind: str
    dtype: str
    threads: int

    @property
    def name(self) -> str:
        """Key of the machine's measurements."""
        return f"{self.kind} {self.dtype} {self.threads}"

    @property
    def bytes_a_value(self) -> int:
        """Of a number in weights and activations."""
        return 4 if self.dtype == "float32" else 2


def this_machine() -> Machine:
    """Describe the machine as `choose_device` has it or will."""
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

    What it holds is included. A card is asked by torch, if that has been loaded: to load it for this would cost
    seconds.
    """
    if machine.kind in ("cpu", "zerogpu"):
        return ram_bytes() if machine.kind == "cpu" else ZERO_GPU_BYTES
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    try:
        if machine.kind == "mps":  # of the memory that it shares with the CPU; more makes the system swap
            return float(torch.mps.recommended_max_memory())
        card = getattr(torch, machine.kind)
        return float(card.mem_get_info()[0] + card.memory_reserved()) if card.is_initialized() else None
    except (AttributeError, RuntimeError):  # half imported, or the card is gone
        return None


def ram_bytes() -> float:
    """Return the memory free within the container's limit, plus our own."""
    return min(psutil.virtual_memory().available, _left_in_container()) + psutil.Process().memory_info().rss


def _left_in_container() -> float:
    """Return a container's memory left, file cache included; infinite without limit."""
    try:
        limit = float((_CGROUP / "memory.max").read_text())  # "max" is no number
        used = float((_CGROUP / "memory.current").read_text())
        counts = (line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        cached = next((float(value) for name, value in counts if name == "inactive_file"), 0.0)
    except (OSError, ValueError):
        return float("inf")
    return limit - used + cached
