"""Which GPU is computed on: torch's own calls, stood in for by what real machines answer."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.plan import catalog, gpu
from pipelines.plan.gpu import CPU, Gpu, GpuNote, ask_torch, find_gpu
from pipelines.plan.planner.machine import device_bytes, this_machine
from ui.gpu_line import gpu_html

ROOT = Path(__file__).resolve().parents[2]
CU130 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")  # of the wheel that requirements.txt names
CARD = ("NVIDIA GeForce RTX 3060", (8, 6))
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
ROCM = ("gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1101")


def machine(
    *,
    cuda: str | None = "13.0",
    hip: str | None = None,
    card: tuple[str, Any] | None = None,
    codes: tuple[str, ...] = CU130,
    xpu: str = "",
    mps: bool = False,
) -> Any:
    """A torch on a machine: what it is built for, its NVIDIA or AMD card with its version, an Intel card, Metal."""
    name, version = card or ("", (0, 0))

    def needs_card(answer: Any) -> Any:
        def call(_: int = 0, **__: Any) -> Any:
            if card is None:
                raise RuntimeError("Found no NVIDIA driver on your system.")
            return answer

        return call

    return SimpleNamespace(
        __spec__=SimpleNamespace(_initializing=False),
        version=SimpleNamespace(cuda=cuda, hip=hip, xpu="20250101" if xpu else None),
        cuda=SimpleNamespace(
            is_available=lambda: card is not None,
            get_device_name=needs_card(name),
            get_device_capability=needs_card(version),
            get_device_properties=needs_card(SimpleNamespace(gcnArchName=f"{version}:sramecc+:xnack-")),
            get_arch_list=lambda: list(codes) if card else [],
            is_bf16_supported=lambda **_: bool(hip) or version >= (8, 0),
        ),
        xpu=SimpleNamespace(
            is_available=lambda: bool(xpu), get_device_name=lambda _: xpu, is_bf16_supported=lambda: True
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch, environment):
    for name in ("SPACES_ZERO_GPU", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    environment(STUDIO_DEVICE=None, DEFAULT_MODEL=None, STUDIO_DTYPE=None)
    monkeypatch.setattr(gpu, "_nvidia_driver", lambda: 0)
    monkeypatch.setattr(gpu, "_child", [])


@pytest.mark.parametrize(
    ("card", "dtype"),
    [
        (("Tesla T4", (7, 5)), "float16"),
        (("NVIDIA GeForce RTX 3060", (8, 6)), "bfloat16"),
        (("NVIDIA GeForce RTX 4090", (8, 9)), "bfloat16"),  # runs 8.6's code
        (("NVIDIA H200", (9, 0)), "bfloat16"),
        (("NVIDIA GeForce RTX 5090", (12, 0)), "bfloat16"),
    ],
)
def test_a_card_that_torch_has_code_for_is_computed_on(card, dtype):
    assert ask_torch(machine(card=card)) == Gpu("cuda", dtype, card[0])


@pytest.mark.parametrize(
    ("card", "codes", "note", "words"),
    [
        (("NVIDIA GeForce GTX 1080 Ti", (6, 1)), CU130, GpuNote.OLD_CARD, "6.1), only for 7.5, 8.0, 8.6, 9.0, 10.0"),
        (("Tesla V100-SXM2-16GB", (7, 0)), CU130, GpuNote.OLD_CARD, "(compute capability 7.0)"),
        (("NVIDIA GeForce RTX 5070", (12, 0)), CU126, GpuNote.NEW_CARD, "built for a newer CUDA"),
        (("Orin", (8, 7)), CU130, GpuNote.OLD_CARD, "no code for the Orin"),
    ],
)
def test_a_card_without_code_in_this_torch_leaves_the_cpu_and_says_why(card, codes, note, words):
    gpu = ask_torch(machine(card=card, codes=codes))
    assert (gpu.kind, gpu.note) == ("cpu", note)
    assert words in gpu.text
    assert card[0] in gpu.text


def test_code_for_virtual_chips_serves_newer_cards():
    assert ask_torch(machine(card=("of tomorrow", (13, 0)), codes=(*CU130, "compute_120"))).kind == "cuda"
    assert ask_torch(machine(card=("of tomorrow", (13, 0)), codes=(*CU130, "compute_120a"))).kind == "cpu"
    assert ask_torch(machine(card=("NVIDIA H100", (9, 0)), codes=("sm_90a",))).kind == "cuda"


def test_a_card_that_fails_when_it_is_asked_leaves_the_cpu():
    torch = machine(card=CARD)

    def fail(_: int) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")

    torch.cuda.get_device_capability = fail
    assert ask_torch(torch) == Gpu(note=GpuNote.NO_CARD)


def test_a_build_that_does_not_tell_is_trusted():
    assert ask_torch(machine(card=("NVIDIA GeForce GTX 1060", (6, 1)), codes=())).kind == "cuda"


@pytest.mark.parametrize(("chip", "kind"), [("gfx1100", "cuda"), ("gfx1030", "cuda"), ("gfx803", "cpu")])
def test_amd_s_cards_are_told_by_their_chips(chip, kind):
    gpu = ask_torch(machine(cuda=None, hip="6.4", card=("AMD Radeon", chip), codes=ROCM))
    assert gpu.kind == kind
    assert (chip in gpu.text) == (kind == "cpu")


def test_a_generic_build_for_amd_serves_its_generation():
    card = ("AMD Radeon RX 7600", "gfx1102")
    assert ask_torch(machine(cuda=None, hip="7.0", card=card, codes=("gfx9-4-generic", "gfx11-generic"))).kind == "cuda"


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        (machine(cuda=None, xpu="Intel(R) Arc(TM) A770"), ("xpu", "bfloat16", "Intel(R) Arc(TM) A770")),
        (machine(cuda=None, mps=True), ("mps", "float16", "Apple GPU")),
    ],
)
def test_intel_s_and_apple_s_gpus_are_computed_on_and_told_to_be_untried(torch, expected):
    gpu = ask_torch(torch)
    assert (gpu.kind, gpu.dtype, gpu.name) == expected
    assert gpu.text.startswith(f"Clips are made on the {gpu.name}, a kind of GPU on which nobody has tried")


@pytest.mark.parametrize(
    ("driver", "build", "hidden", "note"),
    [
        (12040, "13.0", None, GpuNote.OLD_DRIVER),
        (12040, "12.8", None, GpuNote.NO_CARD),  # within a major version any driver will do
        (13000, "13.0", None, GpuNote.NO_CARD),
        (12040, "13.0", "", None),
        (12040, "13.0", "-1", None),
        (0, "13.0", None, None),
        (12040, None, None, GpuNote.CPU_BUILD),
    ],
)
def test_why_an_nvidia_card_is_not_used(monkeypatch, driver, build, hidden, note):
    monkeypatch.setattr(gpu, "_nvidia_driver", lambda: driver)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    actual = ask_torch(machine(cuda=build))
    assert (actual.kind, actual.note) == ("cpu", note)
    if note is GpuNote.OLD_DRIVER:
        assert "knows CUDA 12.4, and this PyTorch is built for CUDA 13.0." in actual.text


def test_page_catalog_planner_and_engine_get_the_same_answer(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", machine(card=CARD))
    assert find_gpu().kind == "cuda"
    assert catalog.default_base_model().id == catalog.STABLE_DIFFUSION
    assert (this_machine().kind, this_machine().dtype) == ("cuda", "bfloat16")
    assert gpu_html() == ""
    monkeypatch.setitem(sys.modules, "torch", machine(card=("NVIDIA GeForce GTX 1080", (6, 1))))
    assert catalog.default_base_model().id == catalog.DEMO
    assert this_machine().kind == "cpu"
    assert "GTX 1080" in gpu_html()
    assert gpu_html("de").startswith(
        '<div class="told" role="status" aria-live="polite"><p>Clips entstehen auf der CPU'
    )


def test_the_operator_may_want_the_cpu(monkeypatch, environment):
    monkeypatch.setitem(sys.modules, "torch", machine(card=CARD))
    environment(STUDIO_DEVICE="cpu")
    assert find_gpu() == CPU


def test_on_zero_gpu_nobody_is_asked(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert (find_gpu().kind, this_machine().kind, catalog.default_base_model().id) == (
        "cuda",
        "zerogpu",
        catalog.STABLE_DIFFUSION,
    )


def test_where_torch_is_not_loaded_another_process_loads_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(gpu, "_known_without_asking", lambda: None)
    monkeypatch.setattr(gpu, "_ask_child", lambda: Gpu("cuda", "float16", "Tesla T4"))
    gpu.ask_ahead()
    assert find_gpu() == Gpu("cuda", "float16", "Tesla T4")
    assert "torch" not in sys.modules


def test_what_the_other_process_says_is_read():
    answer = '{"kind": "cpu", "dtype": "", "name": "", "note": "no_card", "details": {}}'
    assert gpu._ask_child((sys.executable, "-c", f"print('a warning'); print({answer!r})")) == Gpu(note=GpuNote.NO_CARD)
    assert gpu._ask_child((sys.executable, "-c", "raise SystemExit(1)")) == CPU
    assert gpu._ask_child((sys.executable, "-c", "print('nonsense')")) == CPU


@pytest.mark.parametrize(
    ("build", "driver", "system", "asks"),
    [
        ({"cuda": "13.0"}, 13000, ("linux", "x86_64"), True),
        ({"cuda": "13.0"}, 13000, ("win32", "AMD64"), True),
        ({"cuda": "13.0"}, 0, ("linux", "x86_64"), False),
        ({"cuda": None, "hip": "6.4"}, 0, ("linux", "x86_64"), True),
        ({"cuda": None, "xpu": "20250101"}, 0, ("win32", "AMD64"), True),
        ({"cuda": None}, 0, ("darwin", "arm64"), True),
        ({"cuda": None}, 0, ("darwin", "x86_64"), False),
        ({"cuda": None}, 0, ("win32", "AMD64"), False),
        ({}, 0, ("linux", "x86_64"), False),
    ],
)
def test_torch_is_loaded_only_where_there_may_be_a_gpu(monkeypatch, build, driver, system, asks):
    monkeypatch.setattr(gpu, "_build_of_torch", lambda: build)
    monkeypatch.setattr(gpu, "_nvidia_driver", lambda: driver)
    monkeypatch.setattr(sys, "platform", system[0])
    monkeypatch.setattr("platform.machine", lambda: system[1])
    assert (gpu._known_without_asking() is None) == asks


def test_torch_on_windows_as_pip_installs_it_is_told_without_loading_it(monkeypatch):
    monkeypatch.setattr(gpu, "_build_of_torch", lambda: {"cuda": None, "hip": None, "xpu": None})
    monkeypatch.setattr(gpu, "_nvidia_driver", lambda: 13000)
    assert find_gpu_without_torch(monkeypatch).note is GpuNote.CPU_BUILD


def find_gpu_without_torch(monkeypatch) -> Gpu:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return find_gpu()


def test_the_build_is_read_without_loading_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert gpu._build_of_torch()["__version__"].startswith("2.")
    assert "torch" not in sys.modules


def test_the_memory_of_other_gpus_is_asked_of_their_own_backends(monkeypatch):
    torch = machine(cuda=None, mps=True)
    torch.mps = SimpleNamespace(recommended_max_memory=lambda: 11_453_246_122)
    torch.xpu.is_initialized, torch.xpu.memory_reserved = lambda: True, lambda: 1_000
    torch.xpu.mem_get_info = lambda: (8_000_000_000, 16_000_000_000)
    monkeypatch.setitem(sys.modules, "torch", torch)
    gpu = this_machine()
    assert (gpu.kind, device_bytes(gpu)) == ("mps", 11_453_246_122)
    monkeypatch.setitem(sys.modules, "torch", torch)
    torch.backends.mps.is_available, torch.xpu.is_available = lambda: False, lambda: True
    assert device_bytes(this_machine()) == 8_000_001_000


def test_torch_is_told_before_it_is_loaded_that_the_cpu_may_help_out():
    code = (
        "import os, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            print(*(os.environ.get(f'PYTORCH_ENABLE_{kind}_FALLBACK') for kind in ('MPS', 'XPU')))\n"
        "            sys.stdout.flush(); os._exit(0)\n"
        "sys.meta_path.insert(0, Look())\n"
        "import api.command_line.main\n"
        "api.command_line.main.main(['x', '-o', '/nowhere.mp4', '--base-model', 'demo'])\n"
        "from studio.engine_start import import_engine; import_engine()\n"
    )
    environment = {name: value for name, value in os.environ.items() if "FALLBACK" not in name}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "1 1\n", done.stderr
