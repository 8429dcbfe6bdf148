"""Reading: recipes come back letter by letter, and files from anybody do no harm."""

import re
import zipfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import Base

from media.ffmpeg import FFmpegError, run_ffmpeg, safe_input
from media.gif_comment import copy_with_comment, read_gif_comment
from media.read import iter_frames, probe, read_frames, read_recipe
from media.tagged_video import from_ffmetadata, to_ffmetadata
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import UserError

ALL = tuple(OutputFormat)
CLIPS = tuple(kind for kind in OutputFormat if kind is not OutputFormat.TXT)
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
RECIPES = {
    "long": '{"prompt": "' + "a red circle, moving right; " * 8_000 + '"}',
    "unicode": '{"prompt": "naïve 漢字 😀 \u2028 \u202eعربي"}',
    "8 kB of signs": '{"prompt": "' + "漢字 😀 = ; # \\ \n" * 400 + '"}',
    "signs": "{= ; # \\ ' \" % , [CHAPTER] \n;x\n#y\nkey=value\r\n\ttab \\\\n \x01\x7f\n\n",
    "backslash at the end": "{C:\\clips\\",
    "spaces": "  {lead and trail \n ",
}


def written(folder: Path, kind: OutputFormat, recipe: str) -> Path:
    with open_clip(
        folder, stem="100% a=b;'c'", formats=[kind], fps=Fraction(8), width=32, height=32, recipe=recipe
    ) as clip:
        clip.write(FRAMES)
    return clip.files[0]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", RECIPES)
def test_every_file_carries_its_recipe_letter_by_letter(tmp_path, kind, name):
    assert read_recipe(written(tmp_path / "é %03d's", kind, RECIPES[name])) == RECIPES[name]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_survives_both_comment_formats(text):
    assert from_ffmetadata(to_ffmetadata(text)) == {"comment": text}
    plain = BytesIO()
    Image.new("P", (2, 2)).save(plain, "GIF")
    plain.seek(0)
    target = BytesIO()
    copy_with_comment(plain, target, text)
    target.seek(0)
    with Image.open(target) as gif:
        assert gif.info.get("comment", b"") == text.encode()
        gif.load()


def test_other_programs_find_the_recipe_too(tmp_path):
    with Image.open(written(tmp_path, OutputFormat.GIF, "é\n")) as gif:
        assert gif.info["comment"].decode() == "é\n"
    with Image.open(written(tmp_path, OutputFormat.APNG, "é\n")) as apng:
        assert apng.text == {"parameters": "é\n"}
    with Image.open(written(tmp_path, OutputFormat.WEBP, "é 😀\n")) as webp:
        comment = webp.getexif().get_ifd(Base.ExifOffset)[Base.UserComment]
        assert comment == b"UNICODE\0" + "é 😀\n".encode("utf-16-be")
    for kind in (OutputFormat.MP4, OutputFormat.WEBM):
        told = run_ffmpeg("-v", "info", *safe_input(written(tmp_path, kind, "é 😀")), "-f", "null", "-").stderr.decode()
        assert re.search("comment +: é 😀$", told, re.MULTILINE | re.IGNORECASE)
    with zipfile.ZipFile(written(tmp_path, OutputFormat.PNG, "é\n")) as file:
        assert file.read("recipe.json").decode() == "é\n"
        with Image.open(file.open("00000.png")) as first:
            assert first.text == {"parameters": "é\n"}


@pytest.mark.parametrize("kind", CLIPS)
def test_the_kind_is_told_by_content_not_by_name(tmp_path, kind):
    path = written(tmp_path, kind, "{}").rename(tmp_path / "upload.txt")
    assert read_recipe(path) == "{}"
    assert (probe(path).num_frames, probe(path).width) == (4, 32)


def test_a_text_is_a_recipe_but_no_clip(tmp_path):
    path = written(tmp_path, OutputFormat.TXT, "{é}").rename(tmp_path / "upload.mp4")
    assert path.read_bytes() == "{é}".encode()
    assert read_recipe(path) == "{é}"
    with pytest.raises(UserError, match=r"file must have pictures, got upload\.mp4, which is a text"):
        probe(path)


