"""Pictures as they are meant to be seen: colour profiles, and turned as their EXIF says, in every container."""

import zlib
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageCms

from media.input_store import InputStore
from media.inputs import open_input, probe_input
from tests.unit.clips import picture_bytes, zipped
from tests.unit.color_profiles import ADOBE_RGB, BY_NAME, DISPLAY_P3, GREY_GAMMA_1_8, PRINTER, PROPHOTO, SRGB

COLORS = [(60, 160, 90), (200, 30, 30), (10, 10, 200), (128, 128, 128), (255, 255, 255), (0, 0, 0), (240, 200, 20)]


def patches(mode="RGB"):
    """A row of 8 x 8 squares of the colours."""
    picture = Image.new("RGB", (8 * len(COLORS), 8))
    for place, color in enumerate(COLORS):
        picture.paste(color, (8 * place, 0, 8 * place + 8, 8))
    return picture.convert(mode)


def seen(picture, profile):
    """Colours of the squares, converted by the profile."""
    source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    return [converted.getpixel((8 * place + 4, 4)) for place in range(len(COLORS))]


def read(path):
    frame = open_input(path).frames([0])[0]
    return [tuple(frame[4, 8 * place + 4].tolist()) for place in range(len(COLORS))]


def distance(colors, expected):
    return int(np.abs(np.array(colors) - np.array(expected)).max())


WRITERS = {
    "PNG": {},
    "JPEG": {"quality": 98, "subsampling": 0},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
}


@pytest.mark.parametrize(("kind", "profile"), product(WRITERS, BY_NAME))
def test_a_profile_says_what_the_colors_are(tmp_path, kind, profile):
    data = picture_bytes(patches(), kind, icc_profile=BY_NAME[profile], **WRITERS[kind])
    (tmp_path / "picture").write_bytes(data)
    expected = seen(patches(), BY_NAME[profile])
    assert distance(expected, COLORS) > 20
    assert distance(read(tmp_path / "picture"), expected) <= (3 if kind == "JPEG" else 1)


def test_a_profile_of_srgb_changes_nothing(tmp_path):
    (tmp_path / "picture").write_bytes(picture_bytes(patches(), icc_profile=SRGB))
    assert read(tmp_path / "picture") == COLORS


def test_grey_of_another_gamma_is_converted_with_eight_bits_and_with_sixteen(tmp_path):
    eight = patches("L")
    sixteen = Image.fromarray(np.asarray(eight).astype(np.uint16) * 257)
    expected = seen(eight, GREY_GAMMA_1_8)
    assert distance(expected, np.asarray(eight)[4, 4::8, None]) > 10
    for name, picture in {"8.png": eight, "16.png": sixteen, "16.tif": sixteen, "8.jpg": eight}.items():
        kind = {"png": "PNG", "tif": "TIFF", "jpg": "JPEG"}[name[-3:]]
        (tmp_path / name).write_bytes(picture_bytes(picture, kind, icc_profile=GREY_GAMMA_1_8))
        assert distance(read(tmp_path / name), expected) <= 2, name


def test_grey_with_the_profile_of_a_colour_picture_is_converted(tmp_path):
    (tmp_path / "picture").write_bytes(picture_bytes(patches("L"), icc_profile=PROPHOTO))
    expected = seen(patches("L").convert("RGB"), PROPHOTO)
    assert distance(read(tmp_path / "picture"), expected) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_converted_by_the_printers_profile(tmp_path, kind):
    inks = patches("CMYK")
    (tmp_path / "picture").write_bytes(picture_bytes(inks, kind, icc_profile=PRINTER, **WRITERS[kind]))
    expected = seen(inks, PRINTER)
    assert distance(expected, seen(patches(), SRGB)) > 20
    assert distance(read(tmp_path / "picture"), expected) <= 4


