"""The gallery: apart for each visitor, whole or not there, bounded in age and size."""

import json
import os
import threading
import time
import zipfile
from pathlib import Path

import pytest

from media.input_files import BadInputError
from pipelines.plan.errors import UserError
from pipelines.plan.settings import Settings
from studio.device_queue import DeviceQueue
from studio.gallery import Gallery, is_visitor, new_visitor
from studio.studio import open_studio

DAY = 24 * 3600


def clip(folder: Path, name: str = "7-ab.mp4", size: int = 100) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    return path


@pytest.fixture
def gallery(tmp_path) -> Gallery:
    return Gallery(tmp_path / "gallery", 10_000, DAY)


@pytest.fixture
def visitor() -> str:
    return new_visitor()


def test_entries_come_newest_first_with_files_recipe_and_facts(gallery, visitor, tmp_path):
    first = gallery.add(visitor, [clip(tmp_path), clip(tmp_path, "7-ab.gif")], '{"seed":7}', {"num_frames": 4})
    second = gallery.add(visitor, [clip(tmp_path)], '{"seed":8}')
    newest, oldest = gallery.entries(visitor)
    assert (newest.id, oldest.id) == (second, first)
    assert [path.name for path in oldest.files] == ["7-ab.mp4", "7-ab.gif"]
    assert all(path.read_bytes() == b"x" * 100 for path in oldest.files)
    assert (oldest.recipe, oldest.facts["num_frames"]) == ('{"seed":7}', 4)


def test_nobody_sees_or_deletes_what_another_made(gallery, visitor, tmp_path):
    entry = gallery.add(visitor, [clip(tmp_path)], "{}")
    other = new_visitor()
    gallery.delete(other, entry)
    assert gallery.entries(other) == []
    assert len(gallery.entries(visitor)) == 1
    gallery.delete(visitor, entry)
    gallery.delete(visitor, entry)
    assert gallery.entries(visitor) == []
    assert list((tmp_path / "gallery").iterdir()) == []


def test_no_path_is_made_of_what_is_no_id(gallery, visitor, tmp_path):
    for bad in ("", "..", "../" + visitor, visitor.upper(), visitor + "\n", visitor[:-1], None, 3):
        assert not is_visitor(bad)
        with pytest.raises(ValueError, match="visitor must be"):
            gallery.entries(bad)
    with pytest.raises(ValueError, match="entry must be"):
        gallery.delete(visitor, "../../outside")
    for name in (".hidden.mp4", "a b.mp4", "entry.json"):
        with pytest.raises(ValueError, match="plain names"):
            gallery.add(visitor, [clip(tmp_path, name)], "{}")


def test_links_are_neither_kept_nor_followed(gallery, visitor, tmp_path):
    secret = clip(tmp_path, "secret.mp4")
    link = tmp_path / "link.mp4"
    link.symlink_to(secret)
    with pytest.raises(BadInputError):
        gallery.add(visitor, [link], "{}")
    assert list((tmp_path / "gallery").iterdir()) == []
    gallery.add(visitor, [clip(tmp_path)], "{}")
    (stored,) = gallery.entries(visitor)[0].files
    stored.unlink()
    stored.symlink_to(secret)
    assert gallery.entries(visitor) == []


def test_half_written_entries_are_no_entries_and_go(gallery, visitor, tmp_path):
    gallery.add(visitor, [clip(tmp_path)], "{}")
    owner = tmp_path / "gallery" / visitor
    (owner / f"{0:020}-00000000").mkdir()
    broken = owner / f"{time.time_ns():020}-00000000"
    broken.mkdir()
    (broken / "entry.json").write_text("{half")
    left, fresh = (tmp_path / "gallery" / f".pending-{name}" for name in ("old", "new"))
    left.mkdir()
    fresh.mkdir()
    os.utime(left, (0, 0))
    assert len(gallery.entries(visitor)) == 1
    gallery.sweep()
    assert not left.exists()
    assert fresh.exists()
    assert not (owner / f"{0:020}-00000000").exists()


def test_the_oldest_of_all_go_when_there_is_no_room(tmp_path):
    gallery = Gallery(tmp_path / "gallery", 2_500, DAY)
    visitor, other = new_visitor(), new_visitor()
    gallery.add(visitor, [clip(tmp_path, size=1000)], "{}")
    entries = [gallery.add(who, [clip(tmp_path, size=1000)], "{}") for who in (other, visitor)]
    assert [entry.id for entry in gallery.entries(other) + gallery.entries(visitor)] == entries
    large = gallery.add(visitor, [clip(tmp_path, size=9000)], "{}")
    assert [entry.id for entry in gallery.entries(visitor)] == [large]
    assert gallery.entries(other) == []


def test_what_is_too_old_goes(tmp_path, visitor):
    gallery = Gallery(tmp_path / "gallery", 10_000, max_age=0)
    gallery.add(visitor, [clip(tmp_path)], "{}")
    gallery.sweep()
    assert gallery.entries(visitor) == []


def test_several_may_add_and_remove_at_once(gallery, visitor, tmp_path):
    path = clip(tmp_path, size=1)
    faults = []

    def work() -> None:
        try:
            for _ in range(20):
                gallery.delete(visitor, gallery.add(visitor, [path], "{}"))
        except Exception as err:
            faults.append(err)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert gallery.entries(visitor) == []


def test_all_clips_come_as_one_bounded_zip(gallery, visitor, tmp_path):
    target = tmp_path / "all.zip"
    with pytest.raises(UserError, match="clips must be kept"):
        gallery.zip_of(visitor, target)
    for seed in (7, 8):
        gallery.add(visitor, [clip(tmp_path, f"{seed}.mp4", 1000)], json.dumps({"seed": seed}))
    assert gallery.zip_of(visitor, target) == 2
    with zipfile.ZipFile(target) as pack:
        assert pack.namelist() == ["001/8.mp4", "001/recipe.json", "002/7.mp4", "002/recipe.json"]
        assert json.loads(pack.read("002/recipe.json")) == {"seed": 7}
    assert gallery.zip_of(visitor, target, max_bytes=1500) == 1


def test_the_settings_say_where_and_how_much(tmp_path, visitor):
    config = Settings(gallery_dir=tmp_path / "kept", gallery_max_days=0.5, gallery_max_gb=150 / 1e9)
    gallery = open_studio(config, DeviceQueue()).gallery
    old = gallery.add(visitor, [clip(tmp_path)], "{}")
    assert (tmp_path / "kept" / visitor).is_dir()
    assert [entry.id for entry in gallery.entries(visitor)] == [old]
    aged = tmp_path / "kept" / visitor / f"{time.time_ns() - DAY * 10**9 * 51 // 100:020}-{'0' * 8}"
    (tmp_path / "kept" / visitor / old).rename(aged)
    newer = [gallery.add(visitor, [clip(tmp_path)], "{}") for _ in range(2)]
    assert [entry.id for entry in gallery.entries(visitor)] == newer[1:]


def test_an_entry_that_can_not_be_emptied_is_gone_all_the_same(gallery, visitor, tmp_path, monkeypatch):
    entry = gallery.add(visitor, [clip(tmp_path)], "{}")
    removed = []

    def fails(path, *, ignore_errors=False):
        removed.append(path)
        if not ignore_errors:
            raise PermissionError(path)

    monkeypatch.setattr("studio.gallery.shutil.rmtree", fails)
    gallery.delete(visitor, entry)
    assert removed
    assert gallery.entries(visitor) == []