@pytest.mark.parametrize("data", [b"{\xff", b"{" + b" " * (4 << 20)], ids=["not UTF-8", "long"])
def test_a_text_that_is_no_recipe_is_refused_in_words(tmp_path, data):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match="file must be a whole"):
        read_recipe(path)


@pytest.mark.parametrize("kind", CLIPS)
def test_a_cut_file_is_refused_in_words(tmp_path, kind):
    path = written(tmp_path, kind, "{}")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"file must be (a )?whole"):
        read_frames(path)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"GIF89a", b"\0\0\0\x20ftypisom", b"PK\x03\x04", b"#EXTM3U\n", b"\x89PNG\r\n", b"\x89PNG\r\n\x1a\n"),
        *(b"RIFF\0\0\0\x7fWEBP", b"RIFF\x04\0\0\0WEBP", b"\x1a\x45\xdf\xa3", b"  "),
    ],
)
def test_files_that_are_no_clips_are_refused_in_words(tmp_path, content):
    path = tmp_path / "upload.mp4"
    path.write_bytes(content)
    for read in (read_recipe, probe, read_frames):
        with pytest.raises(UserError, match=r"file must .*, got .*upload\.mp4.*\. Choose "):
            read(path)


def test_a_clip_without_recipe_is_refused_in_words(tmp_path):
    path = tmp_path / "plain.gif"
    Image.fromarray(FRAMES[0]).save(path)
    assert read_gif_comment(path) is None
    with pytest.raises(UserError, match=r"file must carry a recipe, got plain\.gif, which has none"):
        read_recipe(path)


def test_a_playlist_does_not_open_the_files_it_names(tmp_path):
    secret = written(tmp_path, OutputFormat.MP4, "{}").rename(tmp_path / "secret.mp4")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    with pytest.raises(UserError, match="file must be an MP4"):
        read_frames(playlist)
    with pytest.raises(FFmpegError, match="of no kind that is read"):
        run_ffmpeg(*safe_input(playlist), "-f", "null", "-")


@pytest.mark.parametrize("kind", CLIPS)
def test_longer_clips_than_asked_for_are_refused_in_words(tmp_path, kind):
    path = written(tmp_path, kind, "{}")
    assert sum(1 for _ in iter_frames(path, max_frames=4)) == 4
    with pytest.raises(UserError, match="file must have at most 3 frames, got more in"):
        read_frames(path, max_frames=3)


@pytest.mark.parametrize(
    ("about", "pictures"),
    [
        ('{"fps": "8", "width": 32, "height": 32, "num_frames": 2}', [(32, 32)]),
        ('{"fps": "8", "width": 32, "height": 32, "num_frames": 1}', [(4000, 4000)]),
        ('{"fps": "1/0", "width": 32, "height": 32, "num_frames": 1}', [(32, 32)]),
        ('{"fps": "-8", "width": 32, "height": 32, "num_frames": 1}', [(32, 32)]),
        ('{"fps": "8", "width": 100000000, "height": 100000000, "num_frames": 1}', [(32, 32)]),
        ("[]", [(32, 32)]),
    ],
)
def test_a_zip_that_lies_about_itself_is_refused_in_words(tmp_path, about, pictures):
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("clip.json", about)
        for index, size in enumerate(pictures):
            with file.open(f"{index:05}.png", "w") as member:
                Image.new("RGB", size).save(member, "PNG")
    with pytest.raises(UserError, match="file must be a whole, playable clip"):
        read_frames(path)


def test_a_clip_too_large_for_memory_is_refused_in_words(tmp_path):
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("clip.json", '{"fps": "8", "width": 4096, "height": 4096, "num_frames": 90}')
        for index in range(90):
            file.writestr(f"{index:05}.png", b"")
    with pytest.raises(UserError, match=r"file must unpack to at most 4 GiB of pictures, got 4\.2 GiB in clip\.zip"):
        read_frames(path)


def test_leaving_early_ends_ffmpeg(tmp_path):
    children = psutil.Process().children()
    frames = iter_frames(written(tmp_path, OutputFormat.MP4, "{}"))
    assert next(frames).shape == (32, 32, 3)
    assert len(psutil.Process().children()) == len(children) + 1
    frames.close()
    assert psutil.Process().children() == children
