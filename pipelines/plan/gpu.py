"""Detect the GPU that the installed PyTorch can compute on.

PyTorch itself is asked. Where this process has loaded it, it is asked here; else a child process loads it, once: that
takes seconds, which the page does not wait for, since `ask_ahead` begins while other modules are imported. Where the
build or the absence of a driver leaves no doubt, nobody is asked.
"""

import ctypes
import json
import os
import platform
import runpy
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from pipelines.plan.settings import SettingsError, process_settings

ZERO_GPU = "ZeroGPU"
_ROOT = Path(__file__).resolve().parents[2]
_CHILD_S = 120  # a cold disk may need a minute for PyTorch's libraries


class GpuNote(StrEnum):
    """Why a GPU isn't used, or what to know of it."""

    OLD_DRIVER = "old_driver"
    OLD_CARD = "old_card"
    NEW_CARD = "new_card"
    AMD_CARD = "amd_card"
    CPU_BUILD = "cpu_build"
    NO_CARD = "no_card"
    UNTRIED = "untried"


TEXTS = {
    GpuNote.OLD_DRIVER: "Clips are made on the CPU: the NVIDIA driver here knows CUDA {driver}, and this PyTorch is "
    "built for CUDA {build}. Update the driver, or install a PyTorch that is built for CUDA {driver_major}.",
    # Builds for CUDA 12.6 have code for 5.0 to 9.0, those for 12.8 from 7.0, those for 13.0 from 7.5 on.
    GpuNote.OLD_CARD: "Clips are made on the CPU: this PyTorch has no code for the {card} (compute capability "
    "{capability}), only for {codes}. Install one that is built for CUDA 12.6, which has code for older cards, too.",
    GpuNote.NEW_CARD: "Clips are made on the CPU: this PyTorch has no code for the {card} (compute capability "
    "{capability}), only for {codes}. Install one that is built for a newer CUDA.",
    GpuNote.AMD_CARD: "Clips are made on the CPU: this PyTorch has no code for the {card} ({capability}), only for "
    "{codes}. Install one whose ROCm knows it.",
    GpuNote.CPU_BUILD: "Clips are made on the CPU: there is an NVIDIA driver, but this PyTorch is built for the CPU "
    "alone. Install one that is built for CUDA.",
    GpuNote.NO_CARD: "Clips are made on the CPU: there is an NVIDIA driver, but PyTorch finds no card to use.",
    GpuNote.UNTRIED: "Clips are made on the {card}, a kind of GPU on which nobody has tried this studio yet. What it "
    "lacks is computed on the CPU; STUDIO_DEVICE=cpu computes everything there.",
}
"""What to say of each, with places for `Gpu.details`."""


@dataclass(frozen=True)
class Gpu:
    """The device this machine computes on, and a note about it.

    Args:
        kind: "cuda" (AMD's ROCm, too), "xpu" (Intel), "mps" (Apple), or "cpu".
        dtype: The number type for a GPU: "bfloat16" or "float16"; "" on the CPU, where it is measured.
        name: The card, as its maker calls it; empty on the CPU.
        note: Something to tell people, or None.
        details: The values of the note's text.
    """

    kind: str = "cpu"
    dtype: str = ""
    name: str = ""
    note: GpuNote | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The note in English; empty if there is none."""
        return TEXTS[self.note].format(**self.details) if self.note else ""


CPU = Gpu()
_ONLY_THEIR_OWN = ((5, 3), (6, 2), (7, 2), (8, 7))  # the chips of Jetson boards run no code of their generation's cards


def find_gpu() -> Gpu:
    """Find the device; may take seconds where torch isn't loaded.

    On ZeroGPU the card appears only inside a call, so nobody is asked; all its kinds know bf16.
    """
    if os.environ.get("SPACES_ZERO_GPU"):
        return Gpu("cuda", "bfloat16", ZERO_GPU)
    if process_settings().device == "cpu":
        return CPU
    torch = sys.modules.get("torch")
    if torch is not None and not getattr(torch.__spec__, "_initializing", False):
        return ask_torch(torch)
    return _from_child().result()


def ask_ahead() -> None:
    """Start looking for `find_gpu`'s answer in the background, if slow."""
    with suppress(SettingsError):  # which are told where the start checks them
        if not os.environ.get("SPACES_ZERO_GPU") and process_settings().device != "cpu" and "torch" not in sys.modules:
            _from_child()


def ask_torch(torch: ModuleType) -> Gpu:
    """Ask torch for a usable CUDA card, another GPU, or the CPU.

    Args:
        torch: The module; tests give a stand-in.
    """
    if torch.cuda.is_available():
        try:
            return _cuda_card(torch)
        except (RuntimeError, AssertionError):  # taken by another program for itself, or lost since
            return Gpu(note=GpuNote.NO_CARD)
    xpu, mps = getattr(torch, "xpu", None), getattr(torch.backends, "mps", None)
    if xpu is not None and xpu.is_available():
        dtype = "bfloat16" if xpu.is_bf16_supported() else "float16"
        return _untried("xpu", dtype, str(xpu.get_device_name(0)))
    if mps is not None and mps.is_available():
        return _untried("mps", "float16", _apple_chip())
    return _why_none(torch.version.cuda, is_for_cpu=_is_cpu_build(vars(torch.version)))


