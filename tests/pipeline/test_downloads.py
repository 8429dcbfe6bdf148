"""Downloads: told of while they run, stopped, resumed, and checked against what the Hub says."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipelines.errors import WeightsError
from pipelines.events import Progress, Stage
from pipelines.weights import digests, downloads
from pipelines.weights.downloads import fetch, following
from tests.stand_in_hub import COMMIT, StandInHub, serving, use_hub

REPO, NAME = "owner/models", "motion.ckpt"
FILE = f"{REPO}/{NAME}"
CONTENT = bytes(range(256)) * 512
PIECE = 1 << 14


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[StandInHub]:
    """One file of eight pieces; every piece is told of."""
    folder = tmp_path / "hub" / REPO
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    monkeypatch.setattr(downloads, "INTERVAL_S", 0)
    with serving(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


def get() -> Path:
    return fetch(REPO, NAME, "main", field="motion_module")


def followed(work: Callable[[], Path]) -> tuple[list[Progress], Path]:
    """What was told, and what came of it."""
    told: list[Progress] = []
    events = following(work)
    while True:
        try:
            told.append(next(events))
        except StopIteration as end:
            return told, end.value


def cached(tmp_path: Path) -> list[Path]:
    """Everything in the Hub's cache that holds bytes of the file."""
    return [path for path in tmp_path.rglob("blobs/*") if path.is_file()]


@pytest.mark.usefixtures("hub")
def test_a_download_is_told_of_until_it_is_whole():
    told, path = followed(get)
    *downloading, reading = told
    assert path.read_bytes() == CONTENT
    assert {(event.stage, event.total) for event in downloading} == {(Stage.LOAD, len(CONTENT))}
    assert [event.step for event in downloading] == [PIECE * pieces for pieces in range(9)]
    assert downloading[4].note == "Downloading motion.ckpt: 0 of 0 MB"
    assert (reading.step, reading.total, reading.note) == (0, 1, "Reading motion.ckpt")


def test_large_numbers_can_be_read():
    watch = downloads._Watch()
    watch.tell("v3_sd15_mm.ckpt", 412_000_000, 1_672_000_000)
    assert watch.told.get().note == "Downloading v3_sd15_mm.ckpt: 412 of 1,672 MB"


@pytest.mark.usefixtures("hub")
def test_of_what_is_there_nothing_is_told():
    there = get()
    assert followed(get) == ([], there)


def test_what_the_work_raises_comes_out(hub: StandInHub):
    hub.stop()
    with pytest.raises(WeightsError, match="the Hub can't be reached"):
        followed(get)


def test_closing_stops_the_download_and_the_next_one_starts_afresh(hub: StandInHub, tmp_path):
    hub.pausing.add(FILE)
    events = following(get)
    assert next(event for event in events if event.step == PIECE).total == len(CONTENT)
    hub.go_on.set()
    events.close()
    assert cached(tmp_path) == []
    assert followed(get)[1].read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_where_it_broke(hub: StandInHub):
    hub.breaking.add(FILE)
    told, path = followed(get)
    assert path.read_bytes() == CONTENT
    assert hub.resumed == [(FILE, len(CONTENT) // 2)]
    assert max(event.step for event in told) == len(CONTENT)


def test_a_file_with_another_sha256_is_removed_and_refused(hub: StandInHub, tmp_path):
    hub.spoiled[FILE] = CONTENT[::-1]
    with pytest.raises(WeightsError) as error:
        get()
    assert str(error.value) == (
        "motion_module must be what its publisher has on the Hub, got 'owner/models/motion.ckpt' with another "
        "sha256. What arrived was removed; try again or choose another model."
    )
    assert cached(tmp_path) == []
    hub.spoiled.clear()
    assert get().read_bytes() == CONTENT


def test_a_file_that_is_too_short_is_refused(hub: StandInHub, tmp_path):
    hub.spoiled[FILE] = CONTENT[:-1]
    with pytest.raises(WeightsError, match=f"got '{FILE}': it did not arrive whole"):
        get()
    assert cached(tmp_path) == []


@pytest.mark.usefixtures("hub")
def test_a_large_file_is_read_through_only_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(digests, "_WORTH_KEEPING", len(CONTENT))
    path = get()
    digests._sha256.cache_clear()  # as in a new process
    written = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1])  # which only reading would tell
    os.utime(path, ns=(written, written))
    assert digests.sha256_of(path) == hashlib.sha256(CONTENT).hexdigest()


def test_a_cache_that_can_not_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "xdg").write_bytes(b"no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(digests, "_WORTH_KEEPING", 0)
    (tmp_path / "file").write_bytes(CONTENT)
    assert digests.sha256_of(tmp_path / "file") == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_at_a_fixed_commit_is_had_from_the_cache_or_refused_at_once_where_there_is_no_hub(hub):
    path = fetch(REPO, NAME, COMMIT, field="motion_module")
    assert path.read_bytes() == CONTENT
    hub.stop()
    assert fetch(REPO, NAME, COMMIT, field="motion_module") == path
    start = time.monotonic()
    with pytest.raises(WeightsError, match="the Hub can't be reached"):
        fetch(REPO, "other.ckpt", COMMIT, field="motion_module")
    assert time.monotonic() - start < 10
