"""The choice of number type and threads: measured once, kept, and open to the operator."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from diffusers.models import modeling_utils

from pipelines.engine import device
from pipelines.engine.device import Device, choose_device


@pytest.fixture
def cache(tmp_path, monkeypatch, environment):
    threads = torch.get_num_threads()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    environment(STUDIO_DTYPE=None, STUDIO_THREADS=None)
    yield tmp_path / "animatediff-studio" / "device.json"
    torch.set_num_threads(threads)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU needs no measurement")
def test_the_choice_is_measured_once_and_kept(cache, monkeypatch):
    monkeypatch.setattr(device, "_BUSY", float("inf"))
    monkeypatch.setattr(modeling_utils.logger, "warning", pytest.fail)  # it would be the first that a newcomer reads
    first = choose_device()
    assert first.kind == "cpu"
    assert first.dtype in ("float32", "bfloat16")
    assert 1 <= first.threads <= len(os.sched_getaffinity(0))
    kept = json.loads(cache.read_text())
    other = "float32" if first.dtype == "bfloat16" else "bfloat16"
    cache.write_text(json.dumps(kept | {"dtype": other}))
    assert choose_device() == Device("cpu", other, first.threads)
    assert torch.get_num_threads() == first.threads


@pytest.mark.parametrize("broken", ["", "{}", "[1]", '{"machine": "another", "kind": "cpu"}'])
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU needs no measurement")
def test_a_choice_of_another_machine_or_a_broken_file_is_measured_anew(cache, monkeypatch, broken: str):
    monkeypatch.setattr(device, "_seconds", lambda *_, **__: 1.0)
    cache.parent.mkdir(parents=True)
    cache.write_text(broken)
    assert choose_device().kind == "cpu"
    assert json.loads(cache.read_text())["machine"] != "another"


def test_the_operator_overrules_the_measurement(cache, environment):
    environment(STUDIO_DTYPE="float32", STUDIO_THREADS="1")
    chosen = choose_device()
    assert (chosen.dtype, chosen.threads, chosen.torch_dtype) == ("float32", 1, torch.float32)
    assert not cache.exists(), "nothing is left to measure"


@pytest.mark.parametrize(
    ("of_half", "dtype", "timed"),
    [(0.6, "bfloat16", 3), (0.9, "float32", 3), (2.0, "float32", 3), (6.0, "float32", 0)],
)
def test_a_number_type_without_instructions_is_only_tried(cache, monkeypatch, of_half, dtype, timed):
    """A CPU of four cores on which two threads are best; a start must not wait half a minute for bf16 in emulation."""
    seconds = {1: 1.5, 2: 1.0, 4: 1.2}
    halves: list[int] = []

    def passes(_unet: object, kind: torch.dtype, threads: int, *, frames: int = 8, **_: float) -> float:
        if kind is torch.bfloat16 and frames == 8:
            halves.append(threads)
        return seconds[threads] * frames * (of_half if kind is torch.bfloat16 else 1)

    monkeypatch.setattr(device, "_cores", lambda: 4)
    monkeypatch.setattr(device, "_seconds", passes)
    chosen = choose_device()
    assert (chosen.dtype, chosen.threads) == (dtype, 2)
    assert len(set(halves)) == timed
    assert json.loads(cache.read_text())["dtype"] == dtype


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("others", "measurements"), [(0.0, 1), (1.5, 3)])
def test_what_was_measured_beside_other_work_is_measured_again(monkeypatch, others: float, measurements: int):
    """At a later start, and not for ever on a machine that is always busy."""
    measured: list[Device] = []

    def measure() -> Device:
        measured.append(Device("cpu", "float32", len(measured) + 1))
        return measured[-1]

    @contextmanager
    def others_cpu() -> Iterator[device._OthersCpu]:
        yield device._OthersCpu(others)

    monkeypatch.setattr(device, "_measure", measure)
    monkeypatch.setattr(device, "_others_cpu", others_cpu)
    chosen = [choose_device() for _ in range(5)]
    assert len(measured) == measurements
    assert chosen[-1] == measured[-1]


def test_work_of_another_program_is_seen():
    busy = "import time; end = time.monotonic() + 30\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as program, device._others_cpu() as others:
        time.sleep(2.0)
        program.kill()
    assert others.cores > 0.2