def _cuda_card(torch: ModuleType) -> Gpu:
    name, codes = str(torch.cuda.get_device_name(0)), torch.cuda.get_arch_list()
    if torch.version.hip:
        chip = str(torch.cuda.get_device_properties(0).gcnArchName).partition(":")[0]
        has_code, capability, note = any(_is_amd_code(code, chip) for code in codes), chip, GpuNote.AMD_CARD
    else:
        major, minor = torch.cuda.get_device_capability(0)
        has_code = any(_is_cuda_code(code, (major, minor)) for code in codes)
        is_newer = all(_numbers_of(code) < (major, minor) for code in codes)
        capability, note = f"{major}.{minor}", GpuNote.NEW_CARD if is_newer else GpuNote.OLD_CARD
    if codes and not has_code:  # a build that does not say what it is made for is trusted
        details = {"card": name, "capability": capability, "codes": ", ".join(map(_version_of, codes))}
        return Gpu(note=note, details=details)
    modern = torch.cuda.is_bf16_supported(including_emulation=False)
    return Gpu("cuda", "bfloat16" if modern else "float16", name)


def _is_cuda_code(code: str, capability: tuple[int, int]) -> bool:
    """Tell whether a card of this capability runs the code.

    "sm_86" runs within its major version from there on, "compute_86" (PTX) on all newer ones.

    Example:
        >>> [_is_cuda_code(code, (8, 9)) for code in ("sm_75", "sm_86", "sm_90", "compute_80", "sm_89a", "sm_80a")]
        [False, True, False, True, True, False]
    """
    built = _numbers_of(code)
    if code.startswith("compute_") and not code.endswith("a"):
        return built <= capability
    if code.endswith("a") or capability in _ONLY_THEIR_OWN:
        return built == capability
    return built[0] == capability[0] and built <= capability


def _is_amd_code(code: str, chip: str) -> bool:
    """Tell whether an AMD chip runs code of its name or "gfx11-generic"."""
    return chip == code or (code.endswith("-generic") and chip.startswith(code.split("-")[0]))


def _numbers_of(code: str) -> tuple[int, int]:
    """Parse a compute capability: "sm_86" and "compute_86" give (8, 6)."""
    digits = code.partition("_")[2].rstrip("af")
    return divmod(int(digits), 10) if digits.isdecimal() else (0, 0)


def _version_of(code: str) -> str:
    """Format a compute capability: "sm_86" is 8.6."""
    major, minor = _numbers_of(code)
    return f"{major}.{minor}" if major else code


def _untried(kind: str, dtype: str, name: str) -> Gpu:
    return Gpu(kind, dtype, name, GpuNote.UNTRIED, {"card": name})


def _apple_chip() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return f"{done.stdout.strip()} GPU"
    return "Apple GPU"


def _why_none(cuda_build: str | None, *, is_for_cpu: bool) -> Gpu:
    """Return the CPU, with a reason if NVIDIA cards can't be used."""
    driver = _nvidia_driver()
    if not driver or os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return CPU
    if is_for_cpu:
        return Gpu(note=GpuNote.CPU_BUILD)
    if not cuda_build:
        return CPU  # built for AMD or Intel, whose cards are not here
    # Within a major version any driver runs any build.
    if driver // 1000 < int(cuda_build.partition(".")[0]):
        driver_cuda, major = f"{driver // 1000}.{driver % 1000 // 10}", str(driver // 1000)
        return Gpu(note=GpuNote.OLD_DRIVER, details={"driver": driver_cuda, "driver_major": major, "build": cuda_build})
    return Gpu(note=GpuNote.NO_CARD)


def _nvidia_driver() -> int:
    """Return the driver's newest CUDA, 12040 for 12.4; 0 without one."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"  # WSL2 has the latter, too
    try:
        driver, version = ctypes.CDLL(name), ctypes.c_int()
        return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def _build_of_torch() -> Mapping[str, object]:
    """Read what PyTorch is built for, without loading it; may be empty."""
    spec = find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        with suppress(OSError, SyntaxError):
            return runpy.run_path(str(Path(folder) / "version.py"))
    return {}


def _is_cpu_build(build: Mapping[str, object]) -> bool:
    return not any(build.get(kind) for kind in ("cuda", "hip", "xpu"))


def _known_without_asking() -> Gpu | None:
    """Return the answer where PyTorch need not be loaded."""
    build = _build_of_torch()
    if sys.platform == "darwin":
        return None if platform.machine() == "arm64" else CPU
    if _is_cpu_build(build):
        return _why_none(None, is_for_cpu=bool(build))
    if build.get("cuda") and not _nvidia_driver():
        return CPU
    return None


_child: list["Future[Gpu]"] = []
_child_lock = threading.Lock()


def _from_child() -> "Future[Gpu]":
    """Return the answer of a child that loads torch, one per process."""
    with _child_lock:
        if not _child:
            _child.append(Future())
            if (answer := _known_without_asking()) is not None:
                _child[0].set_result(answer)
            else:
                threading.Thread(target=lambda: _child[0].set_result(_ask_child()), name="ask-gpu", daemon=True).start()
        return _child[0]


def _ask_child(command: Sequence[str] = (sys.executable, "-m", "pipelines.plan.gpu")) -> Gpu:
    """Run the child process; the CPU where torch can't be loaded."""
    with suppress(OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError):
        done = subprocess.run(
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CHILD_S, check=True
        )
        reply = json.loads(done.stdout.splitlines()[-1])
        return Gpu(**reply | {"note": reply["note"] and GpuNote(reply["note"])})
    return CPU


if __name__ == "__main__":
    import torch as _torch

    print(json.dumps(asdict(ask_torch(_torch))))  # noqa: T201 - the parent reads it
