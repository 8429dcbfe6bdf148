"""Inputs by their content."""

import hashlib
import os
import time

import pytest

from media.input_store import InputStore
from media.picture_folder import pictures_in
from pipelines.plan.errors import InvalidRequestError
from tests.unit.clips import levels_of, png, zipped


@pytest.fixture
def store(tmp_path):
    return InputStore(tmp_path / "store")


def kept(store_folder):
    return sorted(path.name for path in store_folder.iterdir())


def test_a_file_is_found_by_its_hash_whatever_it_was_called(tmp_path, store):
    (tmp_path / "é %s.mp4").write_bytes(png(70))
    (tmp_path / "same.png").write_bytes(png(70))
    sha256 = store.add(tmp_path / "é %s.mp4")
    assert sha256 == hashlib.sha256(png(70)).hexdigest() == store.add(tmp_path / "same.png")
    (tmp_path / "same.png").unlink()
    assert levels_of(store.open(sha256).frames([0])) == [70]
    assert store.probe(sha256).width == 48
    assert kept(tmp_path / "store") == [sha256]


def test_what_is_there_already_is_not_copied_again_but_counts_as_used(tmp_path, store):
    (tmp_path / "one.png").write_bytes(png(70))
    (tmp_path / "other.png").write_bytes(png(70))
    kept_file = tmp_path / "store" / store.add(tmp_path / "one.png")
    os.utime(kept_file, (1, 1))
    number = kept_file.stat().st_ino
    store.add(tmp_path / "other.png")
    assert kept_file.stat().st_ino == number
    assert kept_file.stat().st_mtime > 1


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 63 + "/"])
def test_what_is_no_hash_never_becomes_a_path(store, sha256):
    with pytest.raises(
        InvalidRequestError, match=r"source_video must be 64 hexadecimal digits.* Choose the file again\."
    ):
        store.open(sha256, field="source_video")


def test_an_input_that_is_gone_is_asked_for_again(store):
    with pytest.raises(
        InvalidRequestError, match=r"mask must be a file that is here, got 0{12}…, which is not\. Choose the file again"
    ):
        store.open("0" * 64, field="mask")


def test_a_refused_file_is_not_kept(tmp_path, store):
    (tmp_path / "clip.mp4").write_bytes(b"#EXTM3U\n")
    with pytest.raises(InvalidRequestError, match=r"source_video must be .*, got a playlist"):
        store.add(tmp_path / "clip.mp4", field="source_video")
    with pytest.raises(InvalidRequestError, match="file must be a file, got a folder"):
        store.add(tmp_path)
    assert kept(tmp_path / "store") == []


def test_those_not_used_for_longest_make_room(tmp_path):
    store = InputStore(tmp_path / "store", max_bytes=3 * len(png(0)) + 20)
    hashes = []
    for level in range(4):
        (tmp_path / "upload").write_bytes(png(level))
        hashes.append(store.add(tmp_path / "upload"))
        os.utime(tmp_path / "store" / hashes[-1], (level, level))
        if level == 2:
            store.open(hashes[0])
    assert kept(tmp_path / "store") == sorted([hashes[0], hashes[2], hashes[3]])


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / "store").mkdir()
    for name, age_s in {".adding-old": 100_000, ".adding-now": 0}.items():
        (tmp_path / "store" / name).mkdir()
        os.utime(tmp_path / "store" / name, (time.time() - age_s,) * 2)
    InputStore(tmp_path / "store")
    assert kept(tmp_path / "store") == [".adding-now"]


def test_single_pictures_become_one_sequence(tmp_path, store):
    for number in (10, 9, 1):
        (tmp_path / f"frame{number}.png").write_bytes(png(number))
    sha256 = store.add_frames(tmp_path.glob("*.png"))
    assert levels_of(store.open(sha256).frames(range(3))) == [1, 9, 10]
    for path in tmp_path.glob("*.png"):
        path.rename(path.with_name(f"other {path.name}"))
    assert store.add_frames(tmp_path.glob("*.png")) == sha256
    assert kept(tmp_path / "store") == [sha256]


