"""Detect untrusted files by their first bytes, refusing unsafe ones."""

import re
import stat
from enum import StrEnum
from pathlib import Path

from pipelines.plan.faults import ENGLISH, Fault

CHOOSE_ANOTHER = "Choose another file"
KINDS_READ = "a picture, a clip or a zip of pictures"
_ALL_KINDS = (
    "Pictures are PNG, JPEG, WebP, GIF, BMP or TIFF; clips MP4, MOV, MKV, WebM, AVI, MPEG, TS, FLV, WMV, OGV or MXF"
)

_SNIFFED_BYTES = 1024
_PICTURE = rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM|II\*\0|MM\0\*|RIFF....WEBP"
_ZIP = rb"PK\x03\x04"
_PACKETS = rb"(G.{187}){4}G"  # MPEG's transport packets of 188 bytes, which may begin anywhere in a recording
_TIMED_PACKETS = rb"(....G.{187}){4}....G"  # those of cameras and Blu-rays, with four bytes of time before each
# How a clip's first bytes tell its container, and the one of ffmpeg's demuxers that may read it.
_DEMUXERS = {
    # Files from before `ftyp` was thought of begin with another box.
    rb"....(ftyp|moov|mdat|wide|free|skip|pnot)": "mov",
    rb"\x1a\x45\xdf\xa3": "matroska",
    rb"RIFF....AVI[ X\x19]": "avi",
    rb"FLV\x01": "flv",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    rb"OggS": "ogg",
    rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02": "mxf",
    rb"\0\0\x01\xba": "mpeg",
    rb".{0,188}?" + _PACKETS + rb"|" + _TIMED_PACKETS: "mpegts",
    rb"YUV4MPEG2 ": "yuv4mpegpipe",
    rb"DKIF\0\0": "ivf",
    rb"GIF8[79]a": "gif",
}
# Playlists name other files, which would be read as well; the rest is refused by name because people try it.
_REFUSED = {
    rb"....ftyp(hei|hev|mif1|msf1|avi[fs])": ("heic", "a HEIC or AVIF picture, which this app does not read"),
    rb"\s*(#EXTM3U|ffconcat|\[playlist\]|\[Reference\])": ("playlist", "a playlist, which is no clip itself"),
    rb"\s*<": ("markup", "a web page, a drawing or a playlist"),
    rb"%PDF|%!PS": ("pdf", "a PDF"),
    rb"PK\x05\x06": ("empty_zip", "an empty zip"),
    rb"Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar": (
        "other_archive",
        "an archive of another kind than zip",
    ),
    rb"II\*\0.{4}CR|....ftypcrx|FUJIFILMCCD-RAW|IIRO|IIU\0|MMOR": (
        "raw_photo",
        "a camera's raw photo, which this app does not read",
    ),
    rb"8BPS|gimp xcf|\x76\x2f\x31\x01|#\?RA?D|\0\0\x01\0|DDS |\xff\x0a|\0\0\0\x0c(JXL|jP  )|\xff\x4f\xff\x51": (
        "other_picture",
        "a picture of a kind that this app does not read",
    ),
    rb"ID3|\xff[\xf2\xf3\xfa\xfb\xf1\xf9]|fLaC|RIFF....WAVE|FORM....AIF|MThd": ("sound", "a file with sound only"),
    rb"\.RMF|[FC]WS|ZWS|nut/multimedia|KwDB|\x1f\x07\0|\xb7\xd8\0\x20\x37\x49|\0{4}\x01\xbc|\x84\x10\xff{4}|NSV[fs]"
    rb"|RIFF....AMV |BIK[a-k]|KB2|SMK[24]|\x12\0\x0a": ("other_clip", "a clip of a kind that this app does not read"),
    rb"\0\0\x01\xb3|\0?\0\0\x01[\x09\x27\x40\x42\x46\x67]": (
        "bare_stream",
        "a bare stream without a container such as MP4",
    ),
    rb".{8}\{\s*\"|\x80[\x02-\x05]": ("weights", "a file of weights"),
    rb"MZ|\x7fELF|#!": ("program", "a program"),
}


