"""A unit's clip made ready: fitted, kept by all that decides it, told of, and cancelled without a trace."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from controlnet.control_cache import ControlCache
from controlnet.control_clip import CHUNK, prepare_control
from pipelines.plan.events import Stage
from pipelines.plan.image_fit import ImageFit, fitted
from pipelines.plan.request_fields.units import ControlUnit
from tests.control_clips import ArrayClip, made, noise_clip

ROOT = Path(__file__).resolve().parents[2]
SIZE = {"width": 64, "height": 64}


@pytest.fixture
def cache(tmp_path) -> ControlCache:
    return ControlCache(tmp_path / "controls")


def unit(preprocessor: str = "canny", fit: ImageFit = ImageFit.CROP, **options: float) -> ControlUnit:
    return ControlUnit(model="any", preprocessor=preprocessor, options=options, fit=fit)


def files(cache: ControlCache) -> list[Path]:
    return sorted(cache.folder.iterdir()) if cache.folder.is_dir() else []


def test_frames_are_fitted_and_told_of_in_chunks(cache: ControlCache):
    clip = noise_clip(CHUNK + 1, width=80, height=48)
    events, frames = made(prepare_control(unit("invert"), clip, **SIZE, seed=0, cache=cache))
    expected = [255 - fitted(picture, **SIZE, fit=ImageFit.CROP) for picture in clip.pictures]
    assert np.array_equal(frames, expected)
    assert {(event.stage, event.total, event.note) for event in events} == {(Stage.PREPROCESS, 10, "Invert")}
    assert [event.step for event in events] == [4, 5, 9, 10]  # once to name it, once to do it


def test_a_clip_is_read_in_any_order_and_knows_its_size(cache: ControlCache):
    clip = noise_clip(3)
    events = prepare_control(unit("none"), clip, **SIZE, seed=0, cache=cache, digest="d")
    while True:
        try:
            next(events)
        except StopIteration as end:
            actual = end.value
            break
    assert (actual.num_frames, actual.width, actual.height, actual.fps) == (3, 64, 64, None)
    assert np.array_equal(actual.frames([2, 0, 2]), clip.pictures[[2, 0, 2]])


def test_what_was_made_is_taken_without_work(cache: ControlCache):
    clip = noise_clip(6)
    _, first = made(prepare_control(unit(), clip, **SIZE, seed=0, cache=cache, digest="name"))
    again = noise_clip(6)
    events, second = made(prepare_control(unit(), again, **SIZE, seed=9, cache=cache, digest="name"))
    assert (events, again.reads) == ([], [])
    assert np.array_equal(first, second)
    assert len(files(cache)) == 1


def test_a_clip_without_a_name_is_named_by_its_frames(cache: ControlCache):
    for seed in (0, 0, 1):
        made(prepare_control(unit(), noise_clip(3, seed=seed), **SIZE, seed=0, cache=cache))
    assert len(files(cache)) == 2


@pytest.mark.parametrize(
    ("changed", "arguments"),
    [
        (unit(), {"digest": "other"}),
        (unit(), {"width": 72}),
        (unit(), {"height": 72}),
        (unit(low=50), {}),
        (unit(fit=ImageFit.STRETCH), {}),
        (unit("invert"), {}),
    ],
)
def test_all_that_decides_the_frames_decides_the_name(cache: ControlCache, changed: ControlUnit, arguments):
    usual = SIZE | {"seed": 0, "cache": cache, "digest": "name"}
    made(prepare_control(unit(), noise_clip(2), **usual))
    events, _ = made(prepare_control(changed, noise_clip(2), **(usual | arguments)))
    assert events
    assert len(files(cache)) == 2


def test_a_default_that_is_said_is_the_same_clip(cache: ControlCache):
    for same_unit in (unit(), unit(low=100)):
        made(prepare_control(same_unit, noise_clip(2), **SIZE, seed=0, cache=cache, digest="name"))
    assert len(files(cache)) == 1


def test_only_what_draws_by_the_seed_is_kept_by_it(cache: ControlCache):
    for seed in (1, 2):
        made(prepare_control(unit("shuffle", cell=32), noise_clip(2), **SIZE, seed=seed, cache=cache, digest="n"))
    assert len(files(cache)) == 2


@pytest.mark.parametrize("preprocessor", ["canny", "lineart_standard"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_cancelling_leaves_nothing(cache: ControlCache, preprocessor: str, after: int):
    clip = noise_clip(CHUNK * 3)
    events = prepare_control(unit(preprocessor), clip, **SIZE, seed=0, cache=cache, digest="name")
    for _ in range(after):
        next(events)
    events.close()
    assert files(cache) == []


def test_a_failure_leaves_nothing(cache: ControlCache):
    class Broken(ArrayClip):
        def frames(self, indices):
            if max(indices) >= CHUNK:
                raise OSError("the clip broke off")
            return super().frames(indices)

    clip = Broken(noise_clip(CHUNK * 2).pictures)
    with pytest.raises(OSError, match="broke off"):
        made(prepare_control(unit(), clip, **SIZE, seed=0, cache=cache, digest="name"))
    assert files(cache) == []


def test_line_art_has_one_range_for_the_clip(cache: ControlCache):
    """The same faint line is as bright beside a strong one in the next frame as it is alone."""
    pictures = np.full((8, 64, 64, 3), 200, np.uint8)
    pictures[:, :, 20:22] = 120
    pictures[4:, :, 40:46] = 0
    events, frames = made(
        prepare_control(unit("lineart_standard"), ArrayClip(pictures), **SIZE, seed=0, cache=cache, digest="n")
    )
    assert frames[0, 32, 20, 0] > 60
    assert np.array_equal(frames[:, :, 20], np.repeat(frames[:1, :, 20], 8, axis=0))
    assert (events[-1].step, events[-1].total) == (16, 16)


def test_past_the_limit_what_was_used_longest_ago_goes(tmp_path):
    clip_bytes = 64 * 64 * 3 * 2 + 128
    cache = ControlCache(tmp_path, limit=2 * clip_bytes)

    def make(name: str) -> list:
        return made(prepare_control(unit("none"), noise_clip(2), **SIZE, seed=0, cache=cache, digest=name))[0]

    make("a")
    make("b")
    for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns), 1):
        os.utime(path, (time.time() - 100 * (3 - age),) * 2)
    assert make("a") == []  # used now, so that b is the older one
    make("c")
    assert len(files(cache)) == 2
    assert make("a") == []
    assert make("b") != []


def test_a_clip_larger_than_the_limit_is_kept_until_the_next(tmp_path):
    cache = ControlCache(tmp_path, limit=1)
    _, frames = made(prepare_control(unit("none"), noise_clip(2), **SIZE, seed=0, cache=cache, digest="a"))
    assert len(frames) == 2
    assert len(files(cache)) == 1


def test_what_a_killed_process_left_goes_after_a_day(cache: ControlCache):
    cache.folder.mkdir()
    old, new = cache.folder / "old.part", cache.folder / "new.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    made(prepare_control(unit("none"), noise_clip(2), **SIZE, seed=0, cache=cache, digest="a"))
    assert not old.exists()
    assert new.exists()


def test_a_clip_can_be_read_after_its_file_is_gone(cache: ControlCache):
    clip = noise_clip(2)
    made(prepare_control(unit("none"), clip, **SIZE, seed=0, cache=cache, digest="a"))
    with pytest.raises(StopIteration) as end:
        next(prepare_control(unit("none"), clip, **SIZE, seed=0, cache=cache, digest="a"))
    files(cache)[0].unlink()
    assert np.array_equal(end.value.value.frames([1]), clip.pictures[1:])


def test_what_needs_no_network_needs_no_torch():
    code = (
        "import sys, tempfile, pathlib;"
        "from tests.control_clips import made, noise_clip;"
        "from controlnet.control_cache import ControlCache; from controlnet.control_clip import prepare_control;"
        "from pipelines.plan.request_fields.units import ControlUnit;"
        "folder = tempfile.TemporaryDirectory(); unit = ControlUnit(model='any', preprocessor='canny');"
        "cache = ControlCache(pathlib.Path(folder.name));"
        "told, frames = made(prepare_control(unit, noise_clip(2), width=64, height=64, seed=0, cache=cache));"
        "heavy = {'torch', 'controlnet_aux', 'scipy'} & set(sys.modules);"
        "print(heavy, frames.shape); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_trimming_bears_another_process_that_trims_too(tmp_path, monkeypatch):
    cache = ControlCache(tmp_path / "controls", limit=0)
    cache.folder.mkdir()
    for name in ("a.npy", "b.npy", "c.part"):
        (cache.folder / name).touch()
        os.utime(cache.folder / name, (0, 0))
    removed = []

    def vanish(path: Path, *, missing_ok: bool = False) -> None:
        os.unlink(path)  # noqa: PTH108 - the other process
        removed.append(path.name)
        if not missing_ok:
            raise FileNotFoundError(path)

    (cache.folder / "a.npy").write_bytes(b"1")
    (cache.folder / "b.npy").write_bytes(b"1")
    os.utime(cache.folder / "a.npy", (0, 0))
    monkeypatch.setattr(Path, "unlink", vanish)
    cache.trim()
    assert set(removed) == {"a.npy", "c.part"}
