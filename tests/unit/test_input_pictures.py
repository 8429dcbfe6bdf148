"""Pictures, animated pictures and zips of them from anybody."""

import os
import struct
import zipfile
import zlib
from contextlib import nullcontext
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from media.input_facts import Cut
from media.input_files import InputKind
from media.inputs import open_input, probe_input
from media.picture_zip import PictureZip
from media.pictures import BadInputError, check_picture_size
from media.write import open_clip
from pipelines.plan.choices import OutputFormat
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.image_fit import ImageFit
from tests.unit.clips import greys, levels_of, picture_bytes, png, zipped


def grey16(level: int) -> Image.Image:
    return Image.fromarray(np.full((32, 48), level, np.uint16))


def palette() -> Image.Image:
    picture = Image.new("P", (48, 32), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    return picture


STILLS = {
    "rgb.png": (picture_bytes(Image.new("RGB", (48, 32), (200, 100, 50))), (200, 100, 50)),
    "rgb.jpg": (picture_bytes(Image.new("RGB", (48, 32), (200, 100, 50)), "JPEG", quality=95), (200, 100, 50)),
    "rgb.webp": (picture_bytes(Image.new("RGB", (48, 32), (200, 100, 50)), "WEBP", lossless=True), (200, 100, 50)),
    "rgb.bmp": (picture_bytes(Image.new("RGB", (48, 32), (200, 100, 50)), "BMP"), (200, 100, 50)),
    "rgb.tif": (picture_bytes(Image.new("RGB", (48, 32), (200, 100, 50)), "TIFF"), (200, 100, 50)),
    "still.gif": (picture_bytes(palette(), "GIF"), (200, 100, 50)),
    "palette.png": (picture_bytes(palette()), (200, 100, 50)),
    "cmyk.jpg": (picture_bytes(Image.new("CMYK", (48, 32), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "grey16.png": (picture_bytes(grey16(128 * 257)), (128, 128, 128)),
    "grey16.tif": (picture_bytes(grey16(65535), "TIFF"), (255, 255, 255)),
    "one bit.png": (picture_bytes(Image.new("1", (48, 32), 1)), (255, 255, 255)),
    "half clear.png": (picture_bytes(Image.new("RGBA", (48, 32), (200, 100, 50, 128))), (100, 50, 25)),
    "half clear grey.png": (picture_bytes(Image.new("LA", (48, 32), (200, 128))), (100, 100, 100)),
    "all clear.png": (picture_bytes(Image.new("RGBA", (48, 32), (200, 100, 50, 0))), (0, 0, 0)),
    "a picture.mp4": (png(70), (70, 70, 70)),
}


@pytest.mark.parametrize("name", STILLS)
def test_a_picture_is_a_clip_of_one_frame_whatever_its_colours_are(tmp_path, name):
    data, colour = STILLS[name]
    path = tmp_path / name
    path.write_bytes(data)
    facts = probe_input(path)
    assert (facts.kind, facts.num_frames, facts.fps, facts.duration_s) == (InputKind.PICTURE, 1, None, None)
    clip = open_input(path)
    assert (clip.num_frames, clip.fps) == (1, None)
    assert np.abs(clip.frames([0])[0].astype(int) - colour).max() <= 3


def test_a_photo_is_seen_upright(tmp_path):
    photo = Image.new("L", (48, 32), 0)
    photo.paste(255, (0, 0, 24, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "photo.jpg").write_bytes(picture_bytes(photo, "JPEG", exif=exif))
    assert (probe_input(tmp_path / "photo.jpg").width, probe_input(tmp_path / "photo.jpg").height) == (32, 48)
    frame = open_input(tmp_path / "photo.jpg").frames([0])[0]
    assert frame.shape == (48, 32, 3)
    assert frame[:20].mean() > 240
    assert frame[28:].mean() < 15


def test_pictures_are_fitted(tmp_path):
    (tmp_path / "wide.png").write_bytes(png(90, (90, 30)))
    frame = open_input(tmp_path / "wide.png", Cut(width=60, height=60, fit=ImageFit.PAD)).frames([0])[0]
    assert frame.shape == (60, 60, 3)
    assert not frame[:20].any()
    assert (frame[21:39] == 90).all()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_saying(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


TEXT_BOMB = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * (64 << 20)))
FLOATS = picture_bytes(Image.fromarray(np.full((32, 48), np.nan, np.float32)), "TIFF")
RAW_PHOTO = TiffImagePlugin.ImageFileDirectory_v2()
RAW_PHOTO[50706] = b"\1\4\0\0"
THUMBNAIL = TiffImagePlugin.ImageFileDirectory_v2()
THUMBNAIL[254] = 1
BAD_PICTURES = {
    "photo.dng": (picture_bytes(Image.new("RGB", (48, 32)), "TIFF", tiffinfo=RAW_PHOTO), "got a camera's raw photo"),
    "photo.nef": (picture_bytes(Image.new("RGB", (48, 32)), "TIFF", tiffinfo=THUMBNAIL), "got a camera's raw photo"),
    "40,000 squared": (png_saying(40_000, 40_000), "must have at most 67 million pixels, got"),
    "16,384 squared": (png_saying(16_384, 16_384), "must have at most 67 million pixels, got"),
    "9,000 squared": (png_saying(9_000, 9_000), "must have at most 67 million pixels, got 9000 × 9000. Make it"),
    "a line": (png_saying(1, 65_535), "must be at most 16 times as long .*, got 1 × 65535. Crop it"),
    "text bomb": (png_saying(48, 32, TEXT_BOMB), "must be a whole picture"),
    "cut off": (STILLS["rgb.jpg"][0][:300], "must be a whole picture"),
    "floats": (FLOATS, "must have 8 or 16 bits in each channel"),
    "empty": (b"", "must be a picture, a clip or a zip of pictures, got an empty file"),
    "svg": (b'<svg onload="alert(1)"/>', "got a web page, a drawing or a playlist"),
    "html.png": (b"<!DOCTYPE html>", "got a web page, a drawing or a playlist"),
    "dash.mp4": (b'\xef\xbb\xbf<?xml version="1.0"?><MPD/>', "got a web page, a drawing or a playlist"),
    "hls.mp4": (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "got a playlist"),
    "concat.mp4": (b"ffconcat version 1.0\nfile secret.mp4\n", "got a playlist"),
    "photo.heic": (b"\0\0\0\x20ftypheic\0\0\0\0", "got a HEIC or AVIF picture"),
    "text": (b"BM is how this text begins", "must be a whole picture"),
    "noise": (bytes(range(100, 200)), "got a file of another kind"),
    "stub.mp4": (b"\0\0\0\x20ftypisom", "must be a playable clip"),
    "stub.mkv": (b"\x1a\x45\xdf\xa3\0\0", "must be a playable clip"),
    "stub.zip": (b"PK\x03\x04" + b"\0" * 100, "must be a whole zip"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_files_are_refused_in_words(tmp_path, name):
    data, words = BAD_PICTURES[name]
    path = tmp_path / "upload"
    path.write_bytes(data)
    with pytest.raises(InvalidRequestError, match=rf"^first_frame .*{words}") as caught:
        open_input(path, field="first_frame")
    assert "upload" not in str(caught.value)


def test_what_is_no_plain_file_is_refused_in_words(tmp_path):
    (tmp_path / "real.png").write_bytes(png(5))
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, got in {"link.png": "a link", "pipe.mp4": "a link, a pipe", ".": "a folder", "gone": "nothing"}.items():
        with pytest.raises(InvalidRequestError, match=f"mask must be a file, got {got}"):
            probe_input(tmp_path / name, field="mask")


def animation(path, levels, kind, **options):
    frames = [Image.new("RGB", (48, 32), (level, 0, level)) for level in levels]
    path.write_bytes(picture_bytes(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    return path


LEVELS = [0, 60, 120, 180, 240]


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_an_animated_picture_is_a_clip(tmp_path, kind, options):
    path = animation(tmp_path / "clip", LEVELS, kind, duration=40, **options)
    facts = probe_input(path)
    assert (facts.kind, facts.num_frames, facts.fps, facts.even) == (InputKind.PICTURE, 5, 25, True)
    frames = open_input(path, Cut(start=1, every=2)).frames([0, 1])
    assert frames[:, 0, 0, 0].tolist() == [60, 180]


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_an_animation_that_waits_at_its_end_does_so_as_a_clip(tmp_path, kind, options):
    path = animation(tmp_path / "clip", LEVELS, kind, duration=[100, 100, 100, 100, 400], **options)
    facts = probe_input(path)
    assert (facts.num_frames, facts.fps, facts.even) == (8, 10, False)
    assert open_input(path).frames(range(8))[:, 0, 0, 0].tolist() == [*LEVELS, 240, 240, 240]


def test_the_stand_in_of_an_animated_png_is_no_frame(tmp_path):
    path = animation(tmp_path / "clip", [255, *LEVELS], "PNG", duration=40, default_image=True)
    assert probe_input(path).num_frames == 5
    assert open_input(path).frames([0])[0, 0, 0, 0] == 0


def test_frames_of_a_gif_without_time_are_shown_as_browsers_do(tmp_path):
    assert probe_input(animation(tmp_path / "clip", LEVELS, "GIF", duration=0)).fps == 10


def test_a_gif_of_this_app_has_its_rate(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), np.uint8)
    with open_clip(
        tmp_path,
        stem="clip",
        formats=[OutputFormat.GIF, OutputFormat.PNG],
        fps=Fraction(24),
        width=48,
        height=32,
        recipe="{}",
    ) as clip:
        clip.write(frames)
    for path in clip.files:
        assert (probe_input(path).fps, probe_input(path).num_frames) == (24, 12)
    assert (open_input(clip.files[1]).frames(range(12)) == frames).all()


def test_an_endless_gif_ends_after_ten_thousand_frames(tmp_path):
    header = b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(3) + b"\xff" * 3
    frame = b"!\xf9\x04\x04\x02\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0"
    path = tmp_path / "clip.gif"
    path.write_bytes(header + 12_000 * frame + b";")
    assert (probe_input(path).num_frames, probe_input(path).fps) == (10_000, 50)
    assert open_input(path, Cut(start=9_990, width=16, height=16)).num_frames == 10


def test_a_gif_that_is_cut_off_is_used_as_far_as_it_goes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), np.uint8)
    path = tmp_path / "clip.gif"
    first, *rest = [Image.fromarray(frame) for frame in noise]
    path.write_bytes(picture_bytes(first, "GIF", save_all=True, append_images=rest, duration=50)[:9_000])
    clip = open_input(path)
    assert 1 <= clip.num_frames < 6
    assert clip.complaint.startswith("It is damaged or cut off; ")


def test_a_zip_is_a_sequence_in_the_order_people_count(tmp_path):
    junk = {"__MACOSX/a/._frame1.png": b"x", "a/.DS_Store": b"x", "a/notes.txt": b"x", "a/": b""}
    path = zipped(tmp_path / "frames.zip", {"a/frame10.png": png(100), "a/frame2.png": png(20), **junk})
    facts = probe_input(path)
    assert (facts.kind, facts.num_frames, facts.fps, facts.width) == (InputKind.ZIP, 2, None, 48)
    assert levels_of(open_input(path).frames([0, 1])) == [20, 100]


def test_frames_of_several_sizes_are_refused_with_both(tmp_path):
    path = zipped(tmp_path / "frames.zip", {"1.png": png(9), "2.png": png(9, (50, 32))})
    with pytest.raises(InvalidRequestError, match="must have frames of one size, got 48 × 32 and, as frame 1, 50 × 32"):
        open_input(path)


BAD_ZIPS = {
    "leads out": ({"../../evil.png": png(1)}, "must hold plain names"),
    "leads out of Windows": ({"a\\..\\..\\evil.png": png(1)}, "must hold plain names"),
    "no pictures": ({"notes.txt": b"x"}, "must hold 1 to 65,535 pictures, got 0"),
    "no picture inside": ({"1.png": b"<svg/>"}, "must be a whole picture"),
    "a bomb inside": ({"1.png": png_saying(40_000, 40_000)}, "must have at most 67 million pixels"),
}


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_bad_zips_are_refused_in_words(tmp_path, name):
    members, words = BAD_ZIPS[name]
    with pytest.raises(InvalidRequestError, match=f"source_video {words}"):
        open_input(zipped(tmp_path / "frames.zip", members), field="source_video")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("1.png", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    with pytest.raises(InvalidRequestError, match="pictures of at most 256 MiB"):
        open_input(path)
    data = path.read_bytes()
    size = struct.pack("<I", 300 << 20)
    path.write_bytes(data.replace(size, struct.pack("<I", 0xFFFFFFF0)))
    many = BytesIO(path.read_bytes())
    with zipfile.ZipFile(many, "a") as file:
        entry = file.infolist()[0]
        file.filelist.extend([entry] * 3)
        file._didModify = True
    path.write_bytes(many.getvalue())
    with pytest.raises(InvalidRequestError, match=r"must unpack to at most 8 GiB, got 16\.0 GiB"):
        open_input(path)


def test_a_zip_whose_index_would_fill_the_memory_is_refused(tmp_path):
    path = zipped(tmp_path / "frames.zip", {"1.png": png(1)})
    data = bytearray(path.read_bytes())
    data[-10:-6] = struct.pack("<I", 17 << 20)
    path.write_bytes(data)
    with pytest.raises(InvalidRequestError, match="must hold at most 65,535 files"):
        probe_input(path)


def test_frames_are_read_in_any_order(tmp_path):
    path = zipped(tmp_path / "frames.zip", {f"{n}.png": png(n) for n in range(5)})
    clip = open_input(path)
    assert levels_of(clip.frames([4, 4, 0, 2])) == [4, 4, 0, 2]
    assert clip.frames([]).shape == (0, 32, 48, 3)
    for wrong in (5, -1):
        with pytest.raises(IndexError, match="frame must be 0 to 4"):
            clip.frames([wrong])
    with pytest.raises(ValueError, match="frame must be uint8"):
        clip.append(greys([1], width=8)[0])


@pytest.mark.parametrize(("width", "is_taken"), [(16 * 8, True), (16 * 8 + 1, False)])
def test_a_picture_may_be_sixteen_times_as_long_as_wide(width, is_taken):
    for size in ((width, 8), (8, width)):
        with nullcontext() if is_taken else pytest.raises(BadInputError, match="Crop it"):
            check_picture_size(*size)


@pytest.mark.parametrize("spoil", [lambda data: data[:-22], lambda data: data[:-1], lambda data: data[:40]])
def test_a_zip_without_the_record_at_its_end_is_told_as_damaged(tmp_path, spoil):
    path = zipped(tmp_path / "clip.zip", {"1.png": png(8)})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadInputError, match="must be a whole zip of pictures, got one that is damaged or locked"):
        PictureZip(path)
