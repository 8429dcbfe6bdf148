"""Texts of the field in every container and character set: read, or named."""

import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from api.recipes.read import read_request
from media.ffmpeg import run_ffmpeg
from media.picture_text import xmp_texts
from pipelines.plan.errors import UserError
from pipelines.plan.request import GenerationRequest
from tests.unit.test_field_texts import CALLED, FOREIGN, FOX, MUSEUM, TEXT

RECIPE = (MUSEUM / "recipes/0.7.0/words.txt").read_text(encoding="utf-8")


def exif(text: bytes, order: bytes = b"MM") -> bytes:
    """An EXIF whose only tag is the user's comment."""
    end = "<" if order == b"II" else ">"
    return b"".join(
        (
            b"Exif\0\0",
            order,
            struct.pack(f"{end}HI", 42, 8),
            struct.pack(f"{end}HHHIII", 1, 0x8769, 4, 1, 26, 0),
            struct.pack(f"{end}HHHIII", 1, 0x9286, 7, len(text), 44, 0),
            text,
        )
    )


COMMENTS = {
    f"{order.decode()} {charset}": exif(b"UNICODE\0" + TEXT.encode(charset), order)
    for order in (b"II", b"MM")
    for charset in ("utf-16-le", "utf-16-be", "utf-16", "utf-8")
} | {
    "ASCII": exif(b"ASCII\0\0\0" + TEXT.encode()),
    "undefined": exif(bytes(8) + TEXT.encode()),
    "no name": exif(TEXT.encode()),
    "a name in small letters": exif(b"Unicode\0" + TEXT.encode("utf-16-le")),
    "JIS": exif(b"JIS\0\0\0\0\0" + TEXT.replace("ü", "u").encode("iso2022_jp")),
    "with zeros behind": exif(b"UNICODE\0" + f"{TEXT}\0\0".encode("utf-16-be")),
}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("comment", COMMENTS.values(), ids=COMMENTS)
def test_a_user_comment_is_read_in_every_order_and_character_set(comment, kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    Image.new("RGB", (64, 48)).save(path, exif=comment)
    assert_read(path)


def assert_read(path: Path) -> None:
    values = read_request(path).values
    assert values["prompt"] in (TEXT.split("\nNegative")[0], TEXT.split("\nNegative")[0].replace("ü", "u"))
    assert values["seed"] == 1234
    assert values["negative_prompt"] == "blurry"


def png(path: Path, *chunks: tuple[bytes, bytes], at_end: bool = False) -> Path:
    Image.new("RGB", (64, 48)).save(path)
    data = path.read_bytes()
    clip = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    place = len(data) - 12 if at_end else 33
    path.write_bytes(data[:place] + clip + data[place:])
    return path


XMP = f"""<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description><dc:creator>me</dc:creator>
<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{TEXT.replace(chr(10), "&#xA;")}</rdf:li></rdf:Alt>
</exif:UserComment>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def raw_profile(kind: str, data: bytes) -> bytes:
    """A profile as ImageMagick writes it into a text of a PNG."""
    digits = data.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", kind, f"{len(data):8}", *lines, ""]).encode()


_exif = Image.Exif()
_exif.get_ifd(IFD.Exif)[Base.UserComment] = b"UNICODE\0" + TEXT.encode("utf-16-be")
EXIF = _exif.tobytes()
PNG_TEXTS = {
    "tEXt in UTF-8": [(b"tEXt", b"parameters\0" + TEXT.encode())],
    "tEXt under another key": [(b"tEXt", b"Comment\0" + TEXT.encode())],
    "zTXt": [(b"zTXt", b"parameters\0\0" + zlib.compress(TEXT.encode()))],
    "iTXt": [(b"iTXt", b"parameters\0\0\0\0\0" + TEXT.encode())],
    "packed iTXt": [(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(TEXT.encode()))],
    "behind a comment": [(b"tEXt", b"Comment\0Created with GIMP"), (b"iTXt", b"Description\0\0\0\0\0" + TEXT.encode())],
    "behind a graph": [
        (b"tEXt", b"prompt\0" + FOREIGN["comfyui-api"].encode()),
        (b"iTXt", b"parameters\0\0\0\0\0" + TEXT.encode()),
    ],
    "XMP": [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode())],
    "ImageMagick's EXIF": [(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile("exif", EXIF)))],
    "ImageMagick's APP1": [(b"tEXt", b"Raw profile type APP1\0" + raw_profile("generic profile", EXIF))],
    "ImageMagick's XMP": [(b"tEXt", b"Raw profile type xmp\0" + raw_profile("xmp", XMP.encode()))],
}
FLAT_TEXT = TEXT.replace("\n", "&#xA;")
XMP_FORMS = {
    "an attribute": f'<rdf:Description xmlns:sd="http://a.b/c/d/e" sd:parameters="{FLAT_TEXT}"/>',
    "an attribute in single quotes": f"<rdf:Description photoshop:Instructions='{FLAT_TEXT}'/>",
    "an element of any name": f"<rdf:Description><xmp:Comment>{FLAT_TEXT}</xmp:Comment></rdf:Description>",
    "raw data": f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default"><![CDATA[{TEXT}]]></rdf:li></rdf:Alt></dc:title>',
}


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("chunks", PNG_TEXTS.values(), ids=PNG_TEXTS)
def test_texts_of_png_are_read_wherever_they_stand(chunks, at_end, tmp_path):
    assert_read(png(tmp_path / "a.png", *chunks, at_end=at_end))


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("body", XMP_FORMS.values(), ids=XMP_FORMS)
def test_a_text_in_any_form_of_xmp_is_read(body, kind, tmp_path):
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{body}</rdf:RDF></x:xmpmeta>'.encode()
    if kind == "png":
        path = png(tmp_path / "a.png", (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    else:
        path = tmp_path / f"a.{kind}"
        Image.new("RGB", (64, 48)).save(path, xmp=packet)
    assert_read(path)


@pytest.mark.parametrize("piece", ["<a><![CDATA[", "<a><![CDATA[x]]>", "<a x='y'>bbbbbbbb", 'a="bbbbbbbb', "<a "])
def test_xmp_that_never_ends_is_read_once(piece):
    """Of 2 MB, which took hours where each beginning was followed to the end."""
    assert not any("Steps" in text for text in xmp_texts(piece * 200_000))


@pytest.mark.parametrize(("kind", "codec"), [("avi", "mpeg4"), ("ogv", "libtheora"), ("wmv", "wmv2"), ("flv", "flv")])
def test_the_comment_of_a_clip_of_any_kind_is_read(kind, codec, tmp_path):
    path = tmp_path / f"a.{kind}"
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=8:d=0.2")
    run_ffmpeg(*source, "-c:v", codec, "-metadata", f"comment={TEXT}", str(path))
    assert_read(path)


def test_latin_1_in_a_png_is_read_as_such(tmp_path):
    text = "a füchse\nSteps: 20, Sampler: Euler a, Seed: 1234, Size: 512x384"
    restored = read_request(png(tmp_path / "a.png", (b"tEXt", b"parameters\0" + text.encode("latin-1"))))
    assert restored.values["prompt"] == "a füchse"


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "webp"])
def test_an_infotext_wins_over_a_comment(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    comment = exif(b"UNICODE\0" + TEXT.encode("utf-16-be"))
    picture = Image.new("RGB", (64, 48))
    if kind == "gif":
        picture.save(path, comment=b"Created with GIMP")
        data = path.read_bytes()
        path.write_bytes(data[:-1] + gif_comments(TEXT.encode()) + b";")
    elif kind == "png":
        info = PngInfo()
        info.add_text("Comment", "Created with GIMP")
        picture.save(path, exif=comment, pnginfo=info)
    elif kind == "jpg":
        picture.save(path, exif=comment, comment=b"Created with GIMP")
    else:
        picture.save(path, exif=comment, xmp=XMP.replace("a fox", "another"))
    assert_read(path)


def gif_comments(data: bytes, size: int = 255) -> bytes:
    """Comments of a GIF, each as long as a block may be."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"\x21\xfe" + bytes([len(part)]) + part + b"\0" for part in parts)


def test_a_comment_that_a_writer_has_cut_into_several_is_read(tmp_path):
    text = TEXT.replace("day", "day " * 100)
    path = tmp_path / "a.gif"
    Image.new("RGB", (8, 8)).save(path, comment=b"")
    path.write_bytes(path.read_bytes()[:-1] + gif_comments(text.encode()) + b";")
    assert read_request(path).values["prompt"].startswith(f"{FOX}: füchse, 狐\n0: day day")


FLAT = {
    "two signs": TEXT.replace("\n", r"\n"),
    "two signs after a return": TEXT.replace("\n", r"\r\n"),
    "entities": TEXT.replace("\n", "&#10;"),
    "hexadecimal entities": TEXT.replace("\n", "&#xa;"),
    "three signs": TEXT.replace("\n", r"\\n"),
    "a text of JSON": json.dumps(TEXT),
}


@pytest.mark.parametrize("text", FLAT.values(), ids=FLAT)
def test_line_breaks_that_a_container_could_not_hold_are_read(text, tmp_path):
    path = tmp_path / "a.gif"
    Image.new("RGB", (8, 8)).save(path, comment=text.encode())
    assert_read(path)


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_files_are_read_in_every_character_set(charset, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode(charset))
    assert_read(path)
    assert read_request(path).notes == ()
    path.write_bytes(RECIPE.encode(charset))
    assert read_request(path).values == GenerationRequest.from_json(RECIPE).model_dump(mode="json")


def test_a_text_file_that_is_not_unicode_is_read_and_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("a füchse\nSteps: 20, Sampler: Euler a, Seed: 1234, Size: 512x384".encode("latin-1"))
    restored = read_request(path)
    assert (restored.values["prompt"], restored.values["seed"]) == ("a füchse", 1234)
    assert restored.notes[0].startswith("The text is in no character set of Unicode")


@pytest.mark.parametrize("name", ["comfyui-videohelpersuite", "comfyui-ui", "animatediff-cli"])
@pytest.mark.parametrize("kind", ["png", "gif", "webp", "json"])
def test_a_graph_in_a_file_is_named(kind, name, tmp_path):
    path = tmp_path / f"a.{kind}"
    if kind == "png":
        png(path, (b"tEXt", b"Software\0x"), (b"tEXt", b"workflow\0" + FOREIGN[name].encode()))
    elif kind == "gif":
        Image.new("RGB", (8, 8)).save(path, comment=FOREIGN[name].encode())
    elif kind == "webp":
        Image.new("RGB", (8, 8)).save(path, exif=exif(b"UNICODE\0" + FOREIGN[name].encode("utf-16-be")))
    else:
        path.write_text(FOREIGN[name])
    with pytest.raises(UserError, match=f"got {CALLED[name]}"):
        read_request(path)
