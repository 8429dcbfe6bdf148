"""What the memory table is made of; the table itself takes minutes."""

import mmap
import os
import subprocess

import pytest

from pipelines.engine.latents import initial_noise, seeded_generator
from scripts.measure_memory import _latents_mb, _status_mb


def test_a_clips_own_latents_are_as_large_as_said():
    noise = initial_noise(seeded_generator(1), num_frames=50, height=128, width=128)
    assert _latents_mb(50, 128) == pytest.approx(noise.nbytes / 1e6)


def test_memory_of_a_process_is_read_and_its_peak_stays():
    before = _status_mb("VmRSS", os.getpid())
    with mmap.mmap(-1, 100_000_000) as block:  # an allocator may give out memory that is there already
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert _status_mb("VmRSS", os.getpid()) > before + 90
    assert _status_mb("VmHWM", os.getpid()) > before + 90


def test_a_process_that_is_gone_has_none():
    process = subprocess.Popen(["true"])
    process.wait()
    assert _status_mb("VmRSS", process.pid) == 0