def test_lab_is_read(tmp_path):
    lab = ImageCms.profileToProfile(
        patches(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    (tmp_path / "picture").write_bytes(picture_bytes(lab, "TIFF"))
    back = ImageCms.profileToProfile(
        lab, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert distance(read(tmp_path / "picture"), np.asarray(back)[4, 4::8]) == 0
    assert distance(np.asarray(back)[4, 4::8], COLORS) <= 12  # eight bits of Lab are coarse


def test_what_can_be_seen_through_is_converted_and_lies_over_black(tmp_path):
    clear = patches().convert("RGBA")
    clear.putalpha(128)
    (tmp_path / "picture").write_bytes(picture_bytes(clear, icc_profile=DISPLAY_P3))
    expected = np.array(seen(patches(), DISPLAY_P3)) * 128 / 255
    assert distance(read(tmp_path / "picture"), expected.round()) <= 1


@pytest.mark.parametrize("clear", [0x3C3C, 0x3C, 0xFFFF])
def test_of_sixteen_bits_only_the_level_that_is_said_to_be_clear_is(tmp_path, clear):
    levels = np.repeat(np.array([0x3C3C, 0x3C3D, 0x8080, 0x3C, 0xFFFF], np.uint16), 8)[None].repeat(8, 0)
    (tmp_path / "picture").write_bytes(picture_bytes(Image.fromarray(levels), "PNG"))
    data = (tmp_path / "picture").read_bytes()
    note = b"tRNS" + clear.to_bytes(2, "big")
    chunk = (2).to_bytes(4, "big") + note + zlib.crc32(note).to_bytes(4, "big")
    place = data.index(b"IDAT") - 4
    (tmp_path / "picture").write_bytes(data[:place] + chunk + data[place:])
    actual = open_input(tmp_path / "picture").frames([0])[0][4, 4::8, 0]
    expected = np.where(levels[0, ::8] == clear, 0, (levels[0, ::8].astype(int) + 128) // 257)
    assert actual.tolist() == expected.tolist()


def test_a_palette_is_converted(tmp_path):
    few = patches().quantize(16)
    (tmp_path / "picture").write_bytes(picture_bytes(few, icc_profile=ADOBE_RGB))
    assert distance(read(tmp_path / "picture"), seen(few.convert("RGB"), ADOBE_RGB)) <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_every_frame_of_an_animation_is_converted(tmp_path, kind):
    frames = [patches(), patches().transpose(Image.Transpose.FLIP_TOP_BOTTOM), patches().point(lambda v: v // 2)]
    data = picture_bytes(
        frames[0], kind, save_all=True, append_images=frames[1:], duration=100, icc_profile=DISPLAY_P3, lossless=True
    )
    (tmp_path / "clip").write_bytes(data)
    clip = open_input(tmp_path / "clip")
    colors = clip.frames([clip.num_frames - 1])[0][4, 4::8]
    assert distance(colors, seen(frames[-1], DISPLAY_P3)) <= 1


def test_pictures_of_a_zip_and_of_a_folder_are_converted(tmp_path):
    data = {
        f"{n}.{kind.lower()}": picture_bytes(patches(), kind, icc_profile=DISPLAY_P3, **WRITERS[kind])
        for n, kind in enumerate(WRITERS)
    }
    archive = zipped(tmp_path / "pictures.zip", data)
    for name, png in data.items():
        (tmp_path / name).write_bytes(png)
    store = InputStore(tmp_path / "store")
    bundle = store.path(store.add_frames([tmp_path / name for name in data]))
    for path in (archive, bundle):
        frames = open_input(path).frames(range(len(data)))
        assert distance(frames[:, 4, 4::8], [seen(patches(), DISPLAY_P3)] * len(data)) <= 3


CUT_OFF, OF_INKS, NOISE = DISPLAY_P3[:200], PRINTER, bytes(range(256)) * 4


@pytest.mark.parametrize("profile", [CUT_OFF, OF_INKS, NOISE, b"x"], ids=["cut off", "of inks", "noise", "a byte"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_profile_that_is_damaged_or_of_another_kind_changes_nothing(tmp_path, kind, profile):
    (tmp_path / "picture").write_bytes(picture_bytes(patches(), kind, icc_profile=profile, **WRITERS[kind]))
    assert distance(read(tmp_path / "picture"), COLORS) <= (3 if kind == "JPEG" else 0)


ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""How the file's pixels lie for each value of the EXIF, made from the upright picture."""


def corners():
    picture = np.zeros((40, 64, 3), np.uint8)
    picture[:20, :32], picture[:20, 32:] = (255, 0, 0), (0, 255, 0)
    picture[20:, :32], picture[20:, 32:] = (0, 0, 255), (255, 255, 0)
    return picture


def turned(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.ascontiguousarray(ORIENTATIONS[orientation](corners()))
    return picture_bytes(Image.fromarray(pixels), kind, exif=exif, **WRITERS[kind])


@pytest.mark.parametrize(("kind", "orientation"), product(WRITERS, ORIENTATIONS))
def test_a_turned_picture_is_seen_upright_alone_and_in_a_zip(tmp_path, kind, orientation):
    data = turned(kind, orientation)
    (tmp_path / "picture").write_bytes(data)
    for path in (tmp_path / "picture", zipped(tmp_path / "pictures.zip", {f"1.{kind.lower()}": data})):
        facts = probe_input(path)
        assert (facts.width, facts.height) == (64, 40)
        assert np.abs(open_input(path).frames([0])[0].astype(int) - corners()).mean() < (3 if kind == "JPEG" else 0.1)


def test_differently_turned_pictures_of_a_folder_are_one_clip(tmp_path):
    paths = []
    for kind, orientation in product(WRITERS, ORIENTATIONS):
        paths.append(tmp_path / f"{len(paths)}.{kind.lower()}")
        paths[-1].write_bytes(turned(kind, orientation))
    store = InputStore(tmp_path / "store")
    clip = open_input(store.path(store.add_frames(paths)))
    assert clip.num_frames == 32
    assert np.abs(clip.frames(range(32)).astype(int) - corners()).mean(axis=(1, 2, 3)).max() < 3


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0noise" * 9])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_exif_turns_nothing(tmp_path, kind, exif):
    data = picture_bytes(Image.fromarray(corners()), kind, exif=exif, **WRITERS[kind])
    (tmp_path / "picture").write_bytes(data)
    assert open_input(tmp_path / "picture").frames([0])[0].shape == (40, 64, 3)
