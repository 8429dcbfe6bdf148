"""Choose device, number type and threads by a short measurement.

On a shared 2-core machine torch's default of two threads was measured up to seven times slower than one, and 26 %
faster where nothing else ran; bf16 is faster only on CPUs with AMX or AVX512-bf16. So both are timed on a UNet of the
embedded model's size, in turns, and the choice is kept in the cache folder: the same machine then always computes the
same way, and a recipe gives the same frames. What was measured beside other work is measured again at a later start.
"""

import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import psutil
import torch
from diffusers import UNetMotionModel

from pipelines.plan.cache import cache_folder
from pipelines.plan.gpu import find_gpu
from pipelines.plan.settings import process_settings

#: bf16 must be this much faster than fp32 to be worth its rounding.
WORTHWHILE = 1.15
#: bf16 that takes so many times as long on one frame is not timed on more: without its instructions it was 6 times
#: there, and 11 times on eight frames, half a minute for all.
_HOPELESS = 3
_MEASURE = 3  # raised when the measurement may answer otherwise, so that kept answers to an older one are not taken
#: Each candidate has so many turns, of which the fastest counts: one after the other, a busy second met one alone.
_ROUNDS = 5
#: A candidate that took so many times as long as the best has no more turns. More threads beside busy cores take ten.
_BEHIND = 2
#: CPU time of others during the measurement, in cores, above which it is taken again at a later start.
_BUSY = 0.25
#: So many measurements on a machine that is always busy; the last one stays.
_MOST_MEASUREMENTS = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """How this machine computes.

    Args:
        kind: As torch spells it: "cuda", "xpu", "mps" or "cpu".
        dtype: "float32", "bfloat16" or "float16".
        threads: CPU threads torch uses.
    """

    kind: str
    dtype: str
    threads: int

    @property
    def torch_dtype(self) -> torch.dtype:
        """The torch type behind `dtype`."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


def choose_device() -> Device:
    """Choose this machine's device; without a GPU the first call measures briefly.

    The operator's `STUDIO_DTYPE` and `STUDIO_THREADS` overrule the measurement; where both are set there is none.
    """
    overrides = process_settings()
    if overrides.dtype and overrides.threads and find_gpu().kind == "cpu":
        device = Device("cpu", overrides.dtype, overrides.threads)
    else:
        device = _choose()
    effective = Device(device.kind, overrides.dtype or device.dtype, overrides.threads or device.threads)
    torch.set_num_threads(effective.threads)
    return effective


def device_name() -> str:
    """Return the processor's product name; on ZeroGPU the card inside a call."""
    return find_gpu().name or _processor()


def _choose() -> Device:
    gpu = find_gpu()
    if gpu.kind != "cpu":
        return Device(gpu.kind, gpu.dtype, torch.get_num_threads())
    path = cache_folder() / "device.json"
    machine = f"{_processor()} x{_cores()} torch {torch.__version__} measure {_MEASURE}"
    stored, before = _stored(path, machine)
    if stored:
        return stored
    with _others_cpu() as load:
        device = _measure()
    is_busy = load.cores > _BUSY
    _log.info(
        "Computing with %s and %d of %d threads, as measured%s",
        device.dtype,
        device.threads,
        _cores(),
        ", beside other programs" if is_busy else "",
    )
    measured = {"machine": machine, **asdict(device), "busy_measurements": before + 1 if is_busy else 0}
    part = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # a folder that can't be written costs a measurement at every start
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(measured))
        part.replace(path)
    return device


def _stored(path: Path, machine: str) -> tuple[Device | None, int]:
    """Read a stored choice and the count of its busy measurements.

    None where it is to be measured.
    """
    try:
        stored = json.loads(path.read_text())
        if stored["machine"] != machine:
            return None, 0
        busy = int(stored["busy_measurements"])
        device = Device(stored["kind"], stored["dtype"], int(stored["threads"]))
    except (OSError, ValueError, KeyError, TypeError):  # no cache, or another version's
        return None, 0
    return (None if 0 < busy < _MOST_MEASUREMENTS else device), busy


@dataclass
class _OthersCpu:
    """CPU time that other programs took meanwhile, in cores."""

    cores: float = 0.0


@contextmanager
def _others_cpu() -> Iterator[_OthersCpu]:
    """Measure what other programs take of the CPU inside."""
    load, start = _OthersCpu(), time.monotonic()
    before, own_before = psutil.cpu_times(), time.process_time()
    yield load
    after, seconds = psutil.cpu_times(), max(time.monotonic() - start, 1e-3)
    busy = sum(after) - sum(before) - (after.idle - before.idle) - _waited(after) + _waited(before)
    load.cores = max(0.0, busy - (time.process_time() - own_before)) / seconds


def _waited(times: object) -> float:
    """Sum the times that are no work of this system's programs."""
    return sum(getattr(times, name, 0.0) for name in ("iowait", "guest", "guest_nice"))


def _cores() -> int:
    """Count CPUs this process may use; macOS and Windows report all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _measure() -> Device:
    cores = _cores()
    candidates = sorted({1, max(1, cores // 2), cores})
    before = torch.get_num_threads()
    unet = _unet()
    seconds: dict[tuple[str, int], float] = {}
    try:
        trial = [_seconds(unet, dtype, 1, frames=1, passes=2) for dtype in (torch.float32, torch.bfloat16)]
        dtypes = ("float32", "bfloat16")[: 1 if trial[1] > _HOPELESS * trial[0] else 2]
        for _ in range(_ROUNDS):
            for dtype, threads in product(dtypes, candidates):
                so_far = seconds.get((dtype, threads), 0.0)
                if so_far > _BEHIND * min(seconds.values(), default=float("inf")):
                    continue
                took = _seconds(unet, getattr(torch, dtype), threads)
                seconds[dtype, threads] = min(took, so_far or took)
    finally:
        torch.set_num_threads(before)
    best = {dtype: min(candidates, key=lambda n: seconds[dtype, n]) for dtype in dtypes}
    times = {dtype: seconds[dtype, best[dtype]] for dtype in dtypes}
    dtype = "bfloat16" if times["float32"] > WORTHWHILE * times.get("bfloat16", float("inf")) else "float32"
    return Device("cpu", dtype, best[dtype])


def _unet() -> UNetMotionModel:
    """Build a random UNet of the embedded model's size, typical CPU work."""
    return UNetMotionModel(
        sample_size=16,
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "CrossAttnUpBlockMotion", "UpBlockMotion"),
        block_out_channels=(32, 96, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        norm_num_groups=4,
        num_attention_heads=4,
        motion_num_attention_heads=4,
    ).eval()


@torch.no_grad()
def _seconds(unet: UNetMotionModel, dtype: torch.dtype, threads: int, *, frames: int = 8, passes: int = 1) -> float:
    """Time the fastest of some guided passes, in seconds."""
    torch.set_num_threads(threads)
    unet = torch.nn.Module.to(unet, dtype)  # diffusers' own warns of layers that this one has not
    sample, states = torch.zeros(2, 4, frames, 16, 16, dtype=dtype), torch.zeros(2 * frames, 77, 128, dtype=dtype)
    best = float("inf")
    for _ in range(passes):
        start = time.perf_counter()
        unet(sample, torch.tensor(500), encoder_hidden_states=states)
        best = min(best, time.perf_counter() - start)
    return best