def test_a_sequence_of_anything_else_is_refused(tmp_path, store):
    (tmp_path / "1.png").write_bytes(b"<svg/>")
    with pytest.raises(InvalidRequestError, match="file must be a whole picture"):
        store.add_frames([tmp_path / "1.png"])
    with pytest.raises(InvalidRequestError, match="file must be at least 1 picture, got none"):
        store.add_frames([])
    assert kept(tmp_path / "store") == []


def test_pictures_and_masks_come_apart_by_order(tmp_path, store):
    members = {f"take/image/{n}.png": png(n) for n in (2, 10)} | {f"take/mask/m{n}.png": png(200 + n) for n in (1, 3)}
    images, masks = store.add_image_and_mask(zipped(tmp_path / "both.zip", members))
    assert levels_of(store.open(images).frames([0, 1])) == [2, 10]
    assert levels_of(store.open(masks).frames([0, 1])) == [201, 203]
    uneven = zipped(tmp_path / "uneven.zip", {"image/1.png": png(1), "image/2.png": png(2), "mask/1.png": png(3)})
    with pytest.raises(InvalidRequestError, match="folders image and mask with as many pictures each, got 2 and 1"):
        store.add_image_and_mask(uneven)


def test_links_in_a_folder_are_not_followed(tmp_path):
    outside = tmp_path / "secret.png"
    outside.write_bytes(png(1))
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "link.png").symlink_to(outside)
    (folder / "2.png").write_bytes(png(2))
    (folder / ".hidden.png").write_bytes(png(3))
    (folder / "notes.txt").write_text("x")
    (folder / "Thumbs.db").write_bytes(b"x")
    assert pictures_in(folder) == ["2.png"]


def test_a_folder_is_read_as_a_zip_of_it_would_be(tmp_path, store):
    members = {"take 10/1.png": png(4), "take 2/10.png": png(3), "take 2/9.PNG": png(2), "1.png": png(1)}
    members |= {".git/0.png": png(9), "take 2/._9.png": png(9), "__MACOSX/1.png": png(9)}
    folder = tmp_path / "folder"
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    of_folder = store.open(store.add_folder(folder))
    of_zip = store.open(store.add(zipped(tmp_path / "folder.zip", members)))
    assert levels_of(of_folder.frames(range(4))) == levels_of(of_zip.frames(range(4))) == [1, 2, 3, 4]


OTHER_FOLDERS = {
    "an empty one": [],
    "one with clip.mp4": ["clip.mp4"],
    "one with 1.txt, 2.txt, 10.txt and 2 more": ["1.txt", "2.txt", "10.txt", "11.txt", "12/Thumbs.db", ".DS_Store"],
}


@pytest.mark.parametrize("words", OTHER_FOLDERS)
def test_a_folder_without_pictures_is_refused_with_what_it_has(tmp_path, store, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in OTHER_FOLDERS[words]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    with pytest.raises(InvalidRequestError, match=f"^mask must be a folder with pictures, got {words}\\. Put PNGs"):
        store.add_folder(folder, field="mask")
    assert kept(tmp_path / "store") == []


def test_pictures_and_masks_of_a_folder_come_apart_by_order(tmp_path, store):
    for name, level in {"image/2.png": 2, "image/10.png": 10, "mask/b.png": 203, "mask/a.png": 201}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(level))
    images, masks = store.add_image_and_mask(tmp_path)
    assert levels_of(store.open(images).frames([0, 1])) == [2, 10]
    assert levels_of(store.open(masks).frames([0, 1])) == [201, 203]
    (tmp_path / "mask/c.png").write_bytes(png(5))
    with pytest.raises(InvalidRequestError, match="folders image and mask with as many pictures each, got 2 and 3"):
        store.add_image_and_mask(tmp_path)
