"""Choose device, number type and threads by a short measurement.

On a shared 2-core machine torch's default of two threads was measured up to seven times slower than one;
bf16 is faster only on CPUs with AMX or AVX512-bf16. So both are timed once on a UNet of the embedded model's
size, and the choice is kept in the cache folder: the same machine then always computes the same way, and a
recipe gives the same frames.
"""

import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

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
_MEASURE = 2  # raised when the measurement may answer otherwise, so that kept answers to an older one are not taken


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
    try:
        cached = json.loads(path.read_text())
        if cached.pop("machine") == machine:
            return Device(**cached)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no cache, or another version's
    device = _measure()
    part = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # a folder that can't be written costs a measurement at every start
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"machine": machine, **asdict(device)}))
        part.replace(path)
    return device


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
        for dtype, threads in product(dtypes, candidates):
            # More threads beside busy cores take ten times as long.
            enough_s = 2 * min(seconds.values(), default=float("inf"))
            seconds[dtype, threads] = _seconds(unet, getattr(torch, dtype), threads, enough_s=enough_s)
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
def _seconds(
    unet: UNetMotionModel,
    dtype: torch.dtype,
    threads: int,
    *,
    frames: int = 8,
    passes: int = 3,
    enough_s: float = float("inf"),
) -> float:
    """Time the fastest guided pass, in seconds; stop after a slow one."""
    torch.set_num_threads(threads)
    unet = torch.nn.Module.to(unet, dtype)  # diffusers' own warns of layers that this one has not
    sample, states = torch.zeros(2, 4, frames, 16, 16, dtype=dtype), torch.zeros(2 * frames, 77, 128, dtype=dtype)
    best = float("inf")
    for _ in range(passes):
        start = time.perf_counter()
        unet(sample, torch.tensor(500), encoder_hidden_states=states)
        best = min(best, time.perf_counter() - start)
        if best > enough_s:
            break
    return best