class InputKind(StrEnum):
    """Kind of an input file."""

    PICTURE = "picture"
    VIDEO = "video"
    ZIP = "zip"


class BadInputError(RuntimeError):
    """File that cannot be used, with the broken rule.

    The text is `must <rule>, got <value>. <Action>.`

    Whoever knows the field it was meant for raises a `UserError` of its fault of that field.

    Args:
        fault: The broken rule, without a field.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(ENGLISH.sentence(fault))


def sniff(path: Path) -> InputKind:
    """Detect the kind of a file by its first bytes.

    Raises:
        BadInputError: It is no plain file, empty, or of a kind that is not read.
    """
    check_plain_file(path)
    start = _start(path)
    for pattern, (code, got) in _REFUSED.items():
        if re.match(pattern, start.removeprefix(b"\xef\xbb\xbf"), re.DOTALL):
            raise BadInputError(_of_no_kind(f"file.{code}", got))
    for input_kind, pattern in ((InputKind.PICTURE, _PICTURE), (InputKind.ZIP, _ZIP)):
        if re.match(pattern, start, re.DOTALL):
            return input_kind
    if demuxer_of(path):
        return InputKind.VIDEO
    raise BadInputError(
        _of_no_kind("file.text", "a text") if _is_text(start) else _of_no_kind("file.other", "a file of another kind")
    )


def _of_no_kind(code: str, got: str) -> Fault:
    return Fault(code=code, rule=f"be {KINDS_READ}", got=got, fix=_ALL_KINDS)


def demuxer_of(path: Path) -> str:
    """Choose the ffmpeg demuxer by the first bytes; empty without.

    Left to itself ffmpeg would guess from all it knows, playlists and scripts that name other files among them.
    """
    start = _start(path)
    return next((name for pattern, name in _DEMUXERS.items() if re.match(pattern, start, re.DOTALL)), "")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SNIFFED_BYTES)


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        if err.start < len(start) - 3:  # not a letter that is cut off
            return False
        text = start[: err.start].decode("utf-8-sig")
    return all(letter.isprintable() or letter.isspace() for letter in text)


def check_plain_file(path: Path) -> int:
    """Refuse everything but a plain file with content.

    Links are not followed, and pipes would never end.

    Returns:
        Its size in bytes.

    Raises:
        BadInputError: It is missing, empty, a folder, a link, a pipe or a device.
    """
    try:
        status = path.lstat()
    except OSError as err:
        raise BadInputError(_no_file("file.missing", "nothing")) from err
    if stat.S_ISDIR(status.st_mode):
        raise BadInputError(_no_file("file.folder", "a folder"))
    if not stat.S_ISREG(status.st_mode):
        raise BadInputError(_no_file("file.special", "a link, a pipe or a device"))
    if status.st_size == 0:
        raise BadInputError(Fault(code="file.empty", rule=f"be {KINDS_READ}", got="an empty file", fix=CHOOSE_ANOTHER))
    return status.st_size


def _no_file(code: str, got: str) -> Fault:
    return Fault(code=code, rule="be a file", got=got, fix=CHOOSE_ANOTHER)


def natural_order(name: str) -> list[tuple[str, int, str]]:
    """Build a sort key that orders names as people count.

    Example:
        >>> sorted(["frame10.png", "Frame2.png", "frame1.png"], key=natural_order)
        ['frame1.png', 'Frame2.png', 'frame10.png']
    """
    # Numbers are compared by length, then letter by letter: a name may have more digits than int() takes.
    parts = re.findall(r"(\D*)(\d*)", name.lower())
    return [(text, len(digits.lstrip("0")), digits.lstrip("0")) for text, digits in parts]
